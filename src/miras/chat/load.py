"""From a name to a model that talks: packaged weights, a folder, or a preset without weights.

In: a name or a folder. Out: `Loaded`. Knows where weights lie; knows no conversation.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from miras.chat import forks, store
from miras.chat.session import ChatSession
from miras.core.errors import InputError, WeightsError
from miras.model import presets
from miras.model.language import registry
from miras.model.language.precision import fastest_dtype
from miras.model.miras import Miras
from miras.model.saved import WEIGHTS

DEFAULT = "miras-mini"
WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
"""Where the weights that ship with the package lie, one folder a name."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to talk. name: as it was asked for. seconds: what loading took."""

    model: Miras
    name: str
    seconds: float

    def chat(self, photo: Any, **options: Any) -> ChatSession:
        """A conversation about a photo: a path, bytes, file, PIL image or uint8 (H, W, 3) RGB array.

        options: see `chat.inputs.Options`. Raises InputError.
        """
        return ChatSession(self.model, photo, **options)

    def restore(self, text: str, photo: Any = None) -> ChatSession:
        """A session written by `ChatSession.to_json`. photo: where it is now, if not where it was."""
        return ChatSession.from_json(self.model, text, photo)


def load(
    name_or_path: str | os.PathLike[str] = DEFAULT, threads: int | None = None, *,
    device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None,
) -> Loaded:  # fmt: skip
    """A model by name ("miras-mini") or by the folder it was saved in.

    threads: of torch, for the whole process; None leaves them. device: "cpu", "cuda", "cuda:1", "mps"; "auto" is a GPU
    where there is one. dtype: what photos are encoded and replies are written in, "float32" or "bfloat16"; None for
    what the device is fastest in. Photos, points and masks are numpy on every device. Raises InputError for an unknown
    name or device and WeightsError, with the command that brings them, when weights are missing or of another version.
    """
    start = time.perf_counter()
    place, precision = device_of(device), dtype_of(dtype)
    forks.survive()
    if threads is not None:
        if threads < 1:
            raise InputError("at least 1 thread", str(threads))
        torch.set_num_threads(threads)
    name = os.fspath(name_or_path)
    folder = find(name)
    precision = fastest_dtype(place) if precision is None else precision
    if folder is None:
        model = presets.build(name)
    else:
        model = Miras.from_pretrained(folder, language_dtype=precision, answers=True)
    model.weights = store.digest(model.saved_state() if folder is None else load_file(folder / WEIGHTS))
    if place.type != "cpu":
        model.to(place)
    model.instruction.answer_fast(model.config.max_tokens, precision)
    model.encode_fast(precision)
    model.requires_grad_(False)
    return Loaded(model, name, time.perf_counter() - start)


def device_of(name: str | torch.device) -> torch.device:
    """A device by name. Raises InputError for one that torch does not know or that is not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = ["cpu", *(f"cuda:{number}" for number in range(count)), *(["mps"] * torch.backends.mps.is_available())]
    if name == "auto":
        return torch.device(next((one for one in there[1:]), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError("the name of a device", repr(name), f"there are: {', '.join(there)}, auto") from None
    known = {torch.device(one) for one in there} | {torch.device(one.partition(":")[0]) for one in there}
    if device not in known:
        raise InputError(f"a device that torch can use here ({', '.join(there)})", str(device), "give one of them")
    return device


def dtype_of(name: str | torch.dtype | None) -> torch.dtype | None:
    """A precision by name; None stays. Raises InputError for another than float32 and bfloat16."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name is None or name in known.values():
        return name  # type: ignore[return-value]
    if name not in known:
        raise InputError(f"dtype: {' or '.join(known)}", repr(name))
    return known[str(name)]


def find(name: str) -> Path | None:
    """The folder of the weights; None for a preset that needs none (`miras-tiny` is random)."""
    for folder in (WEIGHTS_FOLDER / name, Path(name)):
        if folder.is_dir():
            return folder
    if "/" in name or os.sep in name:
        raise WeightsError("a folder of saved weights", f"no folder {name}", "give the folder that training wrote")
    if not registry.source(presets.configuration(name).language).published:
        return None
    raise WeightsError(
        f"weights of {name} in {WEIGHTS_FOLDER / name}", "none",
        "install miras again, they ship with it; or make them: miras train --help",
    )  # fmt: skip
