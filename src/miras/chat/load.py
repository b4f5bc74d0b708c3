"""From a name to a model that talks: packaged weights, a folder, or a preset without weights.

In: a name or a folder. Out: `Loaded`. Knows where weights lie; knows no conversation.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.model.runtime.manifest import Manifest, find_exported, is_exported

if TYPE_CHECKING:
    import torch

DEFAULT = "miras-mini"
RUNTIMES = ("torch", "onnx")
"""What can compute our model."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to talk: a `Miras`, or what else computes one (`model.runtime`). name: as it was asked for.
    seconds: what loading took."""

    model: Any
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
    device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None, runtime: str | None = None,
    bits: int | None = None, static: bool = False,
) -> Loaded:  # fmt: skip
    """A model by name ("miras-mini") or by the folder it was saved in.

    threads: of torch, for the whole process; None leaves them. device: "cpu", "cuda", "cuda:1", "mps"; "auto" is a GPU
    where there is one. dtype: what photos are encoded and replies are written in, "float32" or "bfloat16"; None for
    what the device is fastest in. runtime: "torch"; "onnx" for what `miras export onnx` wrote, which needs no torch;
    None for what the folder holds. bits: 8 or 4 for the language model's weights, by torchao. static: caches of fixed
    size, whose passes a GPU records once and replays. Photos, points and masks are numpy on every device. Raises
    InputError for an unknown name or device and WeightsError, with the command that brings them, when weights are
    missing or of another version.
    """
    start = time.perf_counter()
    if threads is not None and threads < 1:
        raise InputError("at least 1 thread", str(threads))
    name = os.fspath(name_or_path)
    if is_onnx(name, runtime):
        if bits is not None or static:
            raise InputError("--runtime torch for --bits and --static", "onnx", "miras export onnx --int8 has 8 bits")
        model = _exported(name, threads, device, dtype)
    else:
        model = _of_torch(name, threads, device, dtype)
        if bits is not None or static:
            from miras.model.loading.place import faster

            faster(model, bits, static)
    return Loaded(model, name, time.perf_counter() - start)


def is_onnx(name: str, runtime: str | None = None) -> bool:
    """Whether onnxruntime computes a model of this name or folder. Raises InputError for another runtime."""
    if runtime not in (None, *RUNTIMES):
        raise InputError(f"runtime: {' or '.join(RUNTIMES)}", repr(runtime))
    return runtime == "onnx" or (runtime is None and is_exported(Path(name)))


def written_onnx(name: str, folder: Path, int8: bool = False) -> Manifest:
    """A model of torch, exported to a folder (`model.export`). Raises InputError, WeightsError."""
    from miras.model.export.folder import export

    return export(_of_torch(name, None, "cpu", "float32"), folder, int8)


def _exported(name: str, threads: int | None, device: object, dtype: object) -> Any:
    """What `miras export onnx` wrote, in onnxruntime."""
    if (str(device), dtype) not in (("cpu", None), ("auto", None), ("cpu", "float32"), ("auto", "float32")):
        got = f"device {device}" + ("" if dtype is None else f", dtype {dtype}")
        raise InputError("the cpu in its own precision for an exported model", got, "leave them out, or use torch")
    from miras.model.runtime.onnx import OnnxRuntime

    return OnnxRuntime(find_exported(name), threads)


def _of_torch(name: str, threads: int | None, device: Any, dtype: Any) -> Any:
    """A `Miras`, in torch."""
    import torch
    from safetensors.torch import load_file

    from miras.chat import forks
    from miras.model.language.precision import fastest_dtype
    from miras.model.loading.place import built, device_of, dtype_of, find, placed
    from miras.model.saved import WEIGHTS, digest

    place, precision = device_of(device), dtype_of(dtype)
    forks.survive()
    if threads is not None:
        torch.set_num_threads(threads)
    folder = find(name)
    precision = fastest_dtype(place) if precision is None else precision
    model = built(name, folder, precision)
    model.weights = digest(model.saved_state() if folder is None else load_file(folder / WEIGHTS))
    return placed(model, place, precision)


def load_random(
    preset: str, layers: int | None = None, threads: int | None = None, *, device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None, narrower: int = 1, bits: int | None = None, static: bool = False,
) -> Loaded:  # fmt: skip
    """A preset of the hub's parts with random weights, to measure its speed (`model.loading.place.drawn`)."""
    import torch

    from miras.model.language.precision import fastest_dtype
    from miras.model.loading.place import device_of, drawn, dtype_of, faster, placed

    start = time.perf_counter()
    place, precision = device_of(device), dtype_of(dtype)
    precision = fastest_dtype(place) if precision is None else precision
    if threads is not None:
        torch.set_num_threads(threads)
    model = placed(drawn(preset, place, precision, layers, narrower), place, precision)
    faster(model, bits, static)
    return Loaded(model, f"{preset}, random weights", time.perf_counter() - start)
