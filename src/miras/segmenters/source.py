"""From REPO to files and from files to models: a local folder or a name on the hub.

In: what a person wrote behind `sam2:`. Out: a folder, its configuration, a model that is still and at its place. What
is missing, of another architecture or incomplete is one clear line. Knows no prompt and no photo.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer

from miras.core.errors import InputError, WeightsError
from miras.model.hub.folders import first_line, silent

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")
"""Files of which every tokenizer has one."""
_BROKEN = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError, SafetensorError)


@dataclass(frozen=True)
class Place:
    """Where a segmenter computes. dtype: what photos are encoded in; prompts and masks are float32 everywhere."""

    device: torch.device
    dtype: torch.dtype = torch.float32

    def encoding(self) -> torch.autocast:
        """The context in which a photo is encoded."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


def kind_of(folder: Path, repo: str, known: Mapping[str, str], form: str) -> str:
    """The `model_type` of a checkpoint, one of `known` (type -> what it is). form: the spec that reads it.

    Raises InputError for another one, with the spec that may be meant, and WeightsError without a configuration.
    """
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"a config.json with a model_type in {repo}", first_line(error), "give the whole folder"
        ) from error
    if found not in known:
        expected = " or ".join(f"{what} (model_type {kind})" for kind, what in known.items())
        raise InputError(f"{expected} behind {form}", f"model_type {found} in {repo}", _meant(str(found)))
    return str(found)


def model_at(cls: Any, folder: Path, repo: str, place: Place) -> Any:
    """A model of a class of `transformers` from its folder, float32, still, at its place.

    Raises WeightsError when weights are missing, damaged or of other shapes, and InputError without room for them.
    """
    what = cls.__name__
    if not any(folder.glob("*.safetensors")):
        cure = "load it once by transformers and save it: save_pretrained writes safetensors"
        raise WeightsError(f"weights of {what} in {repo} as safetensors", "none", cure)
    try:
        with silent():
            model, info = cls.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except _BROKEN as error:
        raise WeightsError(f"weights of {what} in {repo}", first_line(error), "fetch them again") from error
    if missing := sorted(info["missing_keys"]):
        some = f"{len(missing)} missing ({', '.join(missing[:3])})"
        raise WeightsError(f"all weights of {what} in {repo}", some, "use a whole checkpoint of this architecture")
    model.eval().requires_grad_(False)
    try:
        return model.to(place.device)
    except torch.OutOfMemoryError as error:
        size = sum(weight.numel() * weight.element_size() for weight in model.parameters()) / 1e9
        cure = "choose a smaller checkpoint, or --device cpu"
        raise InputError(f"{size:.1f} GB on {place.device} for {what}", "less", cure) from error


def tokenizer_of(folder: Path, repo: str) -> Any:
    """The tokenizer of a checkpoint. Raises WeightsError without one: the library would make an empty one then."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise WeightsError(f"a tokenizer in {repo}", f"none of {', '.join(VOCABULARIES)}", "give the whole folder")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except _BROKEN as error:
        raise WeightsError(f"a tokenizer in {repo}", first_line(error), "give the whole folder") from error


def processor_of(cls: Any, folder: Path, repo: str) -> Any:
    """An image processor of a class of `transformers`. Raises WeightsError without its configuration."""
    try:
        return cls.from_pretrained(folder, local_files_only=True)
    except _BROKEN as error:
        raise WeightsError(
            f"a preprocessor_config.json in {repo}", first_line(error), "give the whole folder"
        ) from error


def digest(folder: Path) -> str:
    """What tells weights from others: the commit of a hub's snapshot, else the hash of the files."""
    if folder.parent.name == "snapshots":
        return folder.name
    whole = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "blake2b").digest())
    return whole.hexdigest()


def _meant(kind: str) -> str:
    """Which spec reads a type of checkpoint."""
    specs = {"sam": "sam:", "sam2": "sam2:", "sam2_video": "sam2:", "sam3": "sam3:", "sam3_video": "sam3:",
             "sam3_tracker": "sam3:", "grounding-dino": "gdino:", "clipseg": "clipseg:", "miras": "miras:"}  # fmt: skip
    return f"it is read by {specs[kind]}" if kind in specs else "give a checkpoint of that architecture"
