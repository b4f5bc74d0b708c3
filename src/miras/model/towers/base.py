"""What an image tower is: pixels in, four maps out.

In: pixels of square views, as the tower was trained on them. Out: maps at four scales, and, where it has one, its
classifier. Knows nothing of fusion, words or masks.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from miras.core.errors import WeightsError

SCALES = (4, 8, 16, 32)
"""Pixels of a view to a cell of each of the four maps, as the encoder uses them."""


class Classifier(nn.Module):
    """The classifier on top of a tower: features of each cell, and the logits of the classes."""

    @property
    def features(self) -> int:
        """Width F of a cell's features."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """Number K of classes."""
        raise NotImplementedError

    @property
    def rows_KF(self) -> Tensor:
        """The classes' rows, less their mean: a logit only counts against the others."""
        raise NotImplementedError

    @property
    def bias_K(self) -> Tensor:
        """What is added to the logits."""
        raise NotImplementedError

    def forward(self, map_BChw: Tensor) -> Tensor:
        """The last map of the tower to features (B, F, h, w)."""
        raise NotImplementedError


class Tower(nn.Module):
    """Four maps of a photo, from fine to coarse.

    channels: of the four maps. strides: pixels to a cell of each; where one is not that of `SCALES`, the encoder
    resizes the map. mean, std: of the pixels, 0..255, that it was trained on, one number or one for each of R, G, B: it
    gets (x - mean) / std. published: whether `load_published` can fill it. is_still: it came with its weights, which
    stay as they are: they are neither trained nor saved.
    """

    channels: list[int]
    strides: tuple[int, int, int, int] = SCALES
    mean: float | Sequence[float] = 127.0
    std: float | Sequence[float] = 128.0
    published: bool = False
    is_still: bool = False

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Four maps (B, channels[i], H / strides[i], W / strides[i])."""
        raise NotImplementedError

    def classifier(self) -> Classifier:
        """A new classifier for the last map. Raises WeightsError for a tower without one."""
        raise WeightsError("a semantic tower with a classifier", type(self).__name__, "leave semantic_head out")

    def load_published(self, classifier: Classifier | None = None) -> None:
        """Fill the tower, and its classifier, with published weights. Raises WeightsError where there are none."""
        raise WeightsError(f"published weights of {type(self).__name__}", "none", "train it, or name another tower")
