"""What towers that stay as they are see of a photo, kept on disk between the epochs and the runs.

In: a model whose parameters are frozen as the recipe says, the digests of the photos of a batch. Out: the same model,
whose frozen towers are asked only for photos they have not seen. What is kept is found again by the photo's pixels as
they were augmented, the side of the view, the weights of the tower, the precision and the kind of device; so it can
only be right, and it is of use where augmentation leaves photos as they are. Knows no loss.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from miras.core.errors import InputError
from miras.core.files import cache_folder
from miras.model.miras import Miras
from miras.train.data.augment import Strength
from miras.train.data.disk_cache import DiskCache
from miras.train.recipe.schema import Recipe

GB = 1e9


def digest(pixels: NDArray[np.uint8]) -> str:
    """Of a photo (H, W, 3) as it is shown to the towers."""
    content = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(pixels).data)
    return content.hexdigest()


def weights_digest(module: nn.Module) -> str:
    """Of all weights and statistics, by name, type and bytes."""
    content = hashlib.blake2b(type(module).__name__.encode(), digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        held = value.detach().cpu().contiguous()
        content.update(f"{name} {held.dtype} {tuple(held.shape)}".encode())
        content.update(held.flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()


class FrozenFeatures:
    """The cache of one training. `parts`: which towers it stands before."""

    def __init__(self, model: Miras, recipe: Recipe, is_half: bool) -> None:
        """Raises InputError where nothing is frozen."""
        folder = Path(recipe.features.folder) if recipe.features.folder else cache_folder() / "features"
        self.disk = DiskCache(folder.expanduser(), recipe.features.gigabytes * GB)
        self.now: Sequence[str] = ()
        self.precision = "bf16" if is_half else "float32"
        self.parts = {name: module for name, module in towers(model).items() if name in recipe.features.parts}
        for name, module in self.parts.items():
            self._stand_before(model, name, module)
        if not self.parts:
            raise InputError(
                f"a frozen {' or '.join(recipe.features.parts)} tower to keep features of", "none in this recipe",
                "freeze it by optimiser.rates, or features.gigabytes=0",
            )  # fmt: skip

    @contextmanager
    def of(self, digests: Sequence[str]) -> Iterator[None]:
        """Inside, these photos are seen, in this order."""
        self.now = digests
        try:
            yield
        finally:
            self.now = ()

    def summary(self) -> dict[str, Any]:
        """Hits and misses of this process, bytes on disk."""
        held = self.disk
        return {
            "parts": sorted(self.parts), "hits": held.hits, "misses": held.misses,
            "gigabytes": round(held.bytes / GB, 3), "is_full": held.is_full,
        }  # fmt: skip

    def say(self, name: str) -> None:
        """A line on standard error. name: of the recipe."""
        held = self.summary()
        full = "; the bound is reached (features.gigabytes)" if held["is_full"] else ""
        print(
            f"{name}: features of {', '.join(held['parts'])}: {held['hits']} from disk, {held['misses']} computed, "
            f"{held['gigabytes']:g} GB kept{full}", file=sys.stderr, flush=True,
        )  # fmt: skip

    def _stand_before(self, model: Miras, name: str, module: nn.Module) -> None:
        scope = f"{name}-{weights_digest(module)}-{self.precision}"
        read = model.image_encoder.semantic_read if name == "semantic" else None
        if name == "decoder":
            see: Callable[[Tensor], Sequence[Tensor]] = model.decoder.see
            model.decoder.see = lambda view_B3SS: tuple(self._seen(scope, see, view_B3SS, read))
        else:
            forward = module.forward
            module.forward = lambda pixels_B3HW: self._seen(scope, forward, pixels_B3HW, read)

    def _seen(
        self, scope: str, compute: Callable[[Tensor], Sequence[Tensor]], pixels: Tensor, read: Sequence[int] | None
    ) -> list[Tensor]:
        """The maps of all photos; of those that are not read, one without content."""
        if len(self.now) != len(pixels):
            return list(compute(pixels))
        names = [f"{one}-{pixels.shape[-1]}-{pixels.device.type}" for one in self.now]
        found = [self.disk.get(scope, name) for name in names]
        missing = [n for n, maps in enumerate(found) if maps is None]
        if missing:
            with torch.no_grad():
                maps = list(compute(pixels if len(missing) == len(pixels) else pixels[missing]))
            for row, n in enumerate(missing):
                kept = [
                    each[row : row + 1] if read is None or number in read else each.new_zeros(0)
                    for number, each in enumerate(maps)
                ]
                found[n] = kept
                self.disk.put(scope, names[n], kept)
        rows = [[each.to(pixels.device, non_blocking=True) for each in maps] for maps in found if maps is not None]
        return [torch.cat(each) for each in zip(*rows, strict=True)]


def features_faults(recipe: Recipe) -> list[str]:
    """What makes a cache useless: views that never come twice."""
    known = {field.name for field in fields(Strength)}
    if not recipe.features.gigabytes or not recipe.augment.keys() <= known or Strength(**recipe.augment).is_still:
        return []
    still = "augment={whole: 1, flip: 0, colours: 0, hue_shift: 0, grey: 0, coarse: 0, jpeg: 0, copy_paste: 0, text: 0}"
    return [f"features.gigabytes: of use where photos stay as they are (--set '{still}')"]


def towers(model: Miras) -> dict[str, nn.Module]:
    """Those of which nothing learns: "semantic", "detail", and "decoder" for a mask decoder's own image encoder."""
    encoder = model.image_encoder
    found = {name: getattr(encoder, f"{name}_tower", None) for name in ("semantic", "detail")}
    if not encoder.semantic_read:  # a tower whose tokens follow the shape of each photo
        found["semantic"] = None
    if model.config.mask_decoder:
        found["decoder"] = model.decoder.model.vision_encoder
    return {
        name: module for name, module in found.items()
        if module is not None and not any(parameter.requires_grad for parameter in module.parameters())
    }  # fmt: skip
