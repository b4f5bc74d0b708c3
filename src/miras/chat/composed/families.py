"""In which coordinates a family of vision-language models says where something is.

In: the name of a model, the size of the picture that it sees. Out: a grid, and pixels of the photo by it. Models point
best in the coordinates that they were trained with: asked for others, many give their own all the same. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.types import Box

THOUSAND = 1000
"""Both axes of a grid run from 0 to this, whatever the picture's shape."""


@dataclass(frozen=True)
class Family:
    """Models that point alike. pattern: found in their names, small letters. pixels: coordinates are pixels of the
    picture as the model sees it, else thousandths. multiple: both sides of that picture are multiples of it, so that
    the model's processor does not resize it once more. y_first: [y1, x1, y2, x2]. documentation: where it is said."""

    name: str
    pattern: str
    documentation: str
    pixels: bool = False
    multiple: int = 1
    y_first: bool = False


FAMILIES = (
    Family("Qwen3-VL", r"qwen-?3(\.\d)?-?vl", "QwenLM/Qwen3-VL, cookbooks/2d_grounding.ipynb: relative, 0 to 1000"),
    Family("Qwen2.5-VL", r"qwen-?2\.5-?vl", "QwenLM/Qwen2.5-VL, cookbooks/spatial_understanding.ipynb, and issue 676: "
           "pixels of the picture after the processor, whose sides are multiples of 28", pixels=True, multiple=28),
    Family("Qwen2-VL", r"qwen-?2-?vl", "arXiv 2409.12191, 2.1: within [0, 1000)"),
    Family("InternVL", r"internvl", "internvl.readthedocs.io, chat data format, grounding: 0 to 1000"),
    Family("GLM-V", r"glm-?4\.\d?.*v", "zai-org/glm-skills, glmv-grounding: 0 to 1000"),
    Family("Gemini", r"gemini", "ai.google.dev, image understanding, object detection: [y1, x1, y2, x2], 0 to 1000",
           y_first=True),
    Family("LLaVA-OneVision", r"llava-?onevision", "not said (LLaVA-OneVision-2, issue 39, is open): as "
           "it is asked, 0 to 1000"),
    Family("SmolVLM", r"smolvlm", "not said on its model card: as it is asked, 0 to 1000"),
)  # fmt: skip
"""The first whose pattern is found is taken."""
OTHER = Family("other", "", "as it is asked: 0 to 1000")


def family_of(model: str) -> Family:
    """The family of a model by its name, as a server or the hub calls it."""
    name = model.lower().replace("_", "-")
    return next((family for family in FAMILIES if re.search(family.pattern, name)), OTHER)


@dataclass(frozen=True)
class Grid:
    """Coordinates of one picture: x runs from 0 to width, y from 0 to height; both ends are edges."""

    width: int = THOUSAND
    height: int = THOUSAND
    y_first: bool = False

    @property
    def words(self) -> str:
        """As the model is told."""
        order = "[y1, x1, y2, x2]" if self.y_first else "[x1, y1, x2, y2]"
        return f"x from 0 (left edge) to {self.width}, y from 0 (upper edge) to {self.height}; boxes are {order}"

    def sides(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """A box as it was answered, in the order x1, y1, x2, y2."""
        a, b, c, d = box
        return (b, a, d, c) if self.y_first else (a, b, c, d)

    def scale(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels of a photo of size (H, W) in a step of x and of y."""
        return size[1] / self.width, size[0] / self.height

    def box(self, answered: Sequence[float], size: tuple[int, int]) -> Box:
        """A box in pixels of a photo of size (H, W), XYXY."""
        (x, y), (x1, y1, x2, y2) = self.scale(size), self.sides(answered)
        return x1 * x, y1 * y, x2 * x, y2 * y

    def points(self, answered: Sequence[dict[str, Any]], size: tuple[int, int]) -> NDArray[np.float32] | None:
        """Points (P, 3) x, y, label in pixels of a photo of size (H, W); None for none."""
        x, y = self.scale(size)
        rows = [(one["x"] * x, one["y"] * y, float(one["inside"])) for one in answered]
        return np.array(rows, np.float32) if rows else None

    def answer(self, box: Box, size: tuple[int, int]) -> list[int]:
        """A box of the photo as the model would say it."""
        x, y = self.scale(size)
        x1, y1, x2, y2 = round(box[0] / x), round(box[1] / y), round(box[2] / x), round(box[3] / y)
        return [y1, x1, y2, x2] if self.y_first else [x1, y1, x2, y2]


def grid_of(family: Family, seen: tuple[int, int]) -> Grid:
    """The grid of a picture that the model sees at size (H, W)."""
    if family.pixels:
        return Grid(seen[1], seen[0], family.y_first)
    return Grid(y_first=family.y_first)


def seen_size(family: Family, size: tuple[int, int], most: int) -> tuple[int, int]:
    """Size (H, W) at which a picture of size (H, W) is shown: no side longer than `most`, never enlarged but to the
    family's multiple."""
    scale = min(1.0, most / max(size))
    step = family.multiple
    if step == 1:
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    longest = max(step, most // step * step)
    height, width = (min(longest, max(step, round(side * scale / step) * step)) for side in size)
    return height, width
