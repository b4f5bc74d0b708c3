"""Whole commands: the first answer from a shell, many photos, photos that are held at once, a training step.

In: the name of a model, photos, the machine's rates. Out: seconds, photos a second, megabytes, each beside the least or
the most that `roofline` allows.
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

from miras.cli.benches.machine import Rates, clock_now, resident_mb
from miras.cli.benches.roofline import Least, least, size
from miras.cli.benches.script import OPENING, PHOTO, SCRIPT, Times, equal_length, typical
from miras.cli.benches.turns import turn_limits
from miras.core.errors import InputError

QUESTION = "What is in front?"
WARM = 2
"""Photos of each process before the clock starts: it has its model by then."""


def turns(loaded: Any, rates: Rates, count: int, repeats: int) -> list[dict[str, Any]]:
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
    limits = turn_limits(loaded, PHOTO, [opening, *others][:count], rates)
    return [
        {"turn": number, "new_tokens": new, **limit.beside(typical(found))}
        for number, (found, new, limit) in enumerate(zip(times, tokens, limits, strict=True), 1)
    ]


def answer_limit(loaded: Any, photo: Path, questions: int, rates: Rates) -> Least:
    """The least that a photo with so many questions can take."""
    from miras.predict.answer import answers

    return least(lambda: answers(loaded.chat(photo), asked(questions)), rates, loaded.model)


def asked(questions: int) -> list[tuple[str, ...]]:
    """So many conversations of one message."""
    return [(f"{QUESTION} {'?' * number}".strip(),) for number in range(questions)]


def cold_start(model: str, photo: Path, threads: int, repeats: int, limit: float) -> dict[str, Any]:
    """`miras ask` from the shell to the end of its answer, in a new process each time; the fastest. limit: the least
    for its weights and its answer, without a word of Python."""
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
        "engine": engine(model), "load_seconds": told["load"], "encode_seconds": told["encode_image"],
        "limit_seconds": round(limit, 3),
        "times_the_limit": round(seconds / limit, 1),
    }  # fmt: skip


def _of_children() -> float:
    """Processor seconds of all processes that were begun here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def engine(model: str) -> str:
    """What computes a model where nothing is said."""
    from miras.chat.load import is_onnx

    return "onnx" if is_onnx(model) else "torch"


def many(
    model: str, photos: Sequence[Path], count: int, jobs: int, questions: int, limit: float
) -> dict[str, Any]:  # fmt: skip
    """Photos a second of `miras predict`, its processes started and the model loaded. limit: the least seconds of one,
    so that `jobs` of them by it are the most there can be in a second."""
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
        settings = Settings(("png",), model, jobs=jobs, threads=jobs)
        predict([str(folder)], asked(questions), Path(place) / "out", settings, watch=watch)
    rate = count / (marks[-1][0] - marks[warm - 1][0])
    return {
        "engine": engine(model), "jobs": jobs, "questions": questions, "photos": count,
        "photos_per_second": round(rate, 3),
        "limit_photos_per_second": round(jobs / limit, 2), "share_of_the_limit": round(rate * limit / jobs, 3),
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
    """Resident megabytes of this process with so many photos in conversation, beside the bytes of what has to be there:
    the weights, and each photo's features with what was read of its conversation. Linux alone."""
    if resident_mb() is None:
        return []
    rows, sessions = [], []
    least_mb = size(loaded.model) / 1e6
    for count in range(most + 1):
        if count:
            sessions.append(loaded.chat(photos[count % len(photos)]))
            sessions[-1].ask(QUESTION)
            least_mb += kept_bytes(sessions[-1]) / 1e6
        if count in (0, 1, 2, 4, most):
            rows.append({"photos": count, "resident_mb": resident_mb(), "limit_mb": round(least_mb)})
    return rows


def kept_bytes(session: Any) -> int:
    """Of a conversation's tensors: features of the photo, keys and values; each storage once."""
    found: dict[int, int] = {}
    engine = session.backend.engine
    waiting: list[Any] = [engine.features, engine.past.cache, session.photo]
    while waiting:
        value = waiting.pop()
        if hasattr(value, "untyped_storage"):
            found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif hasattr(value, "nbytes"):
            found[id(value)] = value.nbytes
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif hasattr(value, "__dict__") or hasattr(value, "__slots__"):
            waiting += vars(value).values() if hasattr(value, "__dict__") else ()
    return sum(found.values())


def training(model: str, data: Path, steps: int, rates: Rates) -> dict[str, Any]:
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
    limits: list[Least] = []
    for step in range(steps + 1):
        batch = moved(collate([items[2 * step], items[2 * step + 1]])["batch"], torch.device("cpu"))
        batch = replace(batch, own_C=torch.zeros_like(batch.own_C))

        def work(batch: Any = batch) -> None:
            module(batch)["loss"].backward()

        if step == 0:  # warms up, and is counted
            limits.append(least(work, rates, module))
        else:
            start = clock()
            work()
            seconds.append(clock() - start)
        module.zero_grad(set_to_none=True)
    taken, limit = sum(seconds) / steps, limits[0]
    return {
        "stage": 2, "photos": 2, "conversations": 8, "steps": steps, "seconds_per_step": round(taken, 2),
        "conversations_per_second": round(8 / taken, 3), "giga_operations": round(limit.operations / 1e9, 1),
        "limit_seconds": round(limit.seconds, 2), "times_the_limit": round(taken / limit.seconds, 2),
        "clock": "processor time" if torch.get_num_threads() == 1 else "the clock", "resident_mb": resident_mb(),
    }  # fmt: skip
