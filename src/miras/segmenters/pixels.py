"""A photo as the square of pixels that SAM 2 and SAM 3 read, without torchvision.

In: (H, W, 3) uint8 RGB. Out: (1, 3, S, S) float32. Equal to `Sam2ImageProcessor` and `Sam3ImageProcessor` on the CPU,
bit for bit: both stretch the photo to the square by torch's antialiased bilinear filter on uint8, then normalise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers.image_processing_base import ImageProcessingMixin

from miras.core.errors import InputError, WeightsError
from miras.model.hub.folders import first_line

BILINEAR = 2
"""`resample` of the only filter that the families use."""


@dataclass(frozen=True)
class Square:
    """size: (H, W) of the square. mean, std: of channels in 0..1."""

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, photo: NDArray[np.uint8]) -> Tensor:
        """The pixels of a photo, (1, 3, S, S) float32 on the CPU."""
        channels = torch.from_numpy(np.ascontiguousarray(as_photo(photo))).permute(2, 0, 1).contiguous()[None]
        resized = F.interpolate(channels, self.size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (torch.tensor(values)[:, None, None] * 255.0 for values in (self.mean, self.std))
        return (resized.float() - mean) / std


def square_of(folder: Path, repo: str, default: Square) -> Square:
    """What the checkpoint's own configuration says; where it says nothing, the family's values.

    Raises WeightsError without a configuration, and for one that wants other steps.
    """
    try:
        found: dict[str, Any] = ImageProcessingMixin.get_image_processor_dict(folder, local_files_only=True)[0]
    except (OSError, ValueError) as error:
        told = first_line(error)
        raise WeightsError(f"a preprocessor_config.json in {repo}", told, "give the whole folder") from error
    size = found.get("size")
    side = default.size if size is None else (size.get("height"), size.get("width")) if isinstance(size, dict) else size
    steps = [found.get(key, True) for key in ("do_resize", "do_rescale", "do_normalize")]
    odd = [
        key for key, usual in (("rescale_factor", 1 / 255), ("resample", BILINEAR)) if found.get(key, usual) != usual
    ]
    if not all(steps) or odd or not isinstance(side, tuple) or None in side:
        told = str({key: found.get(key) for key in ("size", "do_resize", "do_rescale", "do_normalize", *odd)})
        raise WeightsError(f"a bilinear resize to a square in the preprocessor_config.json of {repo}", told)
    mean, std = found.get("image_mean", default.mean), found.get("image_std", default.std)
    return Square((int(side[0]), int(side[1])), tuple(mean), tuple(std))


def as_photo(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo itself, once it is known to be one. Raises InputError."""
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        got = f"{getattr(photo, 'dtype', type(photo).__name__)} of shape {getattr(photo, 'shape', '?')}"
        raise InputError("a photo, (H, W, 3) uint8 RGB", got, "read it by miras.core.photo.read_photo")
    if 0 in photo.shape:
        raise InputError("a photo with pixels", f"shape {photo.shape}")
    return photo
