"""`miras eval`: a system measured on a dataset.

In: a path and the name of its format (guessed where it is told by the files). Out: a table or one JSON object, and a
run's folder (docs/evaluation.md). `evaluate` is the command, to be registered by `cli.main`; `run` does the work. Exit
codes: 0, 1 when some of the data had faults (the rest is measured), 2 for bad input.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from miras.cli.output import emit, load, progress, say, table
from miras.core.errors import InputError

if TYPE_CHECKING:
    from miras.data.record import Record

FAULTY = 1
"""Exit code when some of the data had faults."""
Split = Literal["all", "train", "calibration", "val", "test"]


def evaluate(
    path: Path, /, *,
    format: Annotated[str | None, Parameter(help="Format of PATH; guessed from the files when not given.")] = None,
    split: Annotated[Split, Parameter(help="Of the data, or of the recipe where the data is undivided.")] = "all",
    history: Annotated[Literal["own", "gold"], Parameter(help="Whose earlier answers stand before a message.")] = "own",
    out: Annotated[Path | None, Parameter(help="Folder of the run; by default nothing is kept.")] = None,
    limit: Annotated[int | None, Parameter(help="Only so many conversations, spread over kinds and photos.")] = None,
    instruction: Annotated[int, Parameter(help="InstructPart: which of the six is asked; 0 human, 4 bare phrase.")] = 0,
    dialogues: Annotated[int, Parameter(help="--format dialogues: how many are sampled.")] = 100,
    heldout: Annotated[bool, Parameter(help="--format dialogues: wordings that training never shows.")] = True,
    samples: Annotated[Path | None, Parameter(help="Without --out: a file that gets a line for each item.")] = None,
    json: Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]
    = False,
    model: Annotated[str, Parameter(help="A name (miras-mini) or the folder of a trained model.")] = "miras-mini",
    threads: Annotated[int | None, Parameter(help="Threads of the computation; by default all cores.")] = None,
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0,
) -> int:  # fmt: skip
    """Measure a model on PATH: every recorded conversation is held with it, each turn is compared with the data.

    --out RUN: samples.jsonl, run.json, summary.json; a run that was stopped goes on when the same command is given
    again. --format: any that `miras data` reads. Two more ways: instructpart without --out asks every item in a session
    of its own; dialogues: PATH holds the training sets, --dialogues are sampled from their photos.
    """
    return run(
        path, format=format, instruction=instruction, side=split, limit=limit, history=history, out=out, model=model,
        count=dialogues, heldout=heldout, samples=samples, as_json=json, threads=threads, seed=seed,
    )  # fmt: skip


def run(
    path: Path, *, format: str | None, instruction: int, side: Split, limit: int | None,
    history: Literal["own", "gold"], count: int, heldout: bool, samples: Path | None, as_json: bool, model: str,
    threads: int | None, seed: int, out: Path | None = None,
) -> int:  # fmt: skip
    """Exit code 0; 1 when some of the data had faults."""
    if limit is not None and limit < 1:
        raise InputError("--limit of at least 1", str(limit))
    start = time.monotonic()
    if format != "dialogues":
        from miras.data.formats import guess_format

        format = format or guess_format(path)
    if format == "dialogues" or (format == "instructpart" and out is None):
        if side == "test":
            raise InputError(f"--split all, train, calibration, val for {format}", side)
        result = _annotated(path, format, side, limit, instruction, history, count, heldout, samples, model, threads,
                            seed)  # fmt: skip
    else:
        if samples is not None:
            raise InputError("--out, which holds the samples", f"--samples {samples}")
        result = _recorded(path, format, side, limit, instruction, history, out, model, threads, seed)
    result |= {"format": format, "split": side, "seconds": round(time.monotonic() - start, 1)}
    if as_json:
        emit(result)
    else:
        print(_shown(result))
    faults = result.get("faults", {})
    return FAULTY if faults.get("data") or faults.get("unread") else 0


def _annotated(
    path: Path, format: str, side: Any, limit: int | None, instruction: int, history: Literal["own", "gold"],
    count: int, heldout: bool, samples: Path | None, model: str, threads: int | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Photos with masks: InstructPart's items, or dialogues sampled from them."""
    from miras.eval.photos import side_of

    result: dict[str, Any]
    if format == "instructpart":
        from miras.data.instructpart import read
        from miras.eval import instructpart

        items = side_of(read(path), side)[:limit]
        loaded = load(model, threads)
        stream: Iterable[Any] = instructpart.evaluate(loaded, items, instruction, seed=seed)
        kept: list[Any] = list(_kept(progress(stream, len(items), "asking"), samples))
        result = {**instructpart.figures(kept), "instruction": instruction}
    else:
        from miras.data.read import read_sources
        from miras.eval import dialogues

        photos = side_of(read_sources(path), side)
        loaded = load(model, threads)
        count = count if limit is None else min(count, limit)
        stream = dialogues.talks(loaded, photos, n=count, seed=seed, heldout=heldout, history=history)
        kept = list(_kept(progress(stream, count, "talking"), samples))
        result = {**dialogues.figures(kept), "heldout": heldout}
    return result | {"model": loaded.name, "history": history, "seed": seed}


def _recorded(
    path: Path, format: str, side: Split, limit: int | None, instruction: int, history: Literal["own", "gold"],
    out: Path | None, model: str, threads: int | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Conversations of any format, held one by one."""
    from miras.data.formats import read_records
    from miras.eval.protocol import Ours
    from miras.eval.run import evaluate as held

    unread: list[str] = []
    records = _of_side(list(read_records(path, format, unread.append, instruction=instruction)), side)
    for fault in unread:
        say(f"miras: left out: {fault}")
    settings = {"format": format, "split": side, **({"instruction": instruction} if format == "instructpart" else {})}
    with tempfile.TemporaryDirectory(prefix="miras-eval-") as scratch:
        result = held(
            records, Ours(load(model, threads), seed=seed), history=history, out=out or Path(scratch) / "run",
            limit=limit, seed=seed, about={"settings": settings, "unread": len(unread)},
            watch=lambda chosen: progress(chosen, len(chosen), "talking"),
        )  # fmt: skip
    for fault in result["faults"]["named"]:
        say(f"miras: fault: {fault}")
    return {**result, **({"out": str(out)} if out is not None else {})}


def _of_side(records: list[Record], side: Split) -> list[Record]:
    """The records of a split; where the data is undivided, of a side of the recipe's split. Raises InputError."""
    if side == "all":
        return records
    divided = sorted({record["split"] for record in records if record["split"]})
    if divided:
        chosen = [record for record in records if record["split"] == side]
        known = ", ".join(divided)
    else:
        from miras.core.types import AnnotatedPhoto
        from miras.data.split import recipe_sides

        size = (1, 1)
        photos = [AnnotatedPhoto(record["image_id"], Path(), size, (), record["source"]) for record in records]
        sides = recipe_sides(photos)
        kept = {(photo.source, photo.id) for photo in sides.get(side, ())}
        chosen = [record for record in records if (record["source"], record["image_id"]) in kept]
        known = ", ".join(name for name, members in sides.items() if members)
    if records and not chosen:
        raise InputError(f"conversations of --split {side}", f"none among {len(records)}", f"there are: {known}, all")
    return chosen


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


def _shown(result: Mapping[str, Any]) -> str:
    """The figures for a person: single values, then final turns by kind."""
    flat = [(name, _plain(value)) for name, value in result.items()
            if not isinstance(value, (dict, list)) and value is not None]  # fmt: skip
    text = table(flat, ("figure", "value"))
    for title, group in (("all turns", result.get("by")), ("final turn", result.get("final", {}).get("by"))):
        lines = group["kind"] if isinstance(group, dict) and "kind" in group else []
        if lines:
            rows = [(line["label"], line["n"], _plain(line["giou"]), _plain(line["ciou"])) for line in lines]
            text += "\n\n" + table(rows, (title, "n", "giou", "ciou"))
    return text


def _plain(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
