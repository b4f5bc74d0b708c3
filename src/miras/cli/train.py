"""`miras train`: a recipe run on data.

In: a recipe, data, a folder. Out: trained weights, a summary, and which photos were held out. Under `torchrun` every
process runs this.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from miras.cli.options import Json
from miras.cli.output import emit, say
from miras.core.errors import InputError

if TYPE_CHECKING:
    from miras.data.record import Record
    from miras.train.loop.estimate import Estimate
    from miras.train.recipe.schema import Recipe

NEEDED = {"pydantic": "pydantic", "accelerate": "accelerate", "tensorboard": "tensorboard"}
PARTS = ("weights", "gradients", "optimiser", "average", "activations")
FAULTS = "faults.txt"
"""In the run's folder: everything that is wrong with the data, where that stopped the run."""
HELD_OUT = "held_out.jsonl"
"""The held-out photos of a run that splits its photos itself, with what is asked about them."""
"""In the run's folder: the photos held out of training, as records."""


@Parameter(name="*")
@dataclass(frozen=True)
class Dry:
    """A recipe that is counted, not run."""

    dry_run: Annotated[bool, Parameter(negative="", help="Print what the recipe takes, and stop.")] = False
    memory: Annotated[
        str | None, Parameter(help="--dry-run: of one device, as 24GB; the recipe's own if not said.")
    ] = None
    devices: Annotated[int | None, Parameter(help="--dry-run: how many share a step.")] = None
    teraflops: Annotated[float, Parameter(help="--dry-run: 10^12 operations a second that a device really does.")] = (
        125.0
    )


SERIOUS = Dry()


def train(
    recipe: str, /, *, data: Annotated[list[Path], Parameter(consume_multiple=True)] = [],  # noqa: B006
    set: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    out: Path | None = None, resume: Annotated[bool, Parameter(negative="")] = False,
    show: Annotated[bool, Parameter(negative="")] = False, dry: Dry = SERIOUS, json: Json = False,
) -> int:  # fmt: skip
    """Train by RECIPE: stage1, stage2, mini (both in a row), an ablation (no-alignment, ...), or a YAML file.

    --data: folders or files of any format of `miras data`. --set: changes, as optimiser.factor=0.5; in a chain
    stage2:steps=100 reaches one recipe. --out: the run's folder, runs/RECIPE by default. --resume: go on with the
    run in it. --show: print the whole recipe and stop. Several processes: torchrun ... -m miras train RECIPE ...
    --dry-run: count what it takes and stop; needs neither data nor a download.
    """
    if dry.dry_run:
        return rehearse(recipe, set, dry, json)
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


def rehearse(name: str, changes: Sequence[str], dry: Dry, as_json: bool) -> int:
    """Exit code 0, or InputError for a recipe that does not fit."""
    from miras.train.loop.estimate import GB, estimate
    from miras.train.recipe import recipe as recipes

    chain = recipes.load(name, changes)
    first, rows, tight = chain.recipes[0], [], []
    devices = dry.devices if dry.devices is not None else 1
    if devices < 1 or dry.teraflops <= 0:
        raise InputError("--devices of at least 1 and --teraflops above 0", f"{devices}, {dry.teraflops}")
    for one in chain.recipes:
        start = one.start if one is first or one.start.weights else replace(one.start, preset=first.start.preset)
        found = estimate(replace(one, start=start), devices)
        room = _bytes(dry.memory) if dry.memory else one.memory * GB
        rows.append({
            "recipe": one.name, "parameters": found.parameters, "trained": found.trained, "steps": found.steps,
            "tokens_a_step": found.tokens, **{f"{part}_gb": round(getattr(found, part) / GB, 2) for part in PARTS},
            "memory_gb": round(found.memory / GB, 2), "given_gb": round(room / GB, 2) or None, "devices": devices,
            "teraflop_a_step": round(found.operations / 1e12, 1), "hours": round(found.hours(dry.teraflops), 2),
            **_savings(one, found, dry.teraflops),
        })  # fmt: skip
        if room and found.memory > room:
            tight.append(f"{found.memory / GB:.1f} GB for {one.name}")
    assumed = f"at {dry.teraflops:g} TFLOP/s of each device, which is assumed"
    if as_json:
        emit({"recipe": chain.name, "stages": rows, "teraflops": dry.teraflops, "fits": not tight})
    else:
        for row in rows:
            print(
                "\n".join(
                    f"{key:>16}  {value:,}" if isinstance(value, int) else f"{key:>16}  {value}"
                    for key, value in row.items()
                )
            )
            print()
        print(f"hours: {sum(row['hours'] for row in rows):.1f} {assumed}")
    if tight:
        cure = (
            "full-24gb and qwen-24gb take the least; or fewer batch.photos, gradient_checkpointing=true, frozen=nf4, "
            "parallel=fsdp2"
        )
        raise InputError(f"{rows[0]['given_gb']:g} GB to be enough", ", ".join(tight), cure)
    return 0


def _savings(recipe: Recipe, found: Estimate, teraflops: float) -> dict[str, float]:
    """What offload, packing and the cache of features take and save; of those alone that the recipe uses."""
    rows: dict[str, float] = {}
    if recipe.offload:
        rows["offloaded_gb"] = round(found.offloaded / 1e9, 2)
    if recipe.stage == 2:
        rows["padding_percent"] = round(100 * found.padding, 1)
    if found.features:
        rows |= {
            "features_mb_a_photo": round(found.features / 1e6, 1),
            "features_photos": int(recipe.features.gigabytes * 1e9 / found.features),
            "hours_all_cached": round(found.hours(teraflops, cached=True), 2),
        }
    return rows


def _bytes(text: str) -> float:
    """ "24GB" to bytes."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(G|GB|GiB|M|MB)?\s*", text, re.IGNORECASE)
    if not found or not float(found[1]):
        raise InputError("--memory as 24GB", repr(text))
    units = {"g": 1e9, "gb": 1e9, "gib": 2.0**30, "m": 1e6, "mb": 1e6}
    return float(found[1]) * units[(found[2] or "GB").lower()]
