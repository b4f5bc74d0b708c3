"""`miras train`: a recipe run on data.

In: a recipe, data, a folder. Out: trained weights, a summary, and which photos were held out. Under `torchrun` every
process runs this.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from miras.cli.options import Json
from miras.cli.output import emit, say
from miras.core.errors import InputError

if TYPE_CHECKING:
    from miras.data.record import Record
    from miras.train.recipe.schema import Recipe

NEEDED = {"pydantic": "pydantic", "accelerate": "accelerate", "tensorboard": "tensorboard"}
FAULTS = "faults.txt"
"""In the run's folder: everything that is wrong with the data, where that stopped the run."""
HELD_OUT = "held_out.jsonl"
"""The held-out photos of a run that splits its photos itself, with what is asked about them."""
"""In the run's folder: the photos held out of training, as records."""


def train(
    recipe: str, /, *, data: Annotated[list[Path], Parameter(consume_multiple=True)] = [],  # noqa: B006
    set: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    out: Path | None = None, resume: Annotated[bool, Parameter(negative="")] = False,
    show: Annotated[bool, Parameter(negative="")] = False, json: Json = False,
) -> int:  # fmt: skip
    """Train by RECIPE: stage1, stage2, mini (both in a row), an ablation (no-alignment, ...), or a YAML file.

    --data: folders or files of any format of `miras data`. --set: changes, as optimiser.factor=0.5; in a chain
    stage2:steps=100 reaches one recipe. --out: the run's folder, runs/RECIPE by default. --resume: go on with the
    run in it. --show: print the whole recipe and stop. Several processes: torchrun ... -m miras train RECIPE ...
    """
    return run(recipe, data=data, changes=set, out=out, resume=resume, show=show, as_json=json)


def run(
    recipe: str,
    *,
    data: Sequence[Path],
    changes: Sequence[str],
    out: Path | None,
    resume: bool,
    show: bool,
    as_json: bool,
) -> int:
    """Exit code 0."""
    missing = [name for name, module in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError("the packages of training", f"no {', '.join(missing)}", "pip install 'miras[train]'")
    from miras.train.recipe import recipe as recipes

    chain = recipes.load(recipe, changes)
    if show:
        print("---\n".join(recipes.to_yaml(one) for one in chain.recipes), end="")
        return 0
    paths = list(data)
    if not paths and not all(one.data.paths for one in chain.recipes):
        raise InputError("data to train on", "none", "name folders or files with --data")
    target = out or Path("runs") / chain.name
    held_out = _held_out(chain.recipes[-1], paths, target)  # before torch: what is wrong with the data is told at once
    from miras.train.run import train

    result = train(chain, paths, target, resume=resume)
    if int(os.environ.get("RANK", "0")) == 0:
        say(f"weights: {result['model']}; talk with them: miras chat PHOTO --model {result['model']}")
        if held_out:
            from miras.data.formats.jsonl import write_jsonl

            result["held_out"] = str(target / HELD_OUT)
            write_jsonl(held_out, target / HELD_OUT)
            say(f"held-out photos: {result['held_out']}; miras eval {result['held_out']} --model {result['model']}")
        if as_json:
            emit(result)
    return 0


def _held_out(recipe: Recipe, paths: Sequence[Path], out: Path) -> list[Record]:
    """What a run holds out of photos that it splits itself; nothing where the split can be told otherwise."""
    if recipe.data.split != "share":
        return []
    from miras.train.data import corpus
    from miras.train.data.held_out import held_out

    given, first = [Path(p) for p in recipe.data.paths] or list(paths), os.environ.get("RANK", "0") == "0"
    return list(held_out(corpus.read(given, recipe.data, out / FAULTS, decode=first)))
