"""From what is wanted to masks, by whatever segmenter there is: it is given those kinds of prompt that it takes.

In: a wanted region, a gesture; a segmenter and its encoding of the photo. Out: masks (H, W) with their scores. Knows no
talker and no session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.composed.plan import Want
from miras.chat.generation.writing import written
from miras.chat.inputs import Gesture
from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.segmenter import Candidates, Prompt, Segmenter
from miras.core.text_regions import TextRegion, is_about_writing
from miras.core.types import Box, Mask

MOST_INSTANCES = 12
"""Regions that one name may become, where a segmenter finds several things of it."""
THERE = 0.5
"""Presence below which a thing is not there."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A mask, not empty, and its score in 0..1; None of one that was given."""

    mask: Mask
    score: float | None


class Drawing:
    """One photo before a segmenter. lines: of the text that is written in it, read when text is asked for."""

    def __init__(self, segmenter: Segmenter, photo: NDArray[np.uint8]) -> None:
        self.segmenter = segmenter
        self.size = (photo.shape[0], photo.shape[1])
        self._encoding: Any = segmenter.encode(photo)

    def wanted(self, want: Want, lines: tuple[TextRegion, ...] = ()) -> list[Drawn]:
        """The masks of a new region: none when the segmenter finds nothing, several where it finds several things of
        the name and nothing says which. Raises InputError for what it cannot be asked."""
        if is_about_writing(want.phrase):
            drawn_HW = np.zeros(self.size, np.bool_) if want.mask is None else want.mask
            found = written(want.phrase, drawn_HW, self._there(want, lines))
            if found is not None and found.mask is not None:
                return [Drawn(found.mask, found.score)]
        prompts = self.segmenter.prompts
        box = want.box
        if box is None and want.mask is not None and "phrase" not in prompts:
            box = box_of(want.mask)
        prompt = self._prompt(want.phrase, want.points, box, want.mask if "phrase" not in prompts else None)
        found_masks = self.segmenter.segment(self._encoding, prompt)
        told_where = box is not None or want.points is not None or want.mask is not None
        if found_masks.presence is not None and found_masks.presence < THERE and not told_where:
            return []
        drawn = self._chosen(found_masks, box, want.points)
        if box is not None and prompt.box is None:
            drawn = [Drawn(one.mask & boxed(box, self.size), one.score) for one in drawn]
        return [one for one in drawn if one.mask.any()]

    def _there(self, want: Want, lines: tuple[TextRegion, ...]) -> tuple[TextRegion, ...]:
        """The lines of text that lie where the talker looks: half of one in its box, or a point of its on it; all where
        it says neither."""
        if want.box is not None:
            inside, own = boxed(want.box, self.size), [(line, line.mask(self.size)) for line in lines]
            return tuple(line for line, mask in own if 2 * np.count_nonzero(mask & inside) >= max(1, mask.sum()))
        if want.points is not None:
            last = (self.size[0] - 1, self.size[1] - 1)
            places = [(min(int(y), last[0]), min(int(x), last[1])) for x, y, label in want.points if label > 0]
            return tuple(line for line in lines if any(line.mask(self.size)[place] for place in places))
        return lines

    def again(self, want: Want, old: Drawn, points: NDArray[np.float32]) -> Drawn:
        """The mask with more points: the old one where the segmenter takes none, or finds nothing."""
        if "points" not in self.segmenter.prompts:
            return old
        every = points if want.points is None else np.concatenate([want.points, points])
        prompt = self._prompt(want.phrase, every, want.box, old.mask)
        best = self._chosen(self.segmenter.segment(self._encoding, prompt), want.box or box_of(old.mask), every)
        return best[0] if best and best[0].mask.any() else old

    def pointed(self, hand: Gesture, phrase: str = "", before: Mask | None = None) -> Drawn:
        """What a hand points at, or a region changed by hand. phrase: its name, "" for none; before: its mask so far.
        The mask stays inside a drawn box. Raises InputError for a gesture that the segmenter does not take."""
        if hand.mask is not None:
            return Drawn(hand.mask, None)
        prompts = self.segmenter.prompts
        by_name = bool(phrase) and "phrase" in prompts
        if hand.points is not None and "points" not in prompts:
            cure = "use a segmenter that does (sam2:REPO), or give a mask"
            raise InputError(f"a gesture that {self.segmenter.name} takes", "points", cure)
        if hand.box is not None and "box" not in prompts and hand.points is None and not by_name:
            cure = "use a segmenter that does (sam2:REPO), or give a mask"
            raise InputError(f"a gesture that {self.segmenter.name} takes", "a box", cure)
        prompt = self._prompt(phrase if by_name else "", hand.points, hand.box, before)
        found = self._chosen(self.segmenter.segment(self._encoding, prompt), hand.box, hand.points)
        if not found:
            raise InputError(
                "something there to select", f"nothing that {self.segmenter.name} finds", "point elsewhere"
            )
        mask = found[0].mask if hand.box is None else found[0].mask & boxed(hand.box, self.size)
        return Drawn(mask, found[0].score)

    def _prompt(self, phrase: str, points: NDArray[np.float32] | None, box: Box | None, mask: Mask | None) -> Prompt:
        given: dict[str, Any] = {"phrase": phrase or None, "points": points, "box": box, "mask": mask}
        kinds = {kind: value for kind, value in given.items() if kind in self.segmenter.prompts and value is not None}
        return Prompt(**kinds)

    def _chosen(self, found: Candidates, box: Box | None, points: NDArray[np.float32] | None) -> list[Drawn]:
        """Of several readings the best; of several things those that are meant."""
        drawn = [Drawn(mask, float(score)) for mask, score in zip(found.masks, found.scores, strict=True)]
        if not drawn:
            return []
        if not found.instances:
            return [drawn[found.best]]
        if box is None and points is None:
            return [one for one in drawn if one.mask.any()][:MOST_INSTANCES]
        return [max(drawn, key=lambda one: (_fits(one.mask, box, points), one.score))]


def boxed(box: Box, size: tuple[int, int]) -> Mask:
    """The pixels inside a box, XYXY, as a mask of size (H, W); at least one."""
    x1, y1, x2, y2 = box
    mask = np.zeros(size, np.bool_)
    top, left = min(int(y1), size[0] - 1), min(int(x1), size[1] - 1)
    mask[top : max(top + 1, int(np.ceil(y2))), left : max(left + 1, int(np.ceil(x2)))] = True
    return mask


def _fits(mask: Mask, box: Box | None, points: NDArray[np.float32] | None) -> float:
    """How well a mask is where it should be: IoU with the box, and the share of points that it has right."""
    fit = 0.0
    if box is not None:
        inside = boxed(box, mask.shape)
        fit += float(np.count_nonzero(mask & inside)) / max(1, int(np.count_nonzero(mask | inside)))
    if points is not None:
        rows = np.clip(points[:, 1].astype(int), 0, mask.shape[0] - 1)
        columns = np.clip(points[:, 0].astype(int), 0, mask.shape[1] - 1)
        fit += float((mask[rows, columns] == (points[:, 2] > 0)).mean())
    return fit
