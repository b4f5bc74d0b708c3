"""`miras bench all`: what this machine does with a model, each figure beside the limit that memory or arithmetic sets.

In: a model; the photos that ship. Out: one object; `benchmarks/performance.py` makes a page of it. Limits and figures
are measured in the same run, with the same threads.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.options import Json, Model
from miras.cli.output import HERE, Computing, emit, load, say, table
from miras.core.errors import InputError

PHOTOS = Path(__file__).parents[2] / "assets"
QUESTIONS, TURNS = (1, 3), 6


def everything(
    *, repeats: Annotated[int, Parameter(help="Of each measurement; the fastest counts.")] = 5,
    photos: Annotated[int, Parameter(help="Photos that miras predict is measured with, for each way.")] = 8,
    jobs: Annotated[list[int], Parameter(consume_multiple=True, help="Processes of miras predict.")]
    = [1, 2],  # noqa: B006
    data: Annotated[Path | None, Parameter(help="Annotated photos; with them a training step is measured, too.")]
    = None, json: Json = False, model: Model = "miras-mini", on: Computing = HERE,
) -> int:  # fmt: skip
    """All of it: turns, photos, masks, many photos, memory, cold start, training, each beside its limit."""
    return run(repeats=repeats, photos=photos, jobs=jobs, data=data, as_json=json, model=model, on=on)


def run(
    *, repeats: int, photos: int, jobs: list[int], data: Path | None, as_json: bool, model: str, on: Computing
) -> int:  # fmt: skip
    """Exit code 0."""
    for name, value in (("repeats", repeats), ("photos", photos), *(("jobs", one) for one in jobs)):
        if value < 1:
            raise InputError(f"--{name} of at least 1", str(value))
    if on.device != "cpu":
        raise InputError("--device cpu: the limits are measured there", on.device)
    if data is not None and not data.exists():
        raise InputError("a folder of annotated photos", f"no {data}")
    result = measured(repeats, photos, jobs, data, model, on)
    if as_json:
        emit(result)
        return 0
    for name, value in result["hardware"].items():
        print(f"{name}: {value}")
    for part in ("encoding", "language", "decoder"):
        head = list(result[part][0])
        print(f"\n{part}\n" + table([tuple(row.values()) for row in result[part]], tuple(head)))
    for part in ("turns", "reading", "predict", "held", "cold_start", "training"):
        print(f"\n{part}: {result[part]}")
    return 0


def measured(
    repeats: int, photos: int, jobs: list[int], data: Path | None, model: str, on: Computing
) -> dict[str, Any]:  # fmt: skip
    """The object that `--json` prints; seconds, bytes, operations."""
    from miras.cli.benches import machine, parts, whole
    from miras.core.photo import read_photo

    files = sorted(PHOTOS.glob("*.jpg"))
    loaded = load(model, on.measuring(model))
    rates = machine.rates(repeats)
    hardware = machine.hardware(rates)
    pixels = [read_photo(path) for path in files]
    say("photos in conversation")
    result: dict[str, Any] = {"model": loaded.name, "repeats": repeats, "hardware": hardware}
    result["held"] = whole.held(loaded, files)
    say("encoding, language, decoder, text")
    result["encoding"] = parts.encoding(loaded.model, pixels, rates, repeats)
    result["language"] = parts.language(loaded.model, rates, repeats)
    result["decoder"] = parts.decoding(loaded.model, pixels[0], rates, repeats)
    result["reading"] = parts.reading(pixels[0], repeats)
    say("turns")
    result["turns"] = whole.turns(loaded, TURNS, repeats)
    del loaded
    say("cold start")
    result["cold_start"] = whole.cold_start(model, files[1], hardware["threads"], min(repeats, 3))
    say("many photos")
    ways = [(count, questions) for questions in QUESTIONS for count in jobs]
    result["predict"] = [whole.many(model, files, photos, count, questions) for count, questions in ways]
    result["training"] = None if data is None else whole.training(model, data, min(repeats, 3))
    hardware["load_after"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return result
