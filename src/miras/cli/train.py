"""`miras train`: a recipe run on data.

In: a recipe, data, a folder. Out: trained weights and a summary. Under `torchrun` every process runs this.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from miras.cli.output import emit, say
from miras.core.errors import InputError

NEEDED = {"pydantic": "pydantic", "accelerate": "accelerate", "tensorboard": "tensorboard"}


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
    from miras.train import recipe as recipes

    chain = recipes.load(recipe, changes)
    if show:
        print("---\n".join(recipes.to_yaml(one) for one in chain.recipes), end="")
        return 0
    paths = list(data)
    if not paths and not all(one.data.paths for one in chain.recipes):
        raise InputError("data to train on", "none", "name folders or files with --data")
    from miras.train.run import train

    target = out or Path("runs") / chain.name
    result = train(chain, paths, target, resume=resume)
    if int(os.environ.get("RANK", "0")) == 0:
        say(f"weights: {result['model']}; talk with them: miras chat PHOTO --model {result['model']}")
        if as_json:
            emit(result)
    return 0
