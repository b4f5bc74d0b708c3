"""The engines side by side: what each answers, how fast, in how much memory, in one run.

    python benchmarks/onnx_runtime.py DATASET --engines torch-float32 onnx=DIR int8=DIR8 --first 3 --out out.json

DATASET: records in Parquet, or one of its files; the first conversations of its test split, each of its own photo.
Every engine runs in a process of its own, one after the other. The first engine is what the others are compared with:
replies with the same ids, IoU of the selections after each turn. giou: mean IoU of the last selection with the record's
last mask. --first: seconds from the shell to the first answer of `miras ask`, too, the median of so many starts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from miras.core.masks import decode_rle, encode_rle
from miras.core.types import Mask
from miras.data.formats.records import read_records


def main() -> None:
    options = parsed()
    if options.one:
        print(json.dumps(held(options)))
        return
    runs = {}
    for engine in options.engines:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", engine]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs[engine] = json.loads(done.stdout.splitlines()[-1])
        print(engine, {k: v for k, v in runs[engine].items() if k != "turns"}, file=sys.stderr, flush=True)
    first = runs[options.engines[0]]["turns"]
    for run in runs.values():
        turns = run.pop("turns")
        both = [iou(decode_rle(a["rle"]), decode_rle(b["rle"])) for a, b in zip(first, turns, strict=True)]
        run["same_ids"] = statistics.mean(a["ids"] == b["ids"] for a, b in zip(first, turns, strict=True))
        run["iou_mean"], run["iou_least"] = round(statistics.mean(both), 5), round(min(both), 5)
        run["turns"] = len(turns)
    facts = {
        "engines": runs, "conversations": options.conversations, "threads": options.threads, "cpu": cpu(),
        "load_average": os.getloadavg(),
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "numpy")},
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip(),
    }  # fmt: skip
    text = json.dumps(facts, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--engines", nargs="+", default=["torch-float32", "torch-bfloat16"])
    parser.add_argument("--model", default="miras-mini", help="what the torch engines load")
    parser.add_argument("--conversations", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def held(options: argparse.Namespace) -> dict[str, Any]:
    """The conversations in one engine."""
    import miras

    name, options_of = engine(options.one, options.model)
    loaded = miras.load(name, threads=options.threads, **options_of)
    turns: list[dict[str, Any]] = []
    encoding, scores = list[float](), list[float]()
    for record in chosen(options.dataset, options.conversations):
        session = loaded.chat(record.get("image_bytes") or record["image"])
        encoding.append(session.encode_seconds)
        for turn in record["turns"]:
            if turn["role"] == "user":
                reply = session.ask(turn["text"])
                rle = encode_rle(session.selection.mask)
                turns.append({"ids": list(reply.ids), "rle": rle, "seconds": reply.timings.total})
        if (gold := last_mask(record)) is not None:
            scores.append(iou(session.selection.mask, gold))
    seconds = [turn["seconds"] for turn in turns]
    found = {
        "load_seconds": round(loaded.seconds, 2), "encode_seconds": round(statistics.median(encoding), 3),
        "turn_seconds": round(statistics.median(seconds), 3), "turn_seconds_mean": round(statistics.mean(seconds), 3),
        "giou": round(statistics.mean(scores), 4) if scores else None,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip
    if options.first:
        found["first_answer_seconds"] = round(first_answer(name, options_of, options), 2)
    return {**found, "turns": turns}


def engine(spec: str, model: str) -> tuple[str, dict[str, str]]:
    """What to load, and how: "torch-float32", "torch-bfloat16", or "NAME=FOLDER" of an exported model."""
    kind, _, folder = spec.partition("=")
    return (folder, {}) if folder else (model, {"dtype": kind.removeprefix("torch-")})


def first_answer(name: str, how: dict[str, str], options: argparse.Namespace) -> float:
    photo = str(files("miras") / "assets" / "astronaut.jpg")
    command = [sys.executable, "-m", "miras", "ask", photo, "Where is the person?", "--model", name, "--json"]
    command += ["--threads", str(options.threads), *(f"--{key}={value}" for key, value in how.items())]
    seconds = []
    for _ in range(options.first):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def chosen(dataset: str, count: int) -> Any:
    """Conversations of the test split, one a photo."""
    photos: set[str] = set()
    for record in read_records(dataset, "miras"):
        there = "image_bytes" in record or Path(record["image"]).is_file()
        if record["split"] == "test" and record["image_id"] not in photos and there:
            photos.add(record["image_id"])
            yield record
            if len(photos) == count:
                return


def last_mask(record: Any) -> Mask | None:
    regions = [region for turn in record["turns"] for region in turn.get("regions", ())]
    return decode_rle(regions[-1]["rle"]) if regions else None


def iou(one: Mask, other: Mask) -> float:
    union = float(np.count_nonzero(one | other))
    return float(np.count_nonzero(one & other)) / union if union else 1.0


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
