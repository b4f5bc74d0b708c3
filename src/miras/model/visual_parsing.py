"""Visual Parsing Module: a photo becomes the views the encoders need, with the exact way back.

In: RGB photos as `core.photo.read_photo` gives them (EXIF applied). Out: square views and sizes.
The photo is stretched to each square: every pixel of a view carries picture, none is padding, and
the way back is one scale per axis. Knows no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from miras.core.types import Box, Mask

MEAN, STD = 127.0, 128.0
"""Of the pixels of every view, 0..255."""


@dataclass(frozen=True)
class Views:
    """Normalised pixels for both towers and the photos' own sizes (H, W). decoder_B3SS: for a mask decoder that looks
    at the photo itself; None for one that reads the towers."""

    detail_B3SS: Tensor
    semantic_B3ss: Tensor
    sizes: tuple[tuple[int, int], ...]
    decoder_B3SS: Tensor | None = None

    def to(self, device: torch.device) -> Views:
        """The same pixels on a device."""
        decoder = None if self.decoder_B3SS is None else self.decoder_B3SS.to(device)
        return Views(self.detail_B3SS.to(device), self.semantic_B3ss.to(device), self.sizes, decoder)


class VisualParsing:
    """detail_size, semantic_size, decoder_size: sides of the views in pixels; 0 for no view."""

    def __init__(self, detail_size: int, semantic_size: int, decoder_size: int = 0) -> None:
        self.detail_size, self.semantic_size, self.decoder_size = detail_size, semantic_size, decoder_size

    @property
    def mask_side(self) -> int:
        """Side of the grid that masks are drawn on: a quarter of the view that the decoder looks at."""
        return (self.decoder_size or self.detail_size) // 4

    def __call__(self, photos: Sequence[NDArray[np.uint8]]) -> Views:
        """photos: uint8 (H, W, 3) RGB, each of its own size."""
        detail = torch.stack([self._view(photo, self.detail_size) for photo in photos])
        semantic = torch.stack([self._view(photo, self.semantic_size) for photo in photos])
        sizes = tuple((photo.shape[0], photo.shape[1]) for photo in photos)
        if not self.decoder_size:
            return Views(detail, semantic, sizes)
        return Views(detail, semantic, sizes, torch.stack([self._view(photo, self.decoder_size) for photo in photos]))

    def _view(self, photo_HW3: NDArray[np.uint8], side: int) -> Tensor:
        image = Image.fromarray(photo_HW3).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0)
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32))
        return normalise(pixels.permute(2, 0, 1))


def normalise(pixels: Tensor) -> Tensor:
    """0..255 to the values of every view: (x - 127) / 128, which EfficientNet-Lite was trained on."""
    return (pixels - MEAN) / STD


def as_trained(view_B3SS: Tensor, mean: float | Sequence[float], std: float | Sequence[float]) -> Tensor:
    """A view as another tower was trained on it: (x - mean) / std of pixels x in 0..255; one number, or one for each of
    R, G, B."""
    if (mean, std) == (MEAN, STD):
        return view_B3SS
    centre, spread = (view_B3SS.new_tensor(value).reshape(1, -1, 1, 1) for value in (mean, std))
    return (view_B3SS * STD + MEAN - centre) / spread


def mask_to_view(masks_RHW: NDArray[np.bool_], side: int) -> Tensor:
    """Masks of one photo to (R, 1, side, side) float in 0..1: the covered share of each cell."""
    masks = torch.from_numpy(np.ascontiguousarray(masks_RHW)).float()[:, None]
    return F.interpolate(masks, (side, side), mode="area") if min(masks.shape[-2:]) >= side else F.interpolate(
        masks, (side, side), mode="bilinear", align_corners=False
    )  # fmt: skip


def logits_to_photo(logits_hw: Tensor, size: tuple[int, int]) -> Mask:
    """Mask logits of a view to a bool mask (H, W) of the photo: bilinear, then > 0."""
    full = F.interpolate(logits_hw[None, None].float(), size, mode="bilinear", align_corners=False)[0, 0]
    return (full > 0).cpu().numpy()


def points_to_view(points_P3: NDArray[np.float32], size: tuple[int, int]) -> Tensor:
    """Points (x, y, label) in photo pixels to (P, 3) with x, y in 0..1."""
    points = torch.as_tensor(np.asarray(points_P3, dtype=np.float32)).clone()
    points[:, 0] /= size[1]
    points[:, 1] /= size[0]
    return points


def box_to_view(box: Box, size: tuple[int, int]) -> Tensor:
    """Box XYXY in photo pixels to (4,) in 0..1."""
    height, width = size
    return torch.tensor([box[0] / width, box[1] / height, box[2] / width, box[3] / height], dtype=torch.float32)
