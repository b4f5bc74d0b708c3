"""Where weights lie, and a model at its place: by name or folder, on a device, in a precision.

In: a name or a folder, a device, a dtype. Out: a `Miras` that is ready to answer. Knows no conversation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from miras.core.errors import InputError, WeightsError
from miras.model import presets
from miras.model.hub import checkpoint
from miras.model.language import registry
from miras.model.language.llama import LlamaDecoder
from miras.model.language.precision import fastest_dtype
from miras.model.miras import Miras
from miras.model.saved import located

WEIGHTS_FOLDER = Path(__file__).parents[2] / "weights"
"""Where the weights that ship with the package lie, one folder a name."""
NARROWER = (1, 2, 4, 8, 16)
"""How many times a model of the hub's parts can be narrower: its heads are so many times fewer."""


def built(name: str, folder: Path | None, precision: torch.dtype | None = None) -> Miras:
    """The model of a folder (None: of the preset with this name), on the CPU. precision: of its language model."""
    if folder is None:
        return presets.build(name)
    with torch.random.fork_rng(devices=[]):  # the random language model of `miras-tiny` is not saved: one everywhere
        torch.manual_seed(0)
        return Miras.from_pretrained(folder, language_dtype=precision, answers=True)


def drawn(
    preset: str, place: torch.device, precision: torch.dtype, layers: int | None = None, narrower: int = 1
) -> Miras:
    """A preset of the hub's parts with random weights, nothing fetched: for its speed. layers: of its
    transformers, None for all. narrower: how many times, all of its parts. Raises InputError for a preset that is not
    of the hub's parts."""
    config = presets.configuration(preset)
    if not config.mask_decoder:
        raise InputError(
            "a preset of the hub's parts for random weights (miras-7b)", preset, "leave --random-weights out"
        )
    if layers is not None:
        if layers < 1:
            raise InputError("at least 1 layer", str(layers))
        config.alignment_layers = sorted({min(number, layers) for number in config.alignment_layers})
    if narrower not in NARROWER:
        raise InputError(f"--scale {', '.join(map(str, NARROWER))}", str(narrower), "that all widths can be divided by")
    with (
        checkpoint.origin("random", dtype=precision, device=str(place), layers=layers, narrower=narrower),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        model = Miras(config, precision)
    model.weights = "random"
    return model


def placed(model: Miras, place: torch.device, precision: torch.dtype | None = None) -> Miras:
    """The same model on a device, made fast for answering and still; its weights are not to be saved from now on."""
    precision = fastest_dtype(place) if precision is None else precision
    if place.type != "cpu":
        model.to(place)
    model.instruction.answer_fast(model.config.max_tokens, precision)
    model.encode_fast(precision)
    model.requires_grad_(False)
    return model


def faster(model: Miras, bits: int | None = None, static: bool = False) -> None:
    """A placed model whose language model answers in another way. bits: of its weights, 8 or 4 (`language.packed`).
    static: its caches are of fixed size, and a GPU replays the passes of few tokens (`language.static`). Raises
    InputError for one that is no Llama, or has no such kernels."""
    if bits is None and not static:
        return
    language: Any = model.instruction.language
    decoder = getattr(language.module, "decoder", None)
    if not isinstance(decoder, LlamaDecoder):
        raise InputError("a Llama for --bits and --static", type(language.module).__name__, "leave them out")
    if bits is not None:
        from miras.model.language.packed import pack

        pack(decoder, bits)
    if static:
        from miras.model.language.static import Held

        language.held = Held(decoder)


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
    """The folder of the weights, fetched where it is OWNER/NAME on the hub; None for a preset that needs none
    (`miras-tiny` is random)."""
    for folder in (WEIGHTS_FOLDER / name, Path(name)):
        if folder.is_dir():
            return folder
    if (fetched := located(name)).is_dir():
        return fetched
    if "/" in name or os.sep in name:
        raise WeightsError("a folder of saved weights", f"no folder {name}", "give the folder that training wrote")
    config = presets.configuration(name)
    if not registry.source(config.language).published:
        return None
    if config.mask_decoder:
        raise WeightsError(
            f"a folder of weights that {name} was trained to", "the name alone",
            "train it (docs/full_size.md), then give --model the folder that training wrote",
        )  # fmt: skip
    raise WeightsError(
        f"weights of {name} in {WEIGHTS_FOLDER / name}", "none",
        "install miras again, they ship with it; or make them: miras train --help",
    )  # fmt: skip
