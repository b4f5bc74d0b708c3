"""From a name to a model that talks: packaged weights, a folder, or a preset without weights.

In: a name or a folder. Out: `Loaded`. Knows where weights lie; knows no conversation.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file

from miras.chat import forks
from miras.chat.native.record import digest
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.model.language.precision import fastest_dtype
from miras.model.loading.place import WEIGHTS_FOLDER, built, device_of, drawn, dtype_of, find, placed
from miras.model.miras import Miras
from miras.model.saved import WEIGHTS

__all__ = ["DEFAULT", "WEIGHTS_FOLDER", "Loaded", "device_of", "dtype_of", "find", "load"]

DEFAULT = "miras-mini"


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
    model = built(name, folder, precision)
    model.weights = digest(model.saved_state() if folder is None else load_file(folder / WEIGHTS))
    return Loaded(placed(model, place, precision), name, time.perf_counter() - start)


def load_random(
    preset: str, layers: int | None = None, threads: int | None = None, *, device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> Loaded:  # fmt: skip
    """A preset of the hub's parts with random weights, to measure its speed (`model.loading.place.drawn`)."""
    start = time.perf_counter()
    place, precision = device_of(device), dtype_of(dtype)
    precision = fastest_dtype(place) if precision is None else precision
    if threads is not None:
        torch.set_num_threads(threads)
    model = drawn(preset, place, precision, layers)
    return Loaded(placed(model, place, precision), f"{preset}, random weights", time.perf_counter() - start)
