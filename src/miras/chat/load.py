"""From a name to a model that talks: packaged weights, a folder, or a preset without weights.

In: a name or a folder. Out: `Loaded`. Knows where weights lie; knows no conversation.
"""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.model.runtime.manifest import PRECISIONS, Manifest, find_exported, is_exported

if TYPE_CHECKING:
    import torch

DEFAULT = "miras-mini"
RUNTIMES = ("torch", "onnx")
"""What can compute our model."""
SHIPPED = "int8"
"""What the language model of `miras-mini` answers in on onnxruntime, where nothing else is asked for
(docs/decisions/0042-the-small-install.md)."""


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

    threads: of torch for the whole process, of onnxruntime for this model; None leaves them. device: "cpu", "cuda",
    "cuda:1", "mps"; "auto" is a GPU where there is one. dtype: what replies are written in: "float32", "bfloat16" (and
    photos encoded in) or "int8"; None for what is fastest. runtime: "onnx", "torch", or None: onnxruntime for
    `miras-mini` on a processor and for what `miras export onnx` wrote, torch for everything else. Photos, points and
    masks are numpy everywhere. bits: 8 or 4 for the language model's weights, by torchao. static: caches of fixed size,
    whose passes a GPU records once and replays; both with torch. Raises InputError for an unknown name or device and
    WeightsError, with the command that brings them, when weights are missing or of another version.
    """
    start = time.perf_counter()
    if threads is not None and threads < 1:
        raise InputError("at least 1 thread", str(threads))
    name = os.fspath(name_or_path)
    folder = None if bits is not None or static else exported(name, runtime, device, dtype)
    if folder is not None:
        from miras.model.runtime.onnx import OnnxRuntime

        model = OnnxRuntime(folder, threads)
    else:
        if runtime == "onnx":
            raise InputError("--runtime torch for --bits and --static", "onnx", "its default precision is int8")
        model = _of_torch(name, threads, device, dtype)
        if bits is not None or static:
            from miras.model.loading.place import faster

            faster(model, bits, static)
    return Loaded(model, name, time.perf_counter() - start)


def load_torch(
    name_or_path: str | os.PathLike[str] = DEFAULT, threads: int | None = None, *, runtime: str | None = None,
    **options: Any,
) -> Loaded:  # fmt: skip
    """The same, by torch where `runtime` does not say otherwise: what figures are measured with."""
    return load(name_or_path, threads, runtime=by_torch(os.fspath(name_or_path), runtime), **options)


def by_torch(name: str, runtime: str | None = None) -> str | None:
    """The runtime that is meant where torch is the default; an exported folder has its own."""
    return runtime or (None if is_exported(Path(name)) else "torch")


def is_onnx(
    name: str, runtime: str | None = None, device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None
) -> bool:
    """Whether onnxruntime computes a model of this name or folder. Raises InputError for another runtime."""
    if runtime not in (None, *RUNTIMES):
        raise InputError(f"runtime: {' or '.join(RUNTIMES)}", repr(runtime))
    if runtime is not None or is_exported(Path(name)):
        return runtime in (None, "onnx")
    return _ships(name) and _precision(dtype) in (None, *PRECISIONS) and _on_processor(device)


def exported(
    name: str, runtime: str | None = None, device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None
) -> Path | None:
    """The folder that onnxruntime runs, where it computes the model; `miras-mini` is put together there first. Raises
    InputError for what onnxruntime cannot, and WeightsError."""
    if not is_onnx(name, runtime, device, dtype):
        return None
    precision = _precision(dtype)
    if not _on_processor(device) or precision not in (None, *PRECISIONS):
        got = f"device {device}" + ("" if precision is None else f", dtype {precision}")
        cure = "leave them out, or take torch: --runtime torch"
        raise InputError("the cpu, in float32 or int8, for onnxruntime", got, cure)
    if _ships(name):
        from miras.model.runtime.shipped.build import built

        return built(name, precision or SHIPPED)
    from miras.model.runtime.manifest import read_manifest

    folder = find_exported(name)
    if precision not in (None, found := read_manifest(folder).language):
        raise InputError(f"dtype {found}, in which {folder} was exported", str(precision), "leave --dtype out")
    return folder


def _ships(name: str) -> bool:
    from miras.model.runtime.shipped.build import shipped

    return name in shipped() and not Path(name).is_dir()


def _precision(dtype: object) -> str | None:
    return None if dtype is None else str(dtype).removeprefix("torch.")


def _on_processor(device: object) -> bool:
    """Whether a device is the processor. "auto" is a GPU where torch is installed and has one."""
    if str(device) == "auto" and importlib.util.find_spec("torch") is not None:
        from miras.model.loading.place import device_of

        return device_of("auto").type == "cpu"
    return str(device) in ("cpu", "auto")


def written_onnx(name: str, folder: Path, int8: bool = False) -> Manifest:
    """A model of torch, exported to a folder (`model.export`). Raises InputError, WeightsError."""
    from miras.model.export.folder import export

    model = _of_torch(name, None, "cpu", "float32")
    return export(model, folder, int8, _sources(name, model) if _ships(name) else None)


def written_graphs(name: str, folder: Path) -> None:
    """The graphs of a model that ships, without its weights (`export.graphs`). Raises InputError, WeightsError."""
    from miras.model.export.graphs import write_graphs

    model = _of_torch(name, None, "cpu", "float32")
    write_graphs(model, _sources(name, model), folder)


def _sources(name: str, model: Any) -> Any:
    from miras.model.runtime.shipped.build import WEIGHTS_FOLDER
    from miras.model.runtime.shipped.sources import Sources

    return Sources(WEIGHTS_FOLDER / name, model.config.lora_alpha, model.config.lora_rank)


def _of_torch(name: str, threads: int | None, device: Any, dtype: Any) -> Any:
    """A `Miras`, in torch."""
    if importlib.util.find_spec("torch") is None:
        cure = f"pip install 'miras[torch]'; without it there is {DEFAULT}, on the cpu in float32 or int8"
        raise InputError(f"torch, which computes --model {name}", "not installed", cure)
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
