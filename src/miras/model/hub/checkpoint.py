"""Parts of a model from checkpoints of the hub, through the classes of `transformers`.

In: a class of `transformers` and the name of a repository. Out: a module that is still, in the precision that was asked
for. Weights are read shard by shard into a module without storage, so that a checkpoint never lies in memory twice.
Inside `origin("random")` they are drawn at random, inside `origin("shapes")` there are none (device meta): both need
the checkpoint's configuration alone, and for the well-known ones (`shapes.yaml`) not even that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from miras.core.errors import InputError, WeightsError
from miras.model.hub.folders import fetched, first_line, silent

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
_BROKEN = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError, SafetensorError)
Weights = Literal["published", "random", "shapes"]


@dataclass(frozen=True)
class Origin:
    """Where weights come from, and how they are held. dtype: of frozen towers; a language model is told its own.
    device: where they are put as they are read. bits: 16; 8 or 4 for a language model through bitsandbytes. layers: of
    random transformers; None for all. narrower: how many times they are."""

    weights: Weights = "published"
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    bits: int = 16
    layers: int | None = None
    narrower: int = 1


_NOW: ContextVar[Origin] = ContextVar("origin")


def now() -> Origin:
    """What holds here."""
    return _NOW.get(Origin())


@contextmanager
def origin(weights: Weights | None = None, **how: Any) -> Iterator[None]:
    """Inside, parts come from there. how: further fields of `Origin`; what is not said stays."""
    changes = how if weights is None else {"weights": weights, **how}
    token = _NOW.set(replace(now(), **changes))
    try:
        yield
    finally:
        _NOW.reset(token)


@lru_cache
def known() -> dict[str, dict[str, Any]]:
    """Configurations of well-known repositories."""
    text = files("miras.model.hub").joinpath("shapes.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def values(repo: str) -> dict[str, Any]:
    """The configuration of a checkpoint. Raises WeightsError where there is none, InputError for no such name."""
    if not Path(repo).expanduser().is_dir() and repo in known():
        return known()[repo]
    try:
        found = json.loads((fetched(repo) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"a config.json in {repo}", first_line(error), "give the whole folder") from error
    return dict(found)


def kind(repo: str, wanted: Mapping[str, str], form: str) -> dict[str, Any]:
    """The configuration of a checkpoint of one of these kinds (`model_type` -> what it is). form: what reads it.
    Raises InputError for one of another family."""
    found = values(repo)
    if found.get("model_type") not in wanted:
        expected = " or ".join(f"{what} (model_type {name})" for name, what in wanted.items())
        got = f"model_type {found.get('model_type')} in {repo}"
        raise InputError(f"{expected} behind {form}", got, f"give a checkpoint of that family behind {form}")
    here = now()
    found = found if here.narrower == 1 else _narrowed(found, here.narrower)
    return found if here.layers is None else _cut(found, here.layers or 1)


WIDTHS = (
    "hidden_size", "intermediate_size", "mlp_dim", "num_attention_heads", "num_key_value_heads", "num_heads",
    "out_hidden_size", "hidden_sizes", "embed_dim_per_stage", "num_attention_heads_per_stage", "backbone_channel_list",
)  # fmt: skip
"""What a narrower configuration has less of; heads stay as wide as they are."""
DRAWING = ("prompt_encoder_config", "mask_decoder_config")
"""Parts that stay as they are: their width is the configuration's own."""


def _narrowed(values: Mapping[str, Any], times: int) -> dict[str, Any]:
    """A configuration with as many layers, of narrower ones."""
    found = dict(values)
    for key, value in values.items():
        if isinstance(value, Mapping):
            found[key] = value if key in DRAWING else _narrowed(value, times)
        elif key in WIDTHS:
            one = isinstance(value, int)
            found[key] = max(1, value // times) if one else [max(1, width // times) for width in value]
    return found


def _cut(values: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """A configuration with fewer layers, of the same width."""
    found = dict(values)
    for key, value in values.items():
        if isinstance(value, Mapping):
            found[key] = _cut(value, layers)
        elif key in ("num_hidden_layers", "depth"):
            found[key] = min(layers, value)
        elif key in ("depths", "blocks_per_stage"):
            found[key] = [min(layers, depth) for depth in value]
        elif key == "global_attn_indexes":
            found[key] = [layers - 1]
        elif key == "deepstack_visual_indexes":
            found[key] = list(range(min(layers, len(value))))
        elif key == "global_attention_blocks":  # never the first of a stage, which makes the maps smaller
            found[key] = [layers - 1] if layers > 1 else []
    return found


def made(
    cls: Any, config: Any, repo: str, dtype: torch.dtype | None = None, *, whole: bool = True,
    renamed: Mapping[str, str] | None = None,
) -> Any:  # fmt: skip
    """A module of a class of `transformers`, frozen. config: of that class. dtype: None for that of frozen towers.
    whole: whether every weight must be in the checkpoint. renamed: regular expressions for names in the checkpoint and
    what stands for them in the module, which may be a part of what was saved. Raises WeightsError for what is missing
    or damaged."""
    here = now()
    dtype = here.dtype if dtype is None else dtype
    if here.weights == "published":
        module = _read(cls, config, fetched(repo), repo, dtype, whole, renamed)
    elif here.weights == "shapes":
        with torch.device("meta"):
            module = cls(config)
    else:
        with _without_storage():
            module = cls(config)
        _draw(module, dtype, here.device)
    return module.eval().requires_grad_(False)


def _read(
    cls: Any, config: Any, folder: Path, repo: str, dtype: torch.dtype, whole: bool, renamed: Mapping[str, str] | None
) -> Any:
    what, here = cls.__name__, now()
    complete(folder, repo)
    how: dict[str, Any] = {} if here.device == "cpu" else {"device_map": {"": here.device}}
    try:
        with silent():
            module, info = cls.from_pretrained(
                folder, config=config, dtype=dtype, local_files_only=True, use_safetensors=True,
                output_loading_info=True, key_mapping=dict(renamed) if renamed else None, **how,
            )  # fmt: skip
    except torch.OutOfMemoryError as error:
        recipe = "qwen-24gb" if what.startswith("Qwen") else "full-24gb"
        raise InputError(
            f"room for {what} on {here.device}", "too little", f"miras train {recipe} --dry-run"
        ) from error
    except _BROKEN as error:
        raise WeightsError(f"weights of {what} in {repo}", first_line(error), "fetch them again") from error
    if whole and (missing := sorted(info["missing_keys"])):
        some = f"{len(missing)} missing ({', '.join(missing[:3])})"
        raise WeightsError(f"all weights of {what} in {repo}", some, "use a whole checkpoint of this architecture")
    return module


def shards(folder: Path, repo: str) -> dict[str, Path]:
    """Name of each weight -> the file that holds it. Raises WeightsError for a shard that is not there, by its name."""
    if (folder / INDEX).is_file():
        table = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        if gone := sorted({name for name in table.values() if not (folder / name).is_file()}):
            some = f"no {', '.join(gone[:3])}" + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
            raise WeightsError(f"all {len(set(table.values()))} shards of {repo}", some, "fetch them again")
        return {name: folder / file for name, file in table.items()}
    if (folder / WHOLE).is_file():
        with safe_open(folder / WHOLE, "pt") as held:
            return dict.fromkeys(held.keys(), folder / WHOLE)
    cure = "load it once by transformers and save it: save_pretrained writes safetensors"
    raise WeightsError(f"weights in {repo} as safetensors", "none", cure)


def complete(folder: Path, repo: str) -> None:
    """Raises WeightsError where a shard is missing or cut off."""
    try:
        for file in sorted(set(shards(folder, repo).values())):
            with safe_open(file, "pt") as held:
                held.keys()
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"whole shards in {repo}", first_line(error), "fetch them again") from error


def tensors(repo: str, endings: Mapping[str, str]) -> dict[str, Tensor] | None:
    """Single weights of a checkpoint, by how their names end (ending -> name in the result), float32; None where
    weights do not come from checkpoints. Raises WeightsError where one is missing."""
    if now().weights != "published":
        return None
    folder, found = fetched(repo), {}
    for name, file in shards(folder, repo).items():
        for ending, mine in endings.items():
            if name.endswith(ending):
                with safe_open(file, "pt") as held:
                    found[mine] = held.get_tensor(name).float()
    if missing := sorted(set(endings.values()) - found.keys()):
        raise WeightsError(f"{', '.join(endings)} in {repo}", f"no {', '.join(missing)}", "use a whole checkpoint")
    return found


@contextmanager
def _without_storage() -> Iterator[None]:
    """Inside, new parameters take no memory; buffers are real, since many are computed and not saved."""
    usual = nn.Module.register_parameter

    def register(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        usual(module, name, value)
        if value is not None and not value.is_meta:
            module._parameters[name] = nn.Parameter(value.to("meta"), requires_grad=value.requires_grad)

    nn.Module.register_parameter = register  # type: ignore[method-assign, assignment]
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            yield
    finally:
        nn.Module.register_parameter = usual  # type: ignore[method-assign]


@torch.no_grad()
def _draw(module: nn.Module, dtype: torch.dtype, device: str) -> None:
    """Weights at random: matrices by the width that they read, vectors named as scales 1, other vectors 0."""
    shared: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, old in part._parameters.items():
            if old is None:
                continue
            if id(old) not in shared:
                fresh = torch.empty(old.shape, dtype=dtype, device=device)
                if old.ndim > 1:
                    fresh.normal_(0, min(0.02, (1 / max(1, old[0].numel())) ** 0.5))
                else:
                    fresh.fill_(1.0 if name == "weight" else 0.0)
                shared[id(old)] = nn.Parameter(fresh, requires_grad=False)
            part._parameters[name] = shared[id(old)]
    module.to(device)
