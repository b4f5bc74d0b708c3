"""`miras predict` against a loop over `session.ask`; its memory; its files after kills. One JSON object each.

python benchmarks/predict.py speed  PHOTOS --photos 16 --repeats 3   photos a second: loops, one process, two
python benchmarks/predict.py memory PHOTOS --photos 1000             resident memory while it goes on
python benchmarks/predict.py kills  PHOTOS --photos 1000 --kills 20  killed at random moments, then ended

PHOTOS: a folder; where it has too few, they are copied under other names. The ways of `speed` take turns within each
repeat, since other programs may use the machine: ratios are within a repeat, figures the medians of all repeats.
Processor time is what one photo costs, whatever else runs. Loading the model is left out of both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUESTIONS = ("Where is the person?", "Is there a dog?", "Select what one can sit on.")
WAYS = {
    "loop, a session a question, 1 thread": ("anew", 1), "loop, a session a photo, 1 thread": ("loop", 1),
    "loop, a session a photo, 2 threads": ("loop", 2), "loop, a session a photo, 1 core": ("loop", 1),
    "predict, 1 process": ("predict", 1), "predict, 1 process, 1 core": ("predict", 1),
    "predict, 2 processes": ("predict", 2),
}  # fmt: skip
"""A session a question: the photo is read again for each. A session a photo: a fork of it for each.
1 core: held to one by the system; without that, what reads text, photos and files goes on beside one thread."""
WARM = 4
"""Photos before the clock starts: every process has its model by then."""
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "kills", "way"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--questions", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", default="miras-mini")
    parser.add_argument("--way", default="")
    parser.add_argument("--without", nargs="*", default=[], help="ways to leave out")
    options = parser.parse_args()
    if options.what == "way":
        print(json.dumps(_way(options)))
        return
    with tempfile.TemporaryDirectory() as place:
        photos = copies(options.folder, Path(place) / "photos", options.photos)
        found = {"speed": speed, "memory": memory, "kills": kills}[options.what](options, photos, Path(place))
    print(json.dumps({"photos": options.photos, "model": options.model, **found}))


def copies(folder: Path, place: Path, count: int) -> Path:
    """`count` photos of a folder, drawn in a fixed order; copies under other names once all were taken."""
    found = sorted(path for ending in ("jpg", "jpeg", "png") for path in folder.rglob(f"*.{ending}"))
    random.Random(0).shuffle(found)
    place.mkdir(parents=True)
    for number in range(count):
        source = found[number % len(found)]
        shutil.copy(source, place / f"{number:05d}{source.suffix}")
    return place


# Speed


def speed(options: Any, photos: Path, place: Path) -> dict[str, Any]:
    """Photos a second and processor seconds a photo of every way, by how many questions are asked."""
    found: dict[str, Any] = {"repeats": options.repeats, "questions": {}}
    for count in options.questions:
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(options.repeats):
            for way in WAYS:
                if (count == 1 and WAYS[way][0] == "anew") or way in options.without:
                    continue
                command = [sys.executable, __file__, "way", str(photos), "--way", way, "--questions", str(count)]
                done = subprocess.run([*command, "--model", options.model], capture_output=True, text=True, check=True)
                runs[way].append(json.loads(done.stdout.splitlines()[-1]))
                print(count, way, runs[way][-1], file=sys.stderr)
        found["questions"][str(count)] = _compared({way: each for way, each in runs.items() if each})
    return found


def _compared(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    rates = {way: [run["photos_per_second"] for run in each] for way, each in runs.items()}
    one, two = rates["predict, 1 process"], rates["predict, 2 processes"]
    against = {"2 processes over 1": (two, one)}
    against |= {
        f"2 processes over {way}": (two, rate)
        for way, rate in rates.items()
        if way.startswith("loop") or way.endswith("1 core")
    }
    against |= {f"1 process over {way}": (one, rate) for way, rate in rates.items() if way.endswith("1 thread")}
    return {
        "ways": {
            way: {name: round(statistics.median(run[name] for run in each), 4) for name in each[0]}
            for way, each in runs.items()
        },
        "ratios": {
            name: {"median": round(statistics.median(pairs := [a / b for a, b in zip(*both, strict=True)]), 2),
                   "lowest": round(min(pairs), 2), "highest": round(max(pairs), 2)}
            for name, both in against.items()
        },
    }  # fmt: skip


def _way(options: Any) -> dict[str, float]:
    kind, threads = WAYS[options.way]
    if options.way.endswith("1 core"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    files = sorted(options.folder.iterdir())
    questions = QUESTIONS[: options.questions[0]]
    clock = Clock(len(files))
    if kind == "predict":
        from miras.predict.run import Settings, predict

        with tempfile.TemporaryDirectory() as out:
            settings = Settings(("coco", "png"), options.model, jobs=threads, threads=threads)
            predict([str(options.folder)], [(text,) for text in questions], Path(out) / "out", settings,
                    watch=lambda outcomes, *_: clock.each(outcomes))  # fmt: skip
    else:
        for _ in clock.each(_loop(files, questions, options.model, threads, kind == "anew")):
            pass
    return clock.read()


def _loop(files: list[Path], questions: tuple[str, ...], model: str, threads: int, anew: bool) -> Iterator[None]:
    """What one writes without `miras predict`, which keeps nothing but a mask as PNG."""
    import miras
    from miras.chat.export import png

    loaded = miras.load(model, threads)
    for file in files:
        session = loaded.chat(file)
        for number, text in enumerate(questions):
            talk = session if number == 0 and anew else loaded.chat(file) if anew else session.fork()
            talk.ask(text)
            png(talk.selection.mask)
        yield


class Clock:
    """Seconds and processor seconds from photo WARM to the last."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.marks: list[tuple[float, float]] = []

    def each(self, outcomes: Iterator[Any]) -> Iterator[Any]:
        """The outcomes; the clock is read after each."""
        for outcome in outcomes:
            self.marks.append((time.perf_counter(), processor_seconds()))
            yield outcome

    def read(self) -> dict[str, float]:
        """Of the photos after the first WARM."""
        first, last = self.marks[WARM - 1], self.marks[-1]
        counted = self.count - WARM
        return {
            "photos_per_second": counted / (last[0] - first[0]), "processor_seconds": (last[1] - first[1]) / counted
        }  # fmt: skip


def family() -> list[int]:
    """This process and its children."""
    import multiprocessing

    return [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]


def processor_seconds() -> float:
    """Of this process and its children, so far."""
    ticks = 0
    for pid in family():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# Memory


def memory(options: Any, photos: Path, place: Path) -> dict[str, Any]:
    """Megabytes resident, of the parent and of each child, after so many photos."""
    from miras.predict.run import Settings, predict

    steps = sorted({100, *range(options.photos // 10, options.photos + 1, options.photos // 10)})
    rows: list[dict[str, Any]] = []
    clock = Clock(options.photos)

    def watch(outcomes: Iterator[Any], *_: int) -> Iterator[Any]:
        for number, outcome in enumerate(clock.each(outcomes), 1):
            if number in steps:
                parent, *children = (resident(pid) for pid in family())
                rows.append({"photos": number, "parent_mb": parent, "children_mb": sorted(children)})
                print(rows[-1], file=sys.stderr)
            yield outcome

    settings = Settings(("coco", "png"), options.model, jobs=options.jobs, threads=options.jobs)
    summary = predict([str(photos)], [(QUESTIONS[0],)], place / "out", settings, watch=watch)
    return {
        "jobs": options.jobs, **clock.read(), "failed": summary.failed, "rows": rows,
        "parent_at_the_end_mb": resident(os.getpid()), "parent_peak_mb": resident(os.getpid(), "VmHWM"),
    }  # fmt: skip


def resident(pid: int, what: str = "VmRSS") -> int:
    """Megabytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024)


# Kills


def kills(options: Any, photos: Path, place: Path) -> dict[str, Any]:
    """Whether the files of a run that was killed `kills` times at random moments are those of one that was not."""
    command = [sys.executable, "-m", "miras", "predict", str(photos), "--ask", QUESTIONS[0], "--model", options.model]
    command += ["--jobs", str(options.jobs), "--threads", str(options.jobs), "--to", "coco", "png", "labelme", "jsonl"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole, out = place / "whole", place / "out"
    started = time.perf_counter()
    _ended([*command, "--out", str(whole)], quiet)
    seconds = time.perf_counter() - started
    draw, moments, repeated = random.Random(0), [], 0
    for left in range(options.kills, 0, -1):
        before = answered(out)
        begun = subprocess.Popen([*command, "--out", str(out)], start_new_session=True, **quiet)
        goal = len(before) + draw.randint(1, max(1, 2 * (options.photos - len(before)) // left))
        while len(answered(out)) < goal and begun.poll() is None:
            time.sleep(0.02)
        time.sleep(draw.random() * 0.3)
        if begun.poll() is None:
            os.killpg(begun.pid, signal.SIGKILL)
        begun.wait()
        after = answered(out)
        moments.append(len(after))
        repeated += sum(after.get(path) != told for path, told in before.items())
        print(f"killed with {len(after)} answered", file=sys.stderr)
    before = answered(out)
    _ended([*command, "--out", str(out)], quiet)
    after = answered(out)
    repeated += sum(after.get(path) != told for path, told in before.items())
    ours, theirs = contents(out), contents(whole)
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return {
        "jobs": options.jobs, "kills": options.kills, "answered_at_each_kill": moments, "files": len(theirs),
        "different_files": different[:20], "equal": not different, "answered_again": repeated,
        "seconds_uninterrupted": round(seconds, 1),
    }  # fmt: skip


def _ended(command: list[str], quiet: dict[str, Any]) -> None:
    """1: a photo could not be read; the run ended all the same."""
    code = subprocess.run(command, **quiet).returncode
    if code not in (0, 1):
        raise SystemExit(f"miras predict ended with {code}")


def answered(out: Path) -> dict[Path, tuple[int, int]]:
    """The parts that are there, with what tells a file that was written again."""
    found = {}
    for path in (out / ".miras" / "parts").rglob("*.json"):
        try:
            found[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
        except OSError:
            continue
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
