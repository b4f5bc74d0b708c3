"""`miras eval`: a system measured on a dataset.

In: a path and the name of its format (guessed where it is told by the files). Out: a table or one JSON object, and a
run's folder (docs/evaluation.md). `evaluate` is the command; `run` does the work. What
of the data is held with which system is in `recorded`. Exit codes: 0, 1 when some of the data had faults (the rest is
measured), 2 for bad input, and when a server that is asked stays away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from miras.cli.evaluation.recorded import Asked, Held, Split, hold, write_questions
from miras.cli.output import ALONE, COMPOSED, HERE, Computing, Pair, emit, load, progress, table
from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.io.left_out import LeftOut
from miras.data.io.left_out import line as left_out_line
from miras.eval.systems.specs import current

SAMPLED = ("dialogues", "behaviours")
"""Formats of PATH that are made from the training sets in it."""
FAULTY = 1
"""Exit code when some of the data had faults."""


def evaluate(
    path: Path, /, *,
    format: Annotated[str | None, Parameter(help="Format of PATH; guessed from the files when not given.")] = None,
    split: Annotated[Split, Parameter(help="Of the data, or of the recipe where the data is undivided.")] = "all",
    history: Annotated[Literal["own", "gold"], Parameter(help="Whose earlier answers stand before a message.")] = "own",
    out: Annotated[Path | None, Parameter(help="Folder of the run; by default nothing is kept.")] = None,
    limit: Annotated[int | None, Parameter(help="Only so many conversations, spread over kinds and photos.")] = None,
    instruction: Annotated[int, Parameter(help="InstructPart: which of the six is asked; 0 human, 4 bare phrase.")] = 0,
    dialogues: Annotated[int, Parameter(help="--format dialogues: how many are sampled.")] = 100,
    heldout: Annotated[bool, Parameter(help="dialogues, behaviours: wordings that training never shows.")] = True,
    recalls: Annotated[bool, Parameter(
        negative="", help="--format dialogues: with moves that mean again what was named, and all but something."
    )] = False,
    samples: Annotated[Path | None, Parameter(help="Without --out: a file that gets a line for each item.")] = None,
    json: Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]
    = False,
    model: Annotated[str, Parameter(help="Name (miras-mini) or folder of weights, predictions:FOLDER, openai:MODEL, "
                                    "composed, baseline:NAME.")] = "miras-mini",
    decoder: Annotated[str, Parameter(help="Weights behind openai:MODEL and some baseline:NAME.")] = "miras-mini",
    questions: Annotated[Path | None, Parameter(help="Ask nothing; write there what other software is to answer.")]
    = None,
    ray: Annotated[bool, Parameter(negative="", help="Over Ray: here, or on the cluster of RAY_ADDRESS.")] = False,
    jobs: Annotated[int | None, Parameter(help="--ray: actors, --threads each (1); by default cores over threads.")]
    = None,
    base_url: Annotated[str | None, Parameter(help="openai:MODEL: its server; by default OPENAI_BASE_URL.")] = None,
    max_side: Annotated[int | None, Parameter(help="Longest side in pixels of the photo sent (1024).")] = None,
    temperature: Annotated[float | None, Parameter(help="Of the answers; left out where a server refuses it.")] = 0.0,
    max_tokens: Annotated[int | None, Parameter(help="Most tokens of one answer.")] = None,
    rpm: Annotated[int | None, Parameter(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, Parameter(help="Tokens a minute.")] = None,
    retries: Annotated[int | None, Parameter(help="Further calls after a fault (6).")] = None,
    timeout: Annotated[float | None, Parameter(help="Seconds for one call (120).")] = None,
    price_in: Annotated[float | None, Parameter(help="Price of a million tokens read.")] = None,
    price_out: Annotated[float | None, Parameter(help="The same, of tokens written.")] = None,
    pair: Pair = ALONE,
    on: Computing = HERE,
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0,
) -> int:  # fmt: skip
    """Measure a system on PATH: every recorded conversation is held with it, each turn is compared with the data.

    --out RUN: samples.jsonl, run.json, summary.json, report.html; a run that was stopped goes on when the same command
    is given again, and no answer is paid twice. The key of a server is read from OPENAI_API_KEY and written nowhere.
    --format: any that `miras data` reads. Four more ways: instructpart without --out asks every item in a session of
    its own; dialogues: PATH holds the training sets, --dialogues are sampled from their photos; phrases: everything in
    these photos is asked for by its name, and a few things that are surely not there; behaviours: single questions
    about --limit of the photos (one of several, capitals, typos, existence, small talk).
    """
    endpoint = {
        "base_url": base_url, "max_side": max_side, "temperature": temperature, "max_tokens": max_tokens, "rpm": rpm,
        "tpm": tpm, "retries": retries, "timeout": timeout, "price_in": price_in, "price_out": price_out,
    }  # fmt: skip
    asked = Asked(COMPOSED if pair.preset else current(model), decoder, on, seed, endpoint, ray, jobs, pair)
    held = Held(path, format, split, limit, instruction, history, out)
    return run(
        held, asked, count=dialogues, heldout=heldout, recalls=recalls, samples=samples, questions=questions,
        as_json=json,
    )  # fmt: skip


def run(
    held: Held, asked: Asked, *, count: int, heldout: bool, samples: Path | None, questions: Path | None,
    as_json: bool, recalls: bool = False,
) -> int:  # fmt: skip
    """Exit code 0; 1 when some of the data had faults."""
    if held.limit is not None and held.limit < 1:
        raise InputError("--limit of at least 1", str(held.limit))
    if asked.jobs is not None and not asked.ray:
        raise InputError("--ray beside --jobs", "--jobs alone")
    start = time.monotonic()
    if held.format is None:
        from miras.data.formats.records import guess_format

        held = replace(held, format=guess_format(held.path))
    plain = not asked.by_prefix and not asked.ray and questions is None
    if held.format in SAMPLED or (held.format == "instructpart" and held.out is None and plain):
        if held.split == "test":
            raise InputError(f"--split all, train, calibration, val for {held.format}", held.split)
        if not plain:
            raise InputError(
                f"weights behind --model, asked here, for --format {held.format}", "another system, or --ray"
            )
        result = _annotated(held, asked, count, heldout, samples, recalls)
    else:
        if samples is not None:
            raise InputError("--out, which holds the samples", f"--samples {samples}")
        result = hold(held, asked) if questions is None else write_questions(held, asked.seed, questions)
    result |= {"format": held.format, "split": held.split, "seconds": round(time.monotonic() - start, 1)}
    if as_json:
        emit(result)
    else:
        print(_shown(result))
        if line := left_out_line(result["left_out"]):
            print(line)
    faults = result.get("faults", {})
    return FAULTY if faults.get("data") or faults.get("unread") else 0


def _annotated(
    held: Held, asked: Asked, count: int, heldout: bool, samples: Path | None, recalls: bool
) -> dict[str, Any]:
    """Photos with masks: InstructPart's items, or dialogues sampled from them."""
    from miras.eval.tasks.photos import side_of

    result: dict[str, Any]
    side: Any = held.split
    left = LeftOut()
    limit, seed = held.limit, asked.seed
    if held.format == "instructpart":
        from miras.data.formats.instructpart import read
        from miras.eval.tasks import instructpart

        items = side_of(read(held.path, left), side)[:limit]
        _whole(items, held)
        loaded = load(asked.model, asked.on)
        stream: Iterable[Any] = instructpart.evaluate(loaded, items, held.instruction, seed=seed)
        kept: list[Any] = list(_kept(progress(stream, len(items), "asking"), samples))
        result = {**instructpart.figures(kept), "instruction": held.instruction}
    elif held.format == "behaviours":
        from miras.data.formats.annotated import read_sources
        from miras.eval.tasks import behaviours

        asked_about = behaviours.chosen(side_of(read_sources(held.path, left), side), limit, seed)
        loaded = load(asked.model, asked.on)
        queue = progress(asked_about, len(asked_about), "asking")
        kept = list(_kept(behaviours.outcomes(loaded, queue, seed=seed, heldout=heldout), samples))
        result = {**behaviours.figures(kept), "heldout": heldout}
    else:
        from miras.data.formats.annotated import read_sources
        from miras.eval.tasks import dialogues

        photos = side_of(read_sources(held.path, left), side)
        _whole(photos, held)
        loaded = load(asked.model, asked.on)
        count = count if limit is None else min(count, limit)
        stream = dialogues.talks(
            loaded, photos, n=count, seed=seed, heldout=heldout, history=held.history, recalls=recalls
        )
        kept = list(_kept(progress(stream, count, "talking"), samples))
        result = {**dialogues.figures(kept), "heldout": heldout, **({"recalls": True} if recalls else {})}
    return result | {"model": loaded.name, "history": held.history, "seed": seed, **left.to_dict()}


def _whole(photos: Iterable[AnnotatedPhoto], held: Held) -> None:
    """Decode every photo before the model is loaded; raises one InputError for all that cannot be read."""
    from miras.data.inspect.decoded import all_of, faulty

    faults = faulty((photo.path, photo.content, photo.size) for photo in photos)
    if faults:
        raise all_of(list(faults.values()), f"photos in {held.path} that can be read whole", "mend or delete them")


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
