"""`miras people`: a blinded study with people: the sheets, what they answered, how many are needed.

In: runs of `miras eval --out`; answered sheets. Out: a folder of sheets and its key; a table or one JSON object, and a
report. `people_app` holds the commands. Exit codes: 0; 1 when answers had faults or
raters were left out; 2 for bad input.
"""

from __future__ import annotations

import csv
import io
import json as json_module
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from miras.cli.output import emit, say, table, write
from miras.core.errors import InputError
from miras.core.files import folder

people_app = cyclopts.App(name="people", help="People judge runs, blinded: sheets, answers, sample sizes.")
NAMED = 10
"""Faults shown on the terminal; the report has all."""
Json = Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]


@people_app.command
def sheets(
    runs: Annotated[list[Path], Parameter(help="Folders of miras eval --out, over the same data.")], /, *,
    out: Annotated[Path, Parameter(help="New folder of the study.")],
    kind: Annotated[Literal["pairwise", "rating"], Parameter(help="Which of two is better, or 1 to 5.")] = "pairwise",
    items: Annotated[int, Parameter(help="Conversations.")] = 60,
    raters: Annotated[int, Parameter(help="People.")] = 5,
    each: Annotated[int, Parameter(help="People who judge each conversation.")] = 3,
    repeats: Annotated[int | None, Parameter(help="Hidden repeats a rater; a tenth by default.")] = None,
    checks: Annotated[int, Parameter(help="Attention checks a rater.")] = 3,
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0,
    json: Json = False,
) -> int:  # fmt: skip
    """Write a sheet for each rater into OUT/sheets, for miras serve --rate, and OUT/key.json.

    The raters must not get the key.
    """
    from miras.eval.people.design import design
    from miras.eval.people.sheets import facts, write_sheets

    plan = design(runs, kind, items=items, raters=raters, each=each, repeats=repeats, checks=checks, seed=seed)
    result = facts(plan, write_sheets(plan, out))
    for why in result["left_out"][:NAMED]:
        say(f"miras: left out: {why}")
    if result["checks_missing"]:
        say(f"miras: {result['checks_missing']} attention checks fewer than asked for: no conversations fit")
    if json:
        emit(result)
    else:
        rows = [[rater, *roles.values(), sum(roles.values())] for rater, roles in result["cards"].items()]
        print(table(rows, ("rater", "items", "repeats", "checks", "cards")))
        print(f"study {plan.study}: miras serve --rate {out / 'sheets' / 'rater_*.csv'}; keep {out / 'key.json'}")
    return 0


@people_app.command
def read(
    study: Annotated[Path, Parameter(help="Folder of the study, or its key.json.")], /, *,
    answers: Annotated[list[Path], Parameter(consume_multiple=True, help="The raters' CSV files.")],
    out: Annotated[Path | None, Parameter(help="Folder of the report; by default the study's.")] = None,
    seed: Annotated[int, Parameter(help="Seed of the intervals.")] = 0,
    json: Json = False,
) -> int:  # fmt: skip
    """Unblind the answers: report.json, report.md, and for ratings people.csv, which miras judge --people takes."""
    from miras.eval.people.answers import read_answers, read_key
    from miras.eval.people.report import judge_rows, markdown, report
    from miras.eval.rating.sheets import COLUMNS

    key = read_key(study / "key.json" if study.is_dir() else study)
    found, faults = read_answers(answers, key)
    result = report(key, found, faults, seed=seed)
    place = folder(out or (study if study.is_dir() else study.parent))
    text = markdown(result)
    write(place / "report.json", (json_module.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    write(place / "report.md", text.encode())
    if key.kind == "rating":
        lines = io.StringIO()
        trusted = [answer for answer in found if answer.card.rater not in result["left_out_raters"]]
        csv.writer(lines).writerows([(*COLUMNS, "run"), *judge_rows(trusted)])
        write(place / "people.csv", lines.getvalue().encode())
    for fault in faults[:NAMED]:
        say(f"miras: {fault}")
    if len(faults) > NAMED:
        say(f"miras: and {len(faults) - NAMED} faults more, all in {place / 'report.md'}")
    for rater in result["left_out_raters"]:
        say(f"miras: rater {rater} left out: {'; '.join(result['raters'][rater]['doubts'])}")
    if json:
        emit(result | {"out": str(place)})
    else:
        print(text, end="")
    return 1 if faults or result["left_out_raters"] else 0


@people_app.command
def size(
    runs: Annotated[list[Path], Parameter(help="Two runs to estimate from; none: give --sd and the like.")] = [],  # noqa: B006
    /, *,
    giou: Annotated[float | None, Parameter(help="With two runs: difference of gIoU to see, points of 100.")] = None,
    difference: Annotated[float | None, Parameter(help="Difference of two means to see.")] = None,
    share: Annotated[float | None, Parameter(help="Share of wins to tell from one half.")] = None,
    width: Annotated[float | None, Parameter(help="Half width of an interval.")] = None,
    sd: Annotated[float, Parameter(help="Of one rater's answers (--width) or their differences.")] = 1.0,
    ties: Annotated[float, Parameter(help="Share of ties among the verdicts.")] = 0.0,
    per_photo: Annotated[float, Parameter(help="Conversations of one photo.")] = 1.0,
    rho: Annotated[float, Parameter(help="Correlation of conversations of one photo.")] = 0.0,
    each: Annotated[int, Parameter(help="People who judge each conversation.")] = 1,
    agreement: Annotated[float, Parameter(help="Intraclass correlation of two people's answers.")] = 0.5,
    cards: Annotated[int, Parameter(help="Most cards one rater shall see.")] = 40,
    power: Annotated[float, Parameter(help="Chance to see what is there.")] = 0.8,
    alpha: Annotated[float, Parameter(help="Chance to see what is not there.")] = 0.05,
    json: Json = False,
) -> int:  # fmt: skip
    """How many conversations, photos and raters: for --giou from two runs, for --difference, --share or --width."""
    asked = {"--giou": giou, "--difference": difference, "--share": share, "--width": width}
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1 or (bool(runs) != (giou is not None)):
        raise InputError("two runs with --giou, or no run and one of --difference, --share, --width",
                         f"{len(runs)} runs and {', '.join(given) or 'none'}")  # fmt: skip
    if giou is not None:
        return _from_runs(runs, giou, power, alpha, json)
    from miras.eval.people.sample_size import half_width, paired_difference, raters_needed, sd_of_mean, win_share

    common: dict[str, Any] = {"alpha": alpha, "per_photo": per_photo, "rho": rho}
    spread = sd_of_mean(sd, each, agreement)
    if difference is not None:
        needed, of = paired_difference(difference, spread, power=power, **common), 2
    elif share is not None:
        needed, of = win_share(share, ties=ties, power=power, **common), 1
    elif width is not None:
        needed, of = half_width(width, spread, **common), 1
    result = {**needed.facts(), "each": each, "raters": raters_needed(needed.items, each, cards, of)}
    if json:
        emit(result)
    else:
        head = ("conversations", "photos", "raters", "design effect")
        print(table([[needed.items, needed.photos, result["raters"], f"{needed.effect:.2f}"]], head))
    return 0


def _from_runs(runs: list[Path], giou: float, power: float, alpha: float, as_json: bool) -> int:
    from miras.eval.people.sample_size import from_runs

    if len(runs) != 2:
        raise InputError("two runs", str(len(runs)))
    result = from_runs(runs[0], runs[1], giou, power=power, alpha=alpha)
    if as_json:
        emit(result)
        return 0
    rows = [[result["turns"], result["photos"], *(f"{result[name]:.2f}" for name in ("mean", "sd", "rho", "effect"))]]
    print(table(rows, ("turns", "photos", "A - B", "sd", "rho", "design effect")))
    print(f"to see {giou:g} points with power {power:g}: {result['needed']['photos']} photos, "
          f"{result['needed']['turns']} turns; these runs show {result['seen']:.1f} points")  # fmt: skip
    return 0
