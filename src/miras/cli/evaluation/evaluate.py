"""`miras eval`: a system measured on a dataset.

In: a path and the name of its format (guessed where it is told by the files). Out: a table or one JSON object, and a
run's folder (docs/evaluation.md). `evaluate` is the command; `run` does the work. What
of the data is held with which system is in `recorded`. Exit codes: 0, 1 when some of the data had faults (the rest is
measured), 2 for bad input, and when a server that is asked stays away.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from miras.cli.evaluation.recorded import Asked, Held, Split, hold, write_questions
from miras.cli.output import ALONE, COMPOSED, HERE, Computing, Pair, emit, table
from miras.core.errors import InputError
from miras.data.io.left_out import line as left_out_line
from miras.eval.systems.specs import AGENT, current

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
    --format: any that `miras data` reads. Four tasks beside these: instructpart without --out asks the first --limit
    parts; dialogues: PATH holds the training sets, --dialogues are sampled from their photos; phrases: everything in
    these photos is asked for by its name, and a few things that are surely not there; behaviours: single questions
    about --limit of the photos (one of several, capitals, typos, existence, small talk).
    """
    endpoint = {
        "base_url": base_url, "max_side": max_side, "temperature": temperature, "max_tokens": max_tokens, "rpm": rpm,
        "tpm": tpm, "retries": retries, "timeout": timeout, "price_in": price_in, "price_out": price_out,
    }  # fmt: skip
    asked = Asked(_meant(current(model), pair), decoder, on, seed, endpoint, ray, jobs, pair)
    held = Held(path, format, split, limit, instruction, history, out, dialogues, heldout, recalls, samples)
    return run(held, asked, questions=questions, as_json=json)


def _meant(model: str, pair: Pair) -> str:
    """The preset of a pair says what is measured, unless an agent of its parts is."""
    return COMPOSED if pair.preset and not model.startswith(AGENT) else model


def run(held: Held, asked: Asked, *, questions: Path | None, as_json: bool) -> int:
    """Exit code 0; 1 when some of the data had faults."""
    if held.limit is not None and held.limit < 1:
        raise InputError("--limit of at least 1", str(held.limit))
    if asked.jobs is not None and not asked.ray:
        raise InputError("--ray beside --jobs", "--jobs alone")
    start = time.monotonic()
    if held.format is None:
        from miras.data.formats.records import guess_format

        held = replace(held, format=guess_format(held.path))
    if held.samples is not None and held.task(asked) is None:
        raise InputError("--out, which holds the samples", f"--samples {held.samples}")
    result = hold(held, asked) if questions is None else write_questions(held, asked, questions)
    result |= {"format": held.format, "split": held.split, "seconds": round(time.monotonic() - start, 1)}
    if as_json:
        emit(result)
    else:
        print(_shown(result))
        if line := left_out_line(result["left_out"]):
            print(line)
    faults = result.get("faults", {})
    return FAULTY if faults.get("data") or faults.get("unread") else 0


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
