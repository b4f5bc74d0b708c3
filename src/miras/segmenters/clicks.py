"""What the SAM families share: points, boxes and masks as tensors of the model's frame, and its masks as candidates.

In: a prompt in photo pixels. Out: keyword arguments of a SAM model; `Candidates` of its output. Knows no weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from miras.core.errors import InputError
from miras.core.masks import Size, box_of
from miras.core.segmenter import Candidates, Prompt
from miras.core.types import Mask

CLICKS = frozenset({"points", "box", "mask"})
SURE = 10.0
"""Logits of a mask that is given as it is: +SURE inside, -SURE outside, as SAM 2 takes such masks in videos."""


@dataclass(frozen=True)
class Frame:
    """size: (H, W) of the photo. inner: (h, w) that it takes of the model's input, from the top left."""

    size: Size
    inner: Size

    def points(self, rows: NDArray[np.float32]) -> Tensor:
        """(P, 2) float32 x, y in the model's pixels of (P, 2) or (P, 3) in photo pixels."""
        scale = (self.inner[1] / self.size[1], self.inner[0] / self.size[0])
        return torch.from_numpy(np.asarray(rows, np.float32)[:, :2].copy()) * torch.tensor(scale)


def sharpened(prompt: Prompt, name: str) -> Prompt:
    """A mask that stands alone gets its box, for a SAM was never trained on masks without a click; an empty mask beside
    a click says nothing and is left out.

    Raises InputError for an empty mask alone.
    """
    if prompt.mask is None:
        return prompt
    clicked, box = prompt.points is not None or prompt.box is not None, box_of(prompt.mask)
    if box is None:
        if clicked:
            return Prompt(points=prompt.points, box=prompt.box)
        raise InputError(f"a mask with pixels for {name}", "an empty one", "give points or a box")
    return prompt if clicked else Prompt(mask=prompt.mask, box=box)


def inputs(prompt: Prompt, frame: Frame, device: torch.device) -> dict[str, Tensor]:
    """`input_points` (1, 1, P, 2), `input_labels` (1, 1, P), `input_boxes` (1, 1, 4), those that there are."""
    given: dict[str, Tensor] = {}
    if prompt.points is not None:
        given["input_points"] = frame.points(prompt.points)[None, None]
        given["input_labels"] = torch.from_numpy(prompt.points[:, 2].astype(np.int64))[None, None]
    if prompt.box is not None:
        given["input_boxes"] = frame.points(np.reshape(prompt.box, (2, 2))).reshape(1, 1, 4)
    return {name: value.to(device) for name, value in given.items()}


def logits(mask: Mask) -> Tensor:
    """(1, 1, H, W) float32 logits of a mask that is given as it is."""
    return torch.from_numpy(np.where(mask, SURE, -SURE).astype(np.float32))[None, None]


def is_ambiguous(prompt: Prompt) -> bool:
    """Whether one click may mean several things (the shirt, the person): then the model offers several masks. Else its
    mask for clear prompts is better, as SAM's and SAM 2's own guides say."""
    return prompt.box is None and prompt.mask is None and prompt.points is not None and len(prompt.points) == 1


def enlarged(low: Tensor, size: Size, level: float = 0.0) -> Tensor:
    """Masks (M, H, W) bool at the size of the photo of maps (M, h, w): bilinear, then above `level`. One by one, for
    many of them would fill the memory as floats."""
    masks = torch.zeros((len(low), *size), dtype=torch.bool)
    for mask, one in zip(masks, low, strict=True):
        wide = F.interpolate(one[None, None].float(), size, mode="bilinear", align_corners=False)[0, 0]
        mask.copy_(wide > level)
    return masks


def candidates(masks: Tensor, scores: Tensor, *, presence: float | None = None, instances: bool = False) -> Candidates:
    """masks: (M, H, W) bool. scores: (M,) predicted IoU, which SAM does not keep within 0..1."""
    return Candidates(
        masks.cpu().numpy(), scores.float().clamp(0, 1).cpu().numpy(), presence=presence, instances=instances
    )
