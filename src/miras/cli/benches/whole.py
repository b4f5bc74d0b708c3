"""Whole commands: the first answer from a shell, many photos, photos that are held at once, a training step.

In: the name of a model, photos. Out: seconds, photos a second, megabytes. Each runs in processes of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from miras.cli.benches.machine import clock_now
from miras.cli.benches.script import OPENING, PHOTO, SCRIPT, Times, equal_length, typical
from miras.core.errors import InputError

QUESTION = "What is in front?"
WARM = 2
"""Photos of each process before the clock starts: it has its model by then."""


def turns(loaded: Any, count: int, repeats: int) -> list[dict[str, Any]]:
    """Each turn of one conversation, replies given and equally long; seconds as `machine.fastest` counts them, the mean
    of the exchanges (each where it was fastest)."""
    opening, *others = equal_length(loaded.model, (OPENING, *SCRIPT))
    clock = clock_now()
    times: list[Times] = [[] for _ in range(count)]
    tokens = [0] * count
    for round_ in range(repeats):
        session = loaded.chat(PHOTO)
        at = round_ % len(others)
        for turn, (text, ids) in enumerate([opening, *others[at:], *others[:at]][:count]):
            start = clock()
            tokens[turn] = session.ask(text, forced=ids).new_tokens
            times[turn].append((text, clock() - start))
    return [
        {"turn": number, "seconds": round(typical(found), 4), "new_tokens": new}
        for number, (found, new) in enumerate(zip(times, tokens, strict=True), 1)
    ]


def cold_start(model: str, photo: Path, threads: int, repeats: int) -> dict[str, Any]:
    """`miras ask` from the shell to the end of its answer, in a new process each time; the fastest."""
    command = [sys.executable, "-m", "miras", "ask", str(photo), QUESTION, "--json", "--model", model]
    found = []
    for _ in range(repeats):
        start, before = time.perf_counter(), _of_children()
        done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True)
        if done.returncode:
            raise InputError("an answer of miras ask", (done.stderr.strip().splitlines() or ["nothing"])[-1])
        found.append(
            (time.perf_counter() - start, _of_children() - before, json.loads(done.stdout.splitlines()[-1])["seconds"])
        )
    seconds, _, told = min(found, key=lambda one: one[0])
    return {
        "seconds": round(seconds, 2), "processor_seconds": round(min(one[1] for one in found), 2),
        "load_seconds": told["load"], "encode_seconds": told["encode_image"],
    }  # fmt: skip


def _of_children() -> float:
    """Processor seconds of all processes that were begun here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def many(model: str, photos: Sequence[Path], count: int, jobs: int, questions: int) -> dict[str, Any]:
    """Photos a second of `miras predict`, its processes started and the model loaded."""
    from miras.predict.run import Settings, predict

    marks: list[tuple[float, float]] = []

    def watch(outcomes: Iterator[Any], *_: int) -> Iterator[Any]:
        for outcome in outcomes:
            marks.append((time.perf_counter(), processor_seconds()))
            yield outcome

    warm = WARM * jobs
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        folder.mkdir()
        for number in range(count + warm):
            source = photos[number % len(photos)]
            shutil.copy(source, folder / f"{number:04d}{source.suffix}")
        asked = [(f"{QUESTION} {'?' * number}".strip(),) for number in range(questions)]
        settings = Settings(("png",), model, jobs=jobs, threads=jobs)
        predict([str(folder)], asked, Path(place) / "out", settings, watch=watch)
    return {
        "jobs": jobs, "questions": questions, "photos": count,
        "photos_per_second": round(count / (marks[-1][0] - marks[warm - 1][0]), 3),
        "processor_seconds": round((marks[-1][1] - marks[warm - 1][1]) / count, 3) or None,
    }  # fmt: skip


def processor_seconds() -> float:
    """Of this process and the processes of its pool, so far; 0 where the system does not say."""
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        ticks += int(fields[11]) + int(fields[12])
    return ticks / float(os.sysconf("SC_CLK_TCK"))


def held(loaded: Any, photos: Sequence[Path], most: int = 8) -> list[dict[str, Any]]:
    """Resident megabytes of this process with so many photos in conversation; Linux alone."""
    if not Path("/proc/self/status").exists():
        return []
    rows, sessions = [], []
    for count in range(most + 1):
        if count:
            sessions.append(loaded.chat(photos[count % len(photos)]))
            sessions[-1].ask(QUESTION)
        if count in (0, 1, 2, 4, most):
            rows.append({"photos": count, "resident_mb": resident_mb()})
    return rows


def resident_mb() -> int:
    """Of this process, now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024)


def training(model: str, data: Path, steps: int) -> dict[str, Any]:
    """Steps of stage 2 that start from `model`: forwards and backwards, two photos with four conversations each."""
    import torch

    from miras.train import run
    from miras.train.data import corpus
    from miras.train.data.targets import moved
    from miras.train.recipe import recipe
    from miras.train.stages import training_module

    torch.manual_seed(0)
    changes = [f"start.weights={model}", "start.operators=false", "batch.photos=2", "batch.conversations=4"]
    chosen = recipe.load("stage2", changes).recipes[0]
    module = training_module.build(chosen).train()
    items = run.items(chosen, corpus.read([data], chosen.data))
    collate = run.Collate(module.model, chosen)
    clock, seconds = clock_now(), []
    for step in range(steps + 1):
        batch = moved(collate([items[2 * step], items[2 * step + 1]])["batch"], torch.device("cpu"))
        batch = replace(batch, own_C=torch.zeros_like(batch.own_C))
        start = clock()
        module(batch)["loss"].backward()
        seconds.append(clock() - start)
        module.zero_grad(set_to_none=True)
    taken = sum(seconds[1:]) / steps  # the first warms up
    return {
        "stage": 2, "photos": 2, "conversations": 8, "steps": steps, "seconds_per_step": round(taken, 2),
        "conversations_per_second": round(8 / taken, 3),
        "clock": "processor time" if torch.get_num_threads() == 1 else "the clock", "resident_mb": resident_mb(),
    }  # fmt: skip
