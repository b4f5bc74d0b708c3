"""`miras eval`: a model measured on annotated photos.

In: a folder and its format. Out: a table or one JSON object, and a line for each item in a file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from miras.cli.output import emit, load, progress, table
from miras.core.errors import InputError


def run(
    path: Path, *, format: str, instruction: int, side: Literal["val", "train", "calibration", "all"],
    limit: int | None,
    history: Literal["own", "gold"], count: int, heldout: bool, samples: Path | None, as_json: bool, model: str,
    threads: int | None, seed: int,
) -> int:  # fmt: skip
    """Exit code 0."""
    if limit is not None and limit < 1:
        raise InputError("--limit of at least 1", str(limit))
    start = time.monotonic()
    kept: list[Any] = []
    if format == "instructpart":
        from miras.data.instructpart import read
        from miras.eval import instructpart
        from miras.eval.photos import side_of

        items = side_of(read(path), side)[:limit]
        loaded = load(model, threads)
        stream: Iterable[Any] = instructpart.evaluate(loaded, items, instruction, seed=seed)
        kept = list(_kept(progress(stream, len(items), "asking"), samples))
        result = {**instructpart.figures(kept), "instruction": instruction}
    else:
        from miras.data.read import read_sources
        from miras.eval import dialogues
        from miras.eval.photos import side_of

        photos = side_of(read_sources(path), side)
        loaded = load(model, threads)
        count = count if limit is None else min(count, limit)
        stream = dialogues.talks(loaded, photos, n=count, seed=seed, heldout=heldout, history=history)
        kept = list(_kept(progress(stream, count, "talking"), samples))
        result = {**dialogues.figures(kept), "heldout": heldout}
    result |= {
        "model": loaded.name, "format": format, "split": side, "history": history, "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip
    if as_json:
        emit(result)
    else:
        flat = [(name, f"{value:.2f}" if isinstance(value, float) else value) for name, value in result.items()]
        print(table([row for row in flat if not isinstance(row[1], (dict, list))], ("figure", "value")))
    return 0


def _kept(stream: Iterable[Any], file: Path | None) -> Iterator[Any]:
    """The samples; each is written to the file as soon as it is there."""
    if file is None:
        yield from stream
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as lines:
        for sample in stream:
            lines.write(json.dumps(sample.to_dict(), ensure_ascii=False) + "\n")
            lines.flush()
            yield sample
