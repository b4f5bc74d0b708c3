"""`miras bench baselines`: the systems that the paper compares with, as we run them, and whether a run is as expected.

In: a name, runs of `miras eval --out`. Out: a table of settings and commands, or the checklist: pass or differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.options import Json
from miras.cli.output import emit
from miras.core.errors import InputError

DIFFERS = 1
"""Exit code when a figure is not as expected."""


def baselines(
    name: str | None = None, /, *,
    run: Annotated[list[str], Parameter(consume_multiple=True, help="DATA=FOLDER of miras eval --out: prist=runs/x.")]
    = [],  # noqa: B006
    markdown: Annotated[bool, Parameter(negative="", help="The section of docs/full_size.md.")] = False,
    json: Json = False,
) -> int:  # fmt: skip
    """The paper's baselines: settings, commands at true size, expected figures; with --run, pass or differ."""
    from miras.eval.systems.faithful import checklist, summary, system, systems

    chosen = [system(name)] if name else list(systems().values())
    runs: dict[str, Any] = {}
    for one in run:
        data, sign, folder = one.partition("=")
        if not sign or not folder:
            raise InputError("--run DATA=FOLDER", one)
        runs[data] = summary(Path(folder))
    if runs and not name:
        raise InputError("the name of a baseline beside --run", "none", f"one of {', '.join(systems())}")
    rows = [row for one in chosen for row in checklist(one, runs)]
    specified = [_specified(one) for one in chosen]
    if markdown:
        print(page(chosen))
    elif json:
        emit({"baselines": specified, "checks": rows})
    else:
        for told in specified:
            print("\n".join(f"{key:>13}  {value}" for key, value in told.items() if value) + "\n")
        for row in rows:
            figures = f"{row['giou']}, expected {row['expected_giou']} ({row['of']})"
            print(f"{row['says']:>8}  {row['system']} on {row['data']}: {figures}")
    return DIFFERS if any(row["says"] == "differ" for row in rows) else 0


def page(chosen: Sequence[Any]) -> str:
    """A table of settings, another of the figures to expect, and the commands."""
    told = [_specified(one) for one in chosen]
    lines = ["| baseline | architecture | data | schedule and hyper-parameters | switches |", "|---|---|---|---|---|"]
    for row in told:
        switches = f"`{row['switches']}`" if row["switches"] else "-"
        settings = row["settings"]
        lines.append(f"| {row['title']} | {row['architecture']} | {row['data']} | {settings} | {switches} |")
    lines += ["", "| baseline | measured on | giou to expect | of | from |", "|---|---|---|---|---|"]
    for one in chosen:
        for row in one.expected:
            least = "at least " if row.least else ""
            lines.append(f"| {one.title} | {row.data} | {least}{row.giou:g} | {row.of} | {row.source} |")
    lines += ["", "```sh"]
    for one in chosen:
        lines += [one.train] if one.train else []
        lines += [one.measure(row.data) for row in one.expected]
        lines += [
            f"miras bench baselines {one.name} --run {row.data}=runs/{one.name}-{row.data}" for row in one.expected
        ]
    return "\n".join([*lines, "```"])


def _specified(one: Any) -> dict[str, Any]:
    """Every setting of one, from its recipe where it is trained."""
    from miras.eval.systems.faithful import settings
    from miras.model import presets
    from miras.train.recipe import recipe as recipes

    chain = None if one.recipe is None else recipes.load(one.recipe, list(one.set))
    shape = None if chain is None else presets.configuration(chain.recipes[0].start.preset)
    lora = "" if shape is None else f"{shape.lora_rank}, alpha {shape.lora_alpha}"
    return {
        "name": one.name, "title": one.title, "architecture": one.architecture, "data": one.data,
        "settings": "none: nothing is trained" if chain is None else settings(chain.recipes, lora),
        "switches": ", ".join(one.set), "train": one.train,
        **{f"eval {row.data}": one.measure(row.data) for row in one.expected},
    }  # fmt: skip
