"""`miras serve` under load: many at once, long, killed, and with damaged input. One JSON object a run.

    python benchmarks/serve_load.py wait --model miras-mini     # 20 conversations at once, 5 turns each, then alone
    python benchmarks/serve_load.py memory --model miras-mini   # 500 turns: resident memory on the way
    python benchmarks/serve_load.py kill       # 100 x kill -9 at random moments of a load: nothing told is lost
    python benchmarks/serve_load.py damage     # 10,000 damaged uploads and messages: no 5xx, memory
    python benchmarks/serve_load.py lose --workers 2   # workers are killed within a load: nothing told is lost

With a model, and with --workers, `wait` and `memory` start the command `miras serve` itself. `kill` and `damage` fork
the same server from a process that has loaded the model already, with wider limits. Without --model they have random
weights of a few thousand parameters: what is measured then is the server. --turns, --kills, --cases, --people: how
much. --load: what else the machine does, for the record. --out: file of the result. Exit code 1 when something was
lost, mixed, too slow or failed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parent))
from serve_load_damage import damaged_body, damaged_photo, photos_of_all_kinds
from serve_load_server import LIVELY, PEOPLE, lively
from serve_load_workers import measure_lose

from miras.client import AsyncClient, Refused
from miras.serve.database import Database

WORDS = ("Where is the {}?", "Also the {}.", "Now the {}.", "Without the {}.", "Show me the {}.")
THINGS = ("cup", "spoon", "table", "saucer", "handle", "window", "lamp", "chair", "wall", "floor")


class Server:
    """What both kinds have."""

    pid = 0

    def memory(self) -> float:
        """Resident memory in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def private(self) -> float:
        """What of it is the process's own, in MB: weights and libraries that lie in files come and go with what the
        other programs of the machine need."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


class Command(Server):
    """`miras serve`, as a person starts it."""

    def __init__(self, folder: Path, model: str, workers: int | None = None) -> None:
        tokens = folder / "tokens.txt"
        tokens.write_text("\n".join(PEOPLE))
        if model == LIVELY:
            model = str(folder / "weights")
            lively().model.save_pretrained(model)
        self.arguments = [
            sys.executable, "-m", "miras", "serve", "--port", "0", "--threads", "1", "--data", str(folder / "data"),
            "--token-file", str(tokens), "--model", model, *(["--workers", str(workers)] if workers else []),
        ]  # fmt: skip

    def start(self) -> str:
        """Its address; returns when it listens."""
        self.process = subprocess.Popen(self.arguments, stderr=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return found.group()
            print(line, end="", file=sys.stderr)
        raise SystemExit(f"the server ended with {self.process.wait()}")

    def close(self) -> None:
        """Stop in order."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Forked(Server):
    """Servers over one folder, one after the other, each with the model that is loaded already."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        script = str(Path(__file__).with_name("serve_load_server.py"))
        self.parent = subprocess.Popen(
            [sys.executable, script, str(folder), model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.parent.stdout is not None
        line = self.parent.stdout.readline().strip()
        if not line:
            raise SystemExit(f"the server ended with {self.parent.wait()}")
        return line

    def start(self) -> str:
        """Its address; returns when it listens."""
        assert self.parent.stdin is not None
        self.parent.stdin.write("\n")
        self.parent.stdin.flush()
        self.pid, port = map(int, self._line().split())
        return f"http://127.0.0.1:{port}"

    def end(self, number: int) -> None:
        """Send a signal and wait until the process is gone."""
        os.kill(self.pid, number)
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.005)

    def close(self) -> None:
        """Stop in order."""
        self.end(signal.SIGTERM)
        assert self.parent.stdin is not None
        self.parent.stdin.close()
        self.parent.wait()


def photo(number: int) -> bytes:
    """A small photo, another one for each number."""
    rng = random.Random(number)
    picture = Image.new("RGB", (96, 72), tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y = rng.randrange(80), rng.randrange(60)
        draw.ellipse(
            (x, y, x + rng.randrange(8, 30), y + rng.randrange(8, 30)), tuple(rng.randrange(256) for _ in range(3))
        )
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def messages(number: int, turns: int) -> list[str]:
    rng = random.Random(f"{number} says")
    return [rng.choice(WORDS if n else WORDS[:1]).format(rng.choice(THINGS)) for n in range(turns)]


def said(turn: Any) -> Any:
    """What of a turn does not depend on when and where it was said."""
    regions = [(one.id, one.phrase, one.rle.counts, one.score, one.again) for one in turn.regions]
    return turn.turn, turn.user, turn.text, regions, turn.selection.expression, turn.selection.rle.counts


async def talk(address: str, number: int, turns: int, waits: list[float]) -> tuple[str, list[Any]]:
    """A conversation of one person from start to end."""
    async with AsyncClient(address, PEOPLE[number % len(PEOPLE)]) as client:
        begun = await client.start(await client.upload(photo(number)))
        found = []
        for text in messages(number, turns):
            started = time.perf_counter()
            found.append(said(await client.ask(begun, text)))
            waits.append(time.perf_counter() - started)
        kept = [said(turn) for turn in (await client.conversation(begun)).history]
        return begun.id, found if kept == found else []


async def counted(address: str, name: str) -> float:
    """A number of the server's metrics."""
    import httpx2

    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {PEOPLE[0]}"}, timeout=60) as http:
        text = (await http.get(f"{address}/metrics")).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def measure_wait(address: str, people: int, turns: int) -> dict[str, Any]:
    """All at once, then each alone."""
    waits: list[float] = []
    started = time.perf_counter()
    together = await asyncio.gather(*(talk(address, number, turns, waits) for number in range(people)))
    seconds = time.perf_counter() - started
    restored = await counted(address, "miras_sessions_restored_total")
    alone_waits: list[float] = []
    alone = [await talk(address, number, turns, alone_waits) for number in range(people)]
    later = await counted(address, "miras_sessions_restored_total") - restored
    mixed = sum(a[1] != b[1] for a, b in zip(together, alone, strict=True))
    turns_mixed = sum(x != y for a, b in zip(together, alone, strict=True) for x, y in zip(a[1], b[1], strict=True))
    lost = sum(len(found) != turns for _, found in together)
    return {
        "conversations": people, "turns": turns, "lost": lost, "mixed": mixed,
        "different": len({json.dumps(found) for _, found in together}), "seconds": round(seconds, 2),
        "median_wait": round(statistics.median(waits), 3), "max_wait": round(max(waits), 3),
        "ratio": round(max(waits) / statistics.median(waits), 2),
        "median_alone": round(statistics.median(alone_waits), 3), "restored": int(restored),
        "restored_alone": int(later), "turns_mixed": turns_mixed,
        "failed": bool(lost or mixed or max(waits) > 3 * statistics.median(waits)),
    }  # fmt: skip


async def measure_lost(server: Server, address: str, people: int, turns: int, kills: int, seed: int) -> dict[str, Any]:
    """Workers are killed within a load; then each conversation alone."""

    async def begin(number: int) -> tuple[AsyncClient, str]:
        client = AsyncClient(address, PEOPLE[number % len(PEOPLE)])
        return client, (await client.start(await client.upload(photo(number)))).id

    texts = lambda number: messages(number, turns)  # noqa: E731
    found = await measure_lose(server.pid, begin, texts, said, people, kills, seed)
    together = found.pop("told")
    alone = [(await talk(address, number, turns, []))[1] for number in range(people)]
    different = sum(
        ours != theirs for a, b in zip(together, alone, strict=True) for ours, theirs in zip(a, b, strict=True)
    )
    return {
        **found,
        "conversations_mixed": sum(a != b for a, b in zip(together, alone, strict=True)),
        "different": different,
    }


async def measure_memory(server: Server, address: str, people: int, turns: int) -> dict[str, Any]:
    """Many turns, twenty to a conversation; memory after each ten, and how what is private goes over the last 300."""
    waits: list[float] = []
    found: list[tuple[int, float]] = []
    resident: list[float] = []

    async def watch() -> None:
        while True:
            if len(waits) >= 10 * (len(found) + 1):
                found.append((len(waits), round(server.private(), 1)))
                resident.append(round(server.memory(), 1))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    number = 0
    while len(waits) < turns:
        left = turns - len(waits)
        count = min(people, max(1, left // 20))
        each = min(20, -(-left // count))
        await asyncio.gather(*(talk(address, number + n, each, waits) for n in range(count)))
        number += count
    watching.cancel()
    settled = [one for one in found if one[0] > len(waits) - 300]
    each_turn, low, high = slope(settled)
    return {
        "turns": len(waits), "conversations": number, "megabytes": resident, "private": [size for _, size in found],
        "settled": len(settled), "kb_a_turn": each_turn, "kb_a_turn_95": [low, high],
        "growth": round(settled[-1][1] - settled[0][1], 1), "failed": low > 0,
    }  # fmt: skip


def slope(found: list[tuple[int, float]], block: int = 5, draws: int = 2000) -> tuple[float, float, float]:
    """KB a turn of (turns, MB), by least squares, and its 95% interval: residuals are drawn again in blocks, since
    neighbours are alike."""
    at, size = np.array(found).T
    fit = np.polyfit(at, size, 1)
    rest = size - np.polyval(fit, at)
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(draws):
        starts = rng.integers(0, max(1, len(at) - block + 1), -(-len(at) // block))
        drawn = np.concatenate([rest[start : start + block] for start in starts])[: len(at)]
        slopes.append(np.polyfit(at[: len(drawn)], np.polyval(fit, at[: len(drawn)]) + drawn, 1)[0])
    low, high = np.quantile(slopes, (0.025, 0.975))
    return tuple(round(1024 * float(one), 1) for one in (fit[0], low, high))  # type: ignore[return-value]


@dataclass
class Told:
    """One conversation as its person knows it. turns: that were told. asked: what was asked since the last of them, or
    may have been; one of these is open after a kill, or the last of them was answered, or none came through."""

    owner: int
    turns: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    open: bool = False


async def hold(address: str, number: int, told: dict[str, Told], rng: random.Random, touched: set[str]) -> None:
    """Go on in a conversation, or begin one, until the server is gone; an open question is asked again, or left."""
    token = number % len(PEOPLE)
    try:
        async with AsyncClient(address, PEOPLE[token], patience=0) as client:
            mine = [name for name, talk in told.items() if talk.owner == token and len(talk.turns) < 40]
            if mine and rng.random() < 0.8:
                name = rng.choice(mine)
            else:
                name = (await client.start(await client.upload(photo(number)))).id
                told[name] = Told(token)
            talk = told[name]
            touched.add(name)
            again = talk.open and rng.random() < 0.7
            while True:
                text = rng.choice(WORDS).format(rng.choice(THINGS))
                if not again:
                    talk.asked.append(text)
                turn = said(await client.ask(name, None if again else text))
                talk.turns.append(turn)
                talk.asked.clear()
                again = talk.open = False
    except Refused as error:
        if error.kind not in ("unreachable", "cut"):
            raise


async def compare(address: str, told: dict[str, Told], names: Iterable[str], last: bool = False) -> Counter[str]:
    """What a server that was started again has, beside what was told. last: ask each open question again."""
    found: Counter[str] = Counter()
    for name in names:
        talk = told[name]
        async with AsyncClient(address, PEOPLE[talk.owner]) as client:
            view = await client.conversation(name)
            kept = [said(turn) for turn in view.history]
            found["lost"] += kept[: len(talk.turns)] != talk.turns
            news = kept[len(talk.turns) :]  # on the disk, not told any more
            found["strange"] += len(news) > 1 or any(turn[1] not in talk.asked for turn in news)
            found["kept_untold"] += len(news)
            if news:
                talk.asked.clear()
            talk.turns, talk.open = kept, view.open is not None
            if view.open is not None:
                found["open"] += 1
                found["strange"] += view.state != "open" or view.open.text not in talk.asked
                if last:
                    answer = await client.ask(name, None)
                    found["answered_again"] += answer.user == view.open.text and answer.turn == len(kept) + 1
    return found


async def measure_kill(server: Forked, address: str, people: int, kills: int, seed: int) -> dict[str, Any]:
    """kill -9 at a random moment (so many turns after the start, and a fraction of a second), start again, compare; as
    often as said."""
    told: dict[str, Told] = {}
    rng, found, sound = random.Random(seed), Counter[str](), 0
    turns = 0
    for kill in range(kills):
        touched: set[str] = set()
        people_now = [hold(address, n, told, random.Random(f"{seed} {kill} {n}"), touched) for n in range(people)]
        before = sum(len(talk.turns) for talk in told.values())
        load = asyncio.gather(*people_now)
        wanted, until = before + rng.randrange(10), time.monotonic() + 30
        while time.monotonic() < until and not load.done():
            if touched and sum(len(talk.turns) for talk in told.values()) >= wanted:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        server.end(signal.SIGKILL)
        await load
        turns += sum(len(talk.turns) for talk in told.values()) - before
        found["within_a_turn"] += any(told[name].asked for name in touched)
        database = Database(server.folder)
        sound += database.check() == "ok"
        database.close()
        address = server.start()
        found += await compare(address, told, touched)
        print(f"kill {kill + 1}: {turns} turns told, {dict(found)}", file=sys.stderr)
    end = await compare(address, told, told, last=True)
    found += Counter({"lost": end["lost"], "strange": end["strange"]})
    failed = bool(found["lost"] or found["strange"] or sound < kills or end["open"] != end["answered_again"])
    return {
        "kills": kills, "people": people, "sound": sound, "turns_told": turns, "conversations": len(told),
        "open_at_the_end": end["open"], "answered_again": end["answered_again"],
        **{name: found[name] for name in ("within_a_turn", "kept_untold", "lost", "strange")}, "failed": failed,
    }  # fmt: skip


async def measure_damage(server: Forked, address: str, cases: int, seed: int) -> dict[str, Any]:
    """Damaged uploads and bodies of every route that takes one; what status each gets."""
    import httpx2

    rng, statuses, kinds = random.Random(seed), Counter[str](), Counter[str]()
    seeds = photos_of_all_kinds(photo(0))
    faults: list[str] = []
    head = {"Authorization": f"Bearer {PEOPLE[0]}"}
    async with AsyncClient(address, PEOPLE[0]) as client, httpx2.AsyncClient(headers=head, timeout=60) as http:
        begun = await client.start(await client.upload(photo(0)))
        await client.ask(begun, "Where is the cup?")
        names = {"talk": begun.id, "photo": begun.photo.id}
        before = server.memory()

        async def one(case: random.Random) -> None:
            is_photo = case.random() < 0.5
            if is_photo:
                kind, content = damaged_photo(case, seeds)
                method, path, mime = "POST", "photos", {"Content-Type": "image/jpeg"}
            else:
                kind, method, path, content = damaged_body(case, names)
                mime = {"Content-Type": "application/json"}
            answer = await http.request(method, f"{address}/api/v1/{path}", content=content, headers=mime)
            statuses[str(answer.status_code)] += 1
            kinds[kind] += 1
            if answer.status_code >= 500 or ("event: error" in answer.text and "problem:internal" in answer.text):
                faults.append(f"{kind} {method} {path} {answer.status_code} {content[:60]!r}")

        pending = [random.Random(rng.getrandbits(64)) for _ in range(cases)]
        for start in range(0, cases, 8):
            await asyncio.gather(*(one(case) for case in pending[start : start + 8]))
            if start == 8 * (cases // 16):
                half = server.memory()
        after = server.memory()
    return {
        "cases": cases, "statuses": dict(sorted(statuses.items())), "kinds": dict(sorted(kinds.items())),
        "megabytes": [round(size, 1) for size in (before, half, after)], "faults": faults[:10], "failed": bool(faults),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("wait", "memory", "kill", "damage", "lose"))
    parser.add_argument("--model", default=LIVELY)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--load", default="", help="what else the machine does, for the record")
    parser.add_argument("--turns", type=int)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="miras-load-") as folder:
        whole = asked.workers or (asked.what in ("wait", "memory") and asked.model != LIVELY)
        place = Path(folder)
        server = Command(place, asked.model, asked.workers) if whole else Forked(place, asked.model)
        try:
            address = server.start()
            work = {
                "wait": lambda: measure_wait(address, asked.people, asked.turns or 5),
                "memory": lambda: measure_memory(server, address, asked.people, asked.turns or 500),
                "kill": lambda: measure_kill(server, address, asked.people, asked.kills, asked.seed),
                "damage": lambda: measure_damage(server, address, asked.cases, asked.seed),
                "lose": lambda: measure_lost(server, address, asked.people, asked.turns or 5, asked.kills, asked.seed),
            }[asked.what]
            started = time.perf_counter()
            result = {"what": asked.what, "model": asked.model, "seed": asked.seed, **asyncio.run(work())}
            result |= {"workers": asked.workers} if asked.workers else {}
            result |= {"load": asked.load} if asked.load else {}
            result["took"] = round(time.perf_counter() - started, 1)
        finally:
            server.close()
    line = json.dumps(result)
    if asked.out is not None:
        asked.out.write_text(line + "\n")
    print(line)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
