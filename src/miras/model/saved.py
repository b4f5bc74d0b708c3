"""The folder of a saved model: its files, its configuration, the precision of its weights; on the hub, too.

In: a folder, a repository, or tensors. Out: a folder, a configuration, tensors as they are written, their digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from miras.core.errors import InputError, WeightsError
from miras.model.config import MirasConfig
from miras.model.decoders.base import STILL
from miras.model.language import registry
from miras.model.language.base import Language, Tuned

WEIGHTS = "model.safetensors"
CONTINUATIONS = "continuations.json"
LANGUAGE_PREFIX = "instruction.language_model."
PUBLISHED = ("image_encoder.semantic_tower.", "image_encoder.semantic_head.")
"""Parameters that a model with `semantic_head` takes from ImageNet's weights each time."""
FILES = ("config.json", WEIGHTS, CONTINUATIONS, "README.md")
"""What is fetched and pushed: never anything that runs."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def located(name: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of a saved model: itself, or a repository OWNER/NAME of the hub, fetched (or from the hub's cache).

    Raises WeightsError when it is neither; only what cannot be a folder's path is looked for on the hub.
    """
    folder = Path(name)
    if folder.is_dir() or not _REPOSITORY.fullmatch(text := os.fspath(name)) or folder.parent.is_dir():
        return folder
    from miras.model.hub.folders import snapshot

    return snapshot(text, FILES, revision)


def push_to_hub(
    folder: str | os.PathLike[str], repository: str, *, private: bool | None = None, token: str | None = None,
    message: str = "Weights of miras",
) -> str:  # fmt: skip
    """A folder that `save_pretrained` or training wrote, with its README.md, into OWNER/NAME on the hub, which is made
    if it is not there. Returns the address of the commit.

    Raises WeightsError for a folder that holds no saved model, before anything is sent.
    """
    place = Path(folder)
    read_config(place)
    if not (place / WEIGHTS).is_file():
        raise WeightsError(f"weights in {place / WEIGHTS}", "none", "give the folder of a saved model")
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repository, private=private, exist_ok=True)
    sent = api.upload_folder(
        repo_id=repository, folder_path=place, allow_patterns=list(FILES), commit_message=message
    )  # fmt: skip
    return str(sent.commit_url)


def read_config(folder: Path) -> MirasConfig:
    """`config.json` of a saved model. Raises WeightsError when it is none, or of another version."""
    try:
        values = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"config.json in {folder}", str(error), "give the folder of a saved model") from error
    if values.get("model_type") != MirasConfig.model_type:
        raise WeightsError("a miras model", f"model_type {values.get('model_type')!r}", "give another folder")
    version, own = values.get("weights_version"), MirasConfig().weights_version
    if version != own:
        raise WeightsError(f"weights version {own}", f"version {version}", "update miras, or train again: miras train")
    try:
        return MirasConfig.from_dict(values)
    except InputError as error:
        raise WeightsError(
            "a configuration that this version of miras knows", error.got, "update miras, or mend config.json"
        ) from error


def half(name: str, value: Tensor) -> Tensor:
    """Half precision where it is enough: batch-norm statistics stay as they are."""
    keep = not value.is_floating_point() or "running_" in name
    return value.detach().contiguous() if keep else value.detach().half().contiguous()


def still_parts(config: MirasConfig, image_encoder: Any) -> tuple[str, ...]:
    """How the names of weights begin that come with a tower or a decoder and stay as they were published."""
    found: tuple[str, ...] = PUBLISHED if config.has_concepts and image_encoder.semantic_tower.published else ()
    for name in ("semantic_tower", "detail_tower"):
        if getattr(getattr(image_encoder, name, None), "is_still", False):
            found += (f"image_encoder.{name}.",)
    return found + tuple(f"decoder.{part}" for part in STILL if config.mask_decoder)


def own_weights(
    state: Mapping[str, Tensor], still: tuple[str, ...], is_tuned: bool, is_twin: bool
) -> dict[str, Tensor]:
    """Of the weights of a model those that are its own. is_tuned: the language model's are. is_twin: its head is its
    embeddings once more."""
    return {
        name: value for name, value in state.items()
        if not name.startswith((LANGUAGE_PREFIX, *still)) or "lora_" in name
        or (is_tuned and name.startswith(LANGUAGE_PREFIX) and not (is_twin and name.endswith("lm_head.weight")))
    }  # fmt: skip


def answering(config: MirasConfig, state: dict[str, Tensor], length: int, dtype: torch.dtype) -> Language:
    """The language model of a saved model, for inference, of at most `length` tokens."""
    tuned = {k.removeprefix(LANGUAGE_PREFIX): v for k, v in state.items() if k.startswith(LANGUAGE_PREFIX)}
    source = registry.source(config.language)
    return source.answering(length, dtype, Tuned(tuned, config.lora_rank, config.lora_alpha))


def unlike(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Names of weights that one of two has alone, then of those of other shapes."""
    return sorted(own.keys() ^ state.keys()) + sorted(
        name for name in own.keys() & state.keys() if own[name].shape != state[name].shape
    )


def write_continuations(folder: Path, table: Mapping[tuple[int, ...], tuple[tuple[int, float], ...]]) -> None:
    """What follows what in a model's replies, beside its weights."""
    rows = sorted([list(context), following] for context, following in table.items())
    (folder / CONTINUATIONS).write_text(json.dumps(rows, separators=(",", ":")))


def read_continuations(folder: Path) -> dict[tuple[int, ...], tuple[tuple[int, float], ...]]:
    """What `write_continuations` wrote; nothing where it did not."""
    if not (folder / CONTINUATIONS).exists():
        return {}
    rows = json.loads((folder / CONTINUATIONS).read_text())
    return {tuple(context): tuple(map(tuple, following)) for context, following in rows}


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values of weights as they are saved (`Miras.saved_state`, or a file of it): the
    same before and after. Of `miras-mini` it takes 0.04 s."""
    found = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
