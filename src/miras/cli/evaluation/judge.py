"""`miras judge`: language models rate the conversations of a run, and say which of two runs is better.

In: one or two folders of `miras eval --out`. Out: a table or one JSON object, and a folder (docs/judge.md). `judge` is
the command; `run` does the work. Exit codes: 0, 1 when some questions got no usable
answer, 2 for bad input and when a judge cannot be asked at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.output import emit, say, table
from miras.core.errors import InputError

SOME_FAILED = 1
"""Exit code when some questions got no usable answer."""


def judge(
    run_a: Path, run_b: Path | None = None, /, *,
    judge: Annotated[list[str], Parameter(help="MODEL or MODEL@URL, sees the photo; may be repeated.")] = [],  # noqa: B006
    blind_judge: Annotated[list[str], Parameter(help="The same, gets the photo in words.")] = [],  # noqa: B006
    out: Annotated[Path, Parameter(help="Folder of the results and of every paid answer.")],
    people: Annotated[list[Path], Parameter(help="Rating sheets, CSV: record, criterion, score, rater[, run].")] = [],  # noqa: B006
    no_pairs: Annotated[bool, Parameter(negative="", help="Rate two runs, and do not compare them.")] = False,
    limit: Annotated[int | None, Parameter(help="Only so many conversations, drawn by --seed.")] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Count and estimate; ask nothing.")] = False,
    max_side: Annotated[int, Parameter(help="Longest side in pixels of the pictures sent.")] = 512,
    temperature: Annotated[float | None, Parameter(help="Of the answers; left out where a server refuses it.")] = 0.0,
    max_tokens: Annotated[int | None, Parameter(help="Most tokens of one answer.")] = None,
    concurrency: Annotated[int, Parameter(help="Calls at once, to each judge.")] = 4,
    rpm: Annotated[int | None, Parameter(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, Parameter(help="Tokens a minute.")] = None,
    retries: Annotated[int | None, Parameter(help="Further calls after a fault (6).")] = None,
    timeout: Annotated[float | None, Parameter(help="Seconds for one call (120).")] = None,
    price_in: Annotated[list[float], Parameter(help="Price of a million tokens read; once, or once a judge.")] = [],  # noqa: B006
    price_out: Annotated[list[float], Parameter(help="The same, of tokens written.")] = [],  # noqa: B006
    json: Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]
    = False,
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0,
) -> int:  # fmt: skip
    """Language models rate the conversations of RUN_A (and RUN_B) from 1 to 5, and compare the two runs.

    Runs are folders of `miras eval --out`, with their own history. Criteria: progressiveness, coherence, consistency,
    relevance. Two runs are compared twice, in both orders; a win counts when both agree. Run the same command again
    after a stop: no answer is paid twice. Keys are read from OPENAI_API_KEY (MODEL) and MIRAS_JUDGE_KEY_1, _2, ...
    (MODEL@URL), and written nowhere.
    """
    options = {
        "max_side": max_side, "temperature": temperature, "max_tokens": max_tokens, "concurrency": concurrency,
        "rpm": rpm, "tpm": tpm, "retries": retries, "timeout": timeout, "price_in": price_in, "price_out": price_out,
    }  # fmt: skip
    folders = [run_a] if run_b is None else [run_a, run_b]
    return run(
        folders, seeing=judge, blind=blind_judge, out=out, people=people, pairs=not no_pairs, limit=limit,
        dry_run=dry_run, as_json=json, seed=seed, options=options,
    )  # fmt: skip


def run(
    folders: Sequence[Path], *, seeing: Sequence[str], blind: Sequence[str], out: Path, people: Sequence[Path],
    pairs: bool, limit: int | None, dry_run: bool, as_json: bool, seed: int, options: Mapping[str, Any],
) -> int:  # fmt: skip
    """Exit code 0; 1 when some questions got no usable answer."""
    if limit is not None and limit < 1:
        raise InputError("--limit of at least 1", str(limit))
    from miras.eval.judge.judging import judge as judged
    from miras.eval.judge.judging import rehearse
    from miras.eval.judge.questions import judges_of

    judges = judges_of(seeing, blind, **options)
    common: dict[str, Any] = {"out": out, "limit": limit, "seed": seed, "pairs": pairs}
    if dry_run:
        result = rehearse(folders, judges, **common)
    else:
        with _progress() as on_answer:
            result = judged(folders, judges, people=people, on_answer=on_answer, **common) | {"out": str(out)}
        for what in ("left_out", "failed"):
            for why in result[what]["named"]:
                say(f"miras: {what.replace('_', ' ')}: {why}")
    if as_json:
        emit(result)
    else:
        print(_estimated(result) if dry_run else _shown(result))
    return SOME_FAILED if result.get("failed", {}).get("n") else 0


def _estimated(result: Mapping[str, Any]) -> str:
    head = ("judge", "requests", "held", "prompt_tokens", "completion_tokens", "cost")
    return table([[_plain(line[name]) for name in head] for line in result["judges"]], head)


def _shown(result: Mapping[str, Any]) -> str:
    """Scores by run and judge, agreement, who wins, what it took."""
    parts = []
    criteria: list[str] = []
    for name, ratings in result["ratings"].items():
        criteria = list(ratings["all"])
        lines = [*ratings["judges"].items(), *([("all", ratings["all"])] if len(ratings["judges"]) > 1 else [])]
        rows = [[judge, *(_figure(line[criterion]) for criterion in criteria)] for judge, line in lines]
        parts.append(table(rows, (f"{name}: {result['runs'][name]['model']}", *criteria)))
    for title in ("difference", "agreement"):
        if title in result:
            parts.append(table([["A - B" if title == "difference" else "alpha",
                                 *(_figure(result[title][criterion]) for criterion in criteria)]],
                               (title, *criteria)))  # fmt: skip
    if "people" in result:
        judges = list(next(iter(result["people"].values())))
        rows = [[judge, *(_figure(line[judge].get("alpha", line[judge])) for line in result["people"].values())]
                for judge in judges]  # fmt: skip
        parts.append(table(rows, ("alpha with people", *result["people"])))
    if "pairs" in result:
        pairs = result["pairs"]
        rows = [[judge, line["n"], line["wins"], line["ties"], line["losses"], _figure(line["win_rate"]),
                 _figure(line["position"]["first"]) if "position" in line else "-"]
                for judge, line in (*pairs["judges"].items(), ("all", pairs["all"]))]  # fmt: skip
        parts.append(table(rows, ("A against B", "n", "wins", "ties", "losses", "win rate", "chose the first")))
    head = ("judge", "paid", "replayed", "calls", "prompt_tokens", "completion_tokens", "cost")
    parts.append(table([[line[name] for name in head] for line in result["judges"]], head))
    return "\n\n".join(parts)


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    span = "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    return f"{figure['value']:.2f}{span}"


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Something to call after each answer, with how many are there of how many; a bar where there is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("judging", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
