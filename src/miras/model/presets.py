"""Presets are data: named configurations in `presets/*.yaml`.

In: a name. Out: a configuration, or a model with fresh weights.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import torch
import yaml

from miras.core.errors import InputError
from miras.model.config import MirasConfig
from miras.model.miras import Miras


def names() -> list[str]:
    """Names of all presets."""
    folder = files("miras.model") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def configuration(name: str) -> MirasConfig:
    """The configuration of a preset. Raises InputError with the near ones for an unknown name."""
    if name not in names():
        near = get_close_matches(name, names(), 1) or names()
        raise InputError("the name of a preset", repr(name), f"try {' or '.join(near)}")
    return MirasConfig(**_values(name))


def _values(name: str) -> dict[str, Any]:
    """What the file of a preset says, over what its `base` does."""
    text = (files("miras.model") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text) or {}
    return {**_values(found.pop("base")), **found} if "base" in found else found


def build(name: str, seed: int = 0) -> Miras:
    """A model with fresh weights from a seed (the language model's own weights where it has some)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Miras(configuration(name))
