"""Recipes: everything a training run is, in one YAML file, every fault named at once.

In: the name of a recipe of ours or a file, and `key=value` changes. Out: a `Recipe`, or a chain of them.
Knows no model and no photo. Source of the two stages: paper, training.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from miras.core.errors import InputError
from miras.core.text import read_text
from miras.train.recipe.reinforce import faults as reinforce_faults
from miras.train.recipe.schema import Chain, Recipe


def names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(f.name.removesuffix(".yaml") for f in files("miras.train").joinpath("recipes").iterdir()
                  if f.name.endswith(".yaml"))  # fmt: skip


def load(name_or_path: str, changes: Sequence[str] = ()) -> Chain:
    """A recipe as a chain of one, or a chain. changes: "optimiser.lr=1e-4"; in a chain they go to every
    recipe of it, "stage2:steps=100" to one. Raises InputError that names every unknown key and wrong value."""
    raw = _read(name_or_path)
    finish, changes = _beside("finish", 0, raw, changes)
    if not isinstance(finish, int) or finish < 0:
        raise InputError("finish: a number of dialogues, 0 for none", repr(finish))
    blend, changes = _beside("blend", 1.0, raw, changes)
    if not isinstance(blend, int | float) or not 0 < blend <= 1:
        raise InputError("blend: the share of the trained weights, above 0 and up to 1", repr(blend))
    if "recipes" not in raw:
        recipe = _build(_based(raw), changes, Path(name_or_path).stem)
        return Chain(recipe.name, (recipe,), finish, _blendable(float(blend), ()))
    members, faults = [], sorted(set(raw) - {"name", "recipes"})
    if faults:
        raise InputError("name, recipes, blend and finish in a chain", ", ".join(faults), "move them into its recipes")
    known = [str(member.get("name", member.get("base", ""))) for member in raw["recipes"]]
    for change in changes:
        target, sign, _ = change.partition("=")[0].partition(":")
        if sign and target not in known:
            raise InputError(f"one of {', '.join(known)} before the colon", change)
    for name, member in zip(known, raw["recipes"], strict=True):
        own = [c for c in changes if ":" not in c.partition("=")[0]]
        own += [c.removeprefix(f"{name}:") for c in changes if c.startswith(f"{name}:")]
        members.append(_build(_based(member), own, name))
    blend = _blendable(float(blend), members)
    return Chain(str(raw.get("name", Path(name_or_path).stem)), tuple(members), finish, blend, apart=True)


def _beside(name: str, value: Any, raw: dict[str, Any], changes: Sequence[str]) -> tuple[Any, list[str]]:
    """A key of a file, or of a change, which stands beside the recipes; taken out of both."""
    value = raw.pop(name, value)
    left = []
    for change in changes:
        key, _, text = change.partition("=")
        if key == name:
            value = yaml.safe_load(text)
        else:
            left.append(change)
    return value, left


def _blendable(blend: float, members: Sequence[Recipe]) -> float:
    """Raises InputError where there is nothing to blend with, or no folder of its own for the result.

    members: of a chain; none for a recipe alone.
    """
    if blend < 1 and not (members and members[0].start.weights):
        got = "start.weights of none" if members else "a recipe alone"
        raise InputError("blend in a chain (recipes: ...), its first recipe with start.weights", got)
    return blend


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe, defaults written out, as it can be read again."""
    return yaml.safe_dump(_plain(asdict(recipe)), sort_keys=False)


def differences(one: Recipe, other: Recipe) -> list[str]:
    """Dotted keys in which two recipes differ."""
    first, second = dict(_flat(_plain(asdict(one)))), dict(_flat(_plain(asdict(other))))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def read(path: Path) -> Recipe:
    """A recipe written by `to_yaml`."""
    return _build(yaml.safe_load(read_text(path)), (), path.stem)


def _read(name_or_path: str) -> dict[str, Any]:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        try:
            text = read_text(path)
        except OSError as error:
            raise InputError("a recipe file", f"{path}: {error.strerror}", f"or one of {', '.join(names())}") from error
    elif name_or_path in names():
        text = files("miras.train").joinpath("recipes", f"{name_or_path}.yaml").read_text("utf-8")
    else:
        near = difflib.get_close_matches(name_or_path, names(), 3)
        raise InputError(
            f"one of {', '.join(names())}, or a .yaml file", repr(name_or_path),
            f"did you mean {' or '.join(near)}?" if near else "see docs/training.md",
        )  # fmt: skip
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError("YAML", f"{name_or_path}: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise InputError("a mapping of keys in a recipe", f"{type(raw).__name__} in {name_or_path}")
    return raw


def _based(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe on top of the one its `base` names."""
    raw = dict(raw)
    base = raw.pop("base", None)
    if base is None:
        return raw
    below = _based(_read(str(base)))
    if "recipes" in below:
        raise InputError("a recipe as base", f"{base} is a chain")
    below.pop("name", None)
    below.pop("finish", None)
    below.pop("blend", None)
    return _merged(below, raw)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _build(raw: dict[str, Any], changes: Sequence[str], name: str) -> Recipe:
    from pydantic import TypeAdapter, ValidationError

    raw = _merged({"name": name}, raw)
    faults = []
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or not key:
            faults.append(f"{change!r} is not key=value")
            continue
        value: Any = yaml.safe_load(text) if text else ""
        value = float(value) if isinstance(value, str) and _is_number(value) else value
        for part in reversed(key.split(".")):
            value = {part: value}
        raw = _merged(raw, value)
    faults += list(_unknown(raw, Recipe, ""))
    try:
        recipe = TypeAdapter(Recipe).validate_python(_numbers(raw))
    except ValidationError as error:
        faults += [
            f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})"
            for e in error.errors()
        ]  # fmt: skip
        recipe = None
    faults += list(_wrong(recipe)) if recipe is not None else []
    if faults or recipe is None:
        raise InputError("a valid recipe", "; ".join(faults), "see docs/training.md for every key")
    return recipe


def _unknown(raw: Mapping[str, Any], kind: type, where: str) -> Iterator[str]:
    """Keys that the dataclass does not have, each with the nearest that it has."""
    known = {f.name for f in fields(kind)}
    hints = get_type_hints(kind)
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 2, 0.5)
            yield f"unknown key {where}{key}" + (
                f" (near: {', '.join(near)})" if near else f" (known: {', '.join(sorted(known))})"
            )
        elif is_dataclass(hints[key]) and isinstance(value, Mapping):
            yield from _unknown(value, hints[key], f"{where}{key}.")


def _wrong(recipe: Recipe) -> Iterator[str]:
    """Values of the right type that make no sense."""
    sizes = {
        "steps": recipe.steps, "batch.photos": recipe.batch.photos, "batch.regions": recipe.batch.regions,
        "batch.conversations": recipe.batch.conversations, "batch.accumulate": recipe.batch.accumulate,
        "checkpoint_every": recipe.checkpoint_every, "log_every": recipe.log_every, "keep": recipe.keep,
    }  # fmt: skip
    for key, size in sizes.items():
        if size < 1:
            yield f"{key}: at least 1 (got {size})"
    shares = {
        **{f"data.{key}": getattr(recipe.data, key) for key in ("referring", "chat", "typos", "existence", "bare")},
        "data.recorded": recipe.data.recorded, "data.val": recipe.data.val, "optimiser.warmup": recipe.optimiser.warmup,
        "optimiser.ema": recipe.optimiser.ema, "batch.coarse_until": recipe.batch.coarse_until,
    }  # fmt: skip
    for key, share in shares.items():
        if not 0 <= share <= 1:
            yield f"{key}: from 0 to 1 (got {share})"
    for key in ("detail", "coarse"):
        if getattr(recipe.batch, key) % 16:
            yield f"batch.{key}: a multiple of 16 (got {getattr(recipe.batch, key)})"
    for key in ("asked", "probes", "pack"):
        if getattr(recipe.batch, key) < 0:
            yield f"batch.{key}: at least 0 (got {getattr(recipe.batch, key)})"
    if recipe.offload and recipe.parallel != "fsdp2":
        yield f"offload: for parallel fsdp2 (got {recipe.parallel})"
    if recipe.parallel == "fsdp2" and (recipe.optimiser.kind != "adamw" or recipe.frozen in ("int8", "nf4")):
        yield "parallel fsdp2: for weights of 16 or 32 bits and optimiser.kind adamw"
    if recipe.features.gigabytes < 0:
        yield f"features.gigabytes: at least 0 (got {recipe.features.gigabytes})"
    for pattern, rate in recipe.optimiser.rates.items():
        if rate < 0:
            yield f"optimiser.rates.{pattern}: at least 0 (got {rate})"
    if recipe.data.turns[0] < 1 or recipe.data.turns[1] < recipe.data.turns[0]:
        yield f"data.turns: from least to most (got {list(recipe.data.turns)})"
    if recipe.stage == 3:
        yield from reinforce_faults(recipe.reinforce, recipe.checkpoint_every, recipe.parallel)


def _is_number(text: str) -> bool:
    """YAML 1.1 reads 1e-4 as text."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and value[:1].isdigit() and _is_number(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{where}.{key}" if where else str(key))
    else:
        yield where, value
