"""Masks drawn in a browser beside the server's own: the same clicks by both, one after the other, in headless Chromium.

    miras export onnx --out DIR && npm ci --prefix web
    python benchmarks/browser.py clicks DIR --threads 1 2 [--folder PHOTOS --photos 8]
    miras export onnx --int8 --out DIR8
    python benchmarks/browser.py language DIR8 --threads 1 2

`clicks`: a conversation with `miras serve` (one thread) about each photo; points and boxes at random places around its
region, each refined by the server, undone, and drawn by the page's own worker; seconds of both and the IoU of their
masks. `language`: tokens a second of `language.onnx` in the browser and in onnxruntime here, and a turn: a pass over 32
new tokens and 14 over one, behind 400 others. Prints one JSON object. Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from miras.chat.load import Loaded, load
from miras.client import Client
from miras.core.masks import decode_rle
from miras.serve.app import create
from miras.serve.run import bound
from miras.serve.settings import Limits, Settings

ROOT = Path(__file__).resolve().parents[1]
STATIC, ENGINE = (ROOT / "src" / "miras" / "serve" / name for name in ("static", "device/engine"))
ORT = ROOT / "web" / "node_modules" / "onnxruntime-web" / "dist"
ASKED = {"coffee": "Where is the cup?", "chelsea": "Where is the cat?", "astronaut": "Where is the person?",
         "rocket": "Where is the rocket?"}  # fmt: skip
OTHERWISE = "Where is the largest thing?"
PAST, NEW, PASSES, DECODED = 400, 32, 14, 24
WORKER = """async ([address, threads]) => {
    const worker = new Worker(address, {type: 'module'});
    const waits = {};
    let last = 0;
    worker.onmessage = ({data}) => data.id && waits[data.id](data);
    window.order = (what) => new Promise((done, failed) => {
        waits[++last] = (told) => told.kind === 'done' ? done(told.value) : failed(new Error(told.message));
        worker.postMessage({id: last, order: what});
    });
    window.timed = async (what) => {
        const begun = performance.now();
        const value = await order(what);
        return [value, (performance.now() - begun) / 1000];
    };
    const graphs = await (await fetch('/api/v1/graphs')).json();
    return (await timed({kind: 'start', graphs, threads}))[1];
}"""
LANGUAGE = """async ([threads, shape, sizes]) => {
    const ort = await import('/ort.wasm.min.mjs');
    ort.env.wasm.wasmPaths = location.origin + '/';
    ort.env.wasm.numThreads = threads;
    const bytes = async (name) => new Uint8Array(await (await fetch('/model/' + name)).arrayBuffer());
    const begun = performance.now();
    const session = await ort.InferenceSession.create(await bytes('language.onnx'),
        {executionProviders: ['wasm'], externalData: [{path: 'language.bin', data: await bytes('language.bin')}]});
    const loaded = (performance.now() - begun) / 1000;
    const [past, fresh, passes, decoded, width] = sizes;
    const row = shape.reduce((a, b) => a * b), most = past + fresh + passes + decoded;
    const rows = new Float32Array(most * row).map((_, at) => Math.sin(at) / 9);
    const tensor = (data, dims, kind = 'float32') => new ort.Tensor(kind, data, dims);
    const pass = async (before, count) => {
        const bias = new Float32Array(count * (before + count));
        for (let y = 0; y < count; y++)
            for (let x = before + y + 1; x < before + count; x++) bias[y * (before + count) + x] = -Infinity;
        const made = await session.run({
            embeds: tensor(new Float32Array(count * width).map((_, at) => Math.cos(at) / 9), [count, width]),
            past: tensor(rows.subarray(0, before * row), [before, ...shape]),
            bias: tensor(bias, [count, before + count]),
            positions: tensor(BigInt64Array.from({length: count}, (_, at) => BigInt(before + at)), [1, count], 'int64'),
            predicted: tensor(BigInt64Array.of(1n), [1], 'int64')}, ['logits', 'states', 'new']);
        rows.set(made.new.data, before * row);
        return made.logits.data[0];
    };
    await pass(past, 1);
    const t0 = performance.now();
    for (let at = 0; at < decoded; at++) await pass(past + at, 1);
    const t1 = performance.now();
    await pass(past, fresh);
    const t2 = performance.now();
    for (let at = 0; at < passes; at++) await pass(past + fresh + at, 1);
    const t3 = performance.now();
    const speed = decoded / (t1 - t0) * 1000;
    return {load: loaded, tokens_per_second: speed, prefill: (t2 - t1) / 1000, turn: (t3 - t1) / 1000};
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["clicks", "language"])
    parser.add_argument("model", type=Path, help="a folder that miras export onnx wrote")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="more photos")
    parser.add_argument("--photos", type=int, default=8, help="how many of them")
    parser.add_argument("--clicks", type=int, default=6, help="gestures a photo")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    measured = clicks(options) if options.what == "clicks" else language(options)
    print(json.dumps(measured))


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


# Clicks


@contextmanager
def server(loaded: Loaded) -> Iterator[str]:
    """`miras serve` on an exported model, one thread, in this process; its address."""
    many = 10**6
    with tempfile.TemporaryDirectory() as data:
        settings = Settings(Path(data), port=0, limits=Limits(requests_per_minute=many, turns_per_minute=many))
        listening = bound(settings)
        app = create(loaded, settings)
        running = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join(30)


def clicks(options: argparse.Namespace) -> dict[str, Any]:
    """Both engines on the same clicks."""
    rng = random.Random(options.seed)
    (worker,) = (STATIC / "assets").glob("worker-*.js")
    rows: list[dict[str, Any]] = []
    encoded: dict[str, list[float]] = {}
    started = {}
    loaded = load(str(options.model), threads=1)
    with server(loaded) as address, browser() as chromium, Client(address) as client:
        pages = {}
        for threads in options.threads:
            pages[threads] = chromium.new_page()
            pages[threads].goto(address)
            assert pages[threads].evaluate("crossOriginIsolated")
            started[threads] = pages[threads].evaluate(WORKER, [f"/assets/{worker.name}", threads])
        for path, question in photos(options):
            talk = client.start(client.upload(path))
            client.ask(talk.id, question)
            encoded.setdefault("server", []).append(loaded.chat(path).encode_seconds)
            shown = {"id": talk.photo.id, "url": talk.photo.image_url, "width": talk.photo.width,
                     "height": talk.photo.height}  # fmt: skip
            for threads, page in pages.items():
                seconds = page.evaluate("async (photo) => (await timed({kind: 'read', photo}))[1]", shown)
                encoded.setdefault(str(threads), []).append(seconds)
            for _ in range(options.clicks):
                rows.append(both(client, talk.id, shown, pages, rng))
                print(rows[-1], file=sys.stderr, flush=True)
    return {
        "photos": len(encoded["server"]), "clicks": len(rows), "start_seconds": rounded(started),
        "encode_median": {name: round(statistics.median(values), 3) for name, values in encoded.items()},
        "click_median": {name: round(statistics.median(row[name] for row in rows), 3)
                         for name in ("server", *map(str, options.threads))},
        "iou_mean": round(statistics.mean(row["iou"] for row in rows), 5), "iou_least": min(row["iou"] for row in rows),
        "equal": sum(row["iou"] == 1 for row in rows),
    }  # fmt: skip


def photos(options: argparse.Namespace) -> Iterator[tuple[Path, str]]:
    """Photos with what is asked about each."""
    for name, question in ASKED.items():
        yield ROOT / "src" / "miras" / "assets" / f"{name}.jpg", question
    if options.folder is not None:
        for path in sorted(options.folder.glob("*.jpg"))[: options.photos]:
            yield path, OTHERWISE


def both(client: Any, talk: str, shown: Any, pages: Any, rng: random.Random) -> dict[str, Any]:
    """One gesture by the server, taken back, and by each page: seconds, and the IoU of the masks."""
    now = client.conversation(talk)
    chosen = now.regions[-1] if now.regions else None
    gesture = drawn(shown, None if chosen is None else chosen.box, rng)
    region = None if chosen is None else chosen.id
    named = "" if region is None else f"?region={region}"
    words = next(iter(pages.values())).evaluate(
        f"async () => (await fetch('/api/v1/conversations/{talk}/words{named}')).json()"
    )
    begun = time.perf_counter()
    turn = client.refine(talk, region=region, **gesture)
    row: dict[str, Any] = {"server": round(time.perf_counter() - begun, 4)}
    mine = decode_rle(vars(turn.regions[0].rle))
    client.undo(talk)
    number = region or 1
    click = {
        "photo": shown, "words": words, "region": number, "expression": str(number), "box": gesture.get("box"),
        "dots": [{"x": x, "y": y, "label": label} for x, y, label in gesture.get("points", ())],
        "masks": {one.id: vars(one.rle) for one in now.regions},
    }  # fmt: skip
    for threads, page in pages.items():
        made, seconds = page.evaluate("(click) => timed({kind: 'click', click})", click)
        theirs = decode_rle(made["region"]["rle"])
        union = int((mine | theirs).sum())
        row[str(threads)] = round(seconds, 4)
        row["iou"] = min(row.get("iou", 1.0), round(float((mine & theirs).sum() / union), 5) if union else 1.0)
    return row


def drawn(shown: Any, box: Any, rng: random.Random) -> dict[str, Any]:
    """One to three points around a region, or a box near its own, or both."""
    wide, high = shown["width"], shown["height"]
    x1, y1, x2, y2 = box or (wide * 0.3, high * 0.3, wide * 0.7, high * 0.7)
    far_x, far_y = 0.2 * (x2 - x1), 0.2 * (y2 - y1)

    def within(low: float, value: float, high: float) -> float:
        return float(round(min(max(value, low), high)))

    def point() -> tuple[float, float, int]:
        x, y = rng.uniform(x1 - far_x, x2 + far_x), rng.uniform(y1 - far_y, y2 + far_y)
        return within(0, x, wide - 1), within(0, y, high - 1), int(rng.random() < 0.75)

    found: dict[str, Any] = {}
    kind = rng.choice(("points", "points", "box", "both"))
    if kind != "box":
        found["points"] = [point() for _ in range(rng.randint(1, 3))]
    if kind != "points":
        left = within(0, x1 + rng.uniform(-far_x, far_x), wide - 4)
        top = within(0, y1 + rng.uniform(-far_y, far_y), high - 4)
        found["box"] = [left, top, within(left + 3, x2 + rng.uniform(-far_x, far_x), wide),
                        within(top + 3, y2 + rng.uniform(-far_y, far_y), high)]  # fmt: skip
    return found


def rounded(values: dict[Any, float]) -> dict[str, float]:
    return {str(name): round(value, 2) for name, value in values.items()}


# The language model


class Isolated(SimpleHTTPRequestHandler):
    """Files of the engine and of the model, for a page that may have threads."""

    model: Path

    def translate_path(self, path: str) -> str:
        """Of the model, or of the engine."""
        name = path.partition("?")[0].lstrip("/")
        return str(self.model / name.removeprefix("model/") if name.startswith("model/") else ORT / name)

    def end_headers(self) -> None:
        """Isolated."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def language(options: argparse.Namespace) -> dict[str, Any]:
    """Native and in the browser, alternating."""
    manifest = json.loads((options.model / "miras-onnx.json").read_text())
    shape, width = manifest["row"], int(np.load(options.model / "special.npy").shape[1])
    sizes = [PAST, NEW, PASSES, DECODED, width]
    Isolated.model = options.model
    Isolated.extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }
    site = ThreadingHTTPServer(("127.0.0.1", 0), partial(Isolated))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    found: dict[str, Any] = {"language": manifest["language"]}
    with browser() as chromium:
        for threads in options.threads:
            found[f"native {threads}"] = native(options.model, threads, shape, sizes)
            page = chromium.new_page()
            page.goto(f"http://127.0.0.1:{site.server_port}/ort.wasm.min.mjs")
            told = page.evaluate(LANGUAGE, [threads, shape, sizes])
            found[f"browser {threads}"] = {name: round(value, 3) for name, value in told.items()}
            page.close()
    return found


def native(model: Path, threads: int, shape: list[int], sizes: list[int]) -> dict[str, float]:
    """The same passes in onnxruntime here."""
    import onnxruntime

    past, fresh, passes, decoded, width = sizes
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    begun = time.perf_counter()
    session = onnxruntime.InferenceSession(str(model / "language.onnx"), options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter() - begun
    rows = (np.sin(np.arange((past + fresh + passes + decoded) * int(np.prod(shape)))) / 9).astype(np.float32)
    rows = rows.reshape(-1, *shape)

    def run(before: int, count: int) -> None:
        bias = np.triu(np.full((count, before + count), -np.inf, np.float32), before + 1)
        embeds = (np.cos(np.arange(count * width)) / 9).astype(np.float32).reshape(count, width)
        given = {"embeds": embeds, "past": rows[:before], "bias": bias, "predicted": np.array([1], np.int64),
                 "positions": np.arange(before, before + count)[None]}  # fmt: skip
        rows[before : before + count] = session.run(["logits", "states", "new"], given)[2]

    run(past, 1)
    times = [time.perf_counter()]
    for at in range(decoded):
        run(past + at, 1)
    times.append(time.perf_counter())
    run(past, fresh)
    times.append(time.perf_counter())
    for at in range(passes):
        run(past + fresh + at, 1)
    times.append(time.perf_counter())
    return {"load": round(loaded, 3), "tokens_per_second": round(decoded / (times[1] - times[0]), 1),
            "prefill": round(times[2] - times[1], 3), "turn": round(times[3] - times[1], 3)}  # fmt: skip


if __name__ == "__main__":
    main()
