"""The systems that the paper compares with, specified so that anybody can run them, and a checklist.

In: `faithful.yaml`, summaries of runs. Out: rows with every setting, the commands at true size, and for each expected
figure whether a run passes or differs. Trains nothing and loads no model: recipes are read by whoever asks for their
settings.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from miras.core.errors import InputError

NEAR = 1.0
"""Points within which a figure passes, where the run's interval does not hold the expected one."""
MEASURED = {
    "prist": "PRIST/test.json --format prist", "reasonseg": "REASONSEG --format reasonseg --split test",
    "instructpart": "INSTRUCTPART/test --instruction 0",
}  # fmt: skip
"""What `miras eval` is told of each data. Upper case stands for folders of yours."""


@dataclass(frozen=True)
class Expected:
    """giou: percent. least: more is no difference. of: what published it for what. source: where that is from."""

    data: str
    giou: float
    of: str
    source: str
    least: bool = False


@dataclass(frozen=True)
class Faithful:
    """One system. recipe, set: of one that is trained, else None; model, talker, segmenter: of one that is not."""

    name: str
    title: str
    architecture: str
    data: str
    expected: tuple[Expected, ...]
    recipe: str | None = None
    set: tuple[str, ...] = ()
    model: str = ""
    talker: str = ""
    segmenter: str = ""

    @property
    def train(self) -> str | None:
        """The command that trains it at true size on eight GPUs; None where nothing is trained."""
        if self.recipe is None:
            return None
        changes = ["--set", *self.set] if self.set else []
        words = ["miras", "train", self.recipe, *changes, "--data", "DATA", "--out", f"runs/{self.name}"]
        return "torchrun --standalone --nproc-per-node 8 -m " + shlex.join(words)

    def measure(self, data: str) -> str:
        """The command that measures it on one of `MEASURED`."""
        how = f"--model runs/{self.name}/model" if self.recipe else (
            f"--model {self.model} --talker {self.talker} --segmenter {self.segmenter}"
        )  # fmt: skip
        return f"miras eval {MEASURED[data]} {how} --device cuda --out runs/{self.name}-{data}"


@lru_cache
def systems() -> dict[str, Faithful]:
    """All of them, by name."""
    text = files("miras.eval.systems").joinpath("faithful.yaml").read_text(encoding="utf-8")
    found = {}
    for name, values in yaml.safe_load(text).items():
        expected = tuple(Expected(**row) for row in values.pop("expected"))
        found[name] = Faithful(name, expected=expected, **{**values, "set": tuple(values.get("set", ()))})
    return found


def system(name: str) -> Faithful:
    """One by its name. Raises InputError with the names that there are."""
    if name not in systems():
        raise InputError(f"one of {', '.join(systems())}", name)
    return systems()[name]


def settings(recipes: Sequence[Any], lora: str) -> str:
    """Schedule and hyper-parameters of a recipe's stages (`train.recipe.schema.Recipe`) in a line. lora: its rank and
    alpha."""
    said = []
    for one in recipes:
        batch = one.batch
        each = f"{batch.conversations} conversations" if one.stage == 2 else f"{batch.regions} phrases"
        said.append(
            f"stage {one.stage}: {one.steps} steps, {batch.photos} photos x {each} x {batch.accumulate} a device"
        )
    how, last = recipes[-1].optimiser, recipes[-1]
    return (
        f"{'; '.join(said)}; {how.kind}, rate {how.lr:g}, betas {how.betas[0]:g} and {how.betas[1]:g}, decay "
        f"{how.weight_decay:g}, warm-up {100 * how.warmup:g}%, clipped at {how.clip:g}, {last.precision}, LoRA {lora}"
    )


def summary(run: Path) -> dict[str, Any]:
    """The figures of a run's folder, or of the file itself. Raises InputError."""
    file = run / "summary.json" if run.is_dir() else run
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        float(found["giou"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("a run of miras eval --out", f"{file}: {' '.join(str(error).split())[:120]}") from error
    return dict(found)


def checklist(one: Faithful, runs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each expected figure. runs: summaries by data. Raises InputError for data with nothing to expect."""
    if strange := sorted(runs.keys() - {row.data for row in one.expected}):
        raise InputError(f"{one.name} on {', '.join(row.data for row in one.expected)}", ", ".join(strange))
    rows = []
    for row in one.expected:
        found = runs.get(row.data)
        got = None if found is None else float(found["giou"])
        low, high = (None, None) if found is None else tuple((found.get("intervals") or {}).get("giou", (None, None)))
        says = "not run"
        if got is not None:
            holds = abs(got - row.giou) <= NEAR or (low is not None and low <= row.giou <= high)
            says = "pass" if holds or (row.least and got >= row.giou) else "differ"
        rows.append({
            "system": one.name, "data": row.data, "expected_giou": row.giou, "giou": got,
            "interval": None if low is None else [low, high], "n": None if found is None else found.get("n"),
            "says": says, "of": row.of, "source": row.source,
        })  # fmt: skip
    return rows
