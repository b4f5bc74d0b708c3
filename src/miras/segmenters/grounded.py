"""Grounding DINO (Liu et al. 2023) before a segmenter that takes boxes: `gdino:REPO+sam2:REPO`.

In: a photo, a phrase or clicks. Out: for a phrase a mask for each box that the detector finds, the surest first; for
clicks what the other segmenter gives. A phrase beside clicks only says how sure it is that there is such a thing. The
detector's tower runs once a photo; its fusion of words and pixels runs with each phrase.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil, GroundingDinoProcessor

from miras.core.errors import InputError
from miras.core.masks import Size
from miras.core.segmenter import Candidates, Prompt, Segmenter
from miras.core.types import Box
from miras.model.hub.folders import fetched
from miras.segmenters.pixels import as_photo
from miras.segmenters.registry import segmenter_at
from miras.segmenters.remembered import remember
from miras.segmenters.source import Place, digest, kind_of, model_at, processor_of, tokenizer_of

KINDS = {"grounding-dino": "a checkpoint of Grounding DINO"}
THRESHOLD = 0.35
"""Score of a box from which it counts, as in the authors' own examples."""
MOST = 20
"""Boxes that become masks, the surest; each costs a pass of the mask decoder."""
_SECOND = re.compile(r"\+(?=[a-z][a-z0-9-]*(?::|$))")
"""Where the spec of the other segmenter begins."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """size: (H, W) of the photo. pixels: (1, 3, h, w), by which the tower remembers what it saw. shape: mask (1, h, w)
    of its padding. other: the other segmenter's encoding."""

    size: Size
    pixels: Tensor
    shape: Tensor
    other: Any


class GroundedSegmenter:
    """A detector that reads, and a segmenter that takes its boxes. folder: of the detector, named in facts."""

    def __init__(
        self, name: str, model: GroundingDinoForObjectDetection, processor: GroundingDinoProcessor, other: Segmenter,
        folder: Path, place: Place,
    ) -> None:  # fmt: skip
        self.name, self._model, self._processor, self._other = name, model, processor, other
        self._folder, self._place = folder, place
        self.prompts = other.prompts | {"phrase"}
        remember(model.model.backbone)

    def facts(self) -> Mapping[str, Any]:
        """Its name, weights, number format and threshold; the other segmenter's facts."""
        return {
            "segmenter": self.name, "weights": digest(self._folder), "dtype": str(self._place.dtype),
            "threshold": THRESHOLD, "most": MOST, "masks": dict(self._other.facts()),
        }  # fmt: skip

    @torch.inference_mode()
    def encode(self, photo: NDArray[np.uint8]) -> Encoded:
        """One pass of the detector's tower and of the other segmenter's."""
        given = self._processor.image_processor(
            images=as_photo(photo), input_data_format="channels_last", return_tensors="pt"
        )
        pixels, shape = (given[name].to(self._place.device) for name in ("pixel_values", "pixel_mask"))
        with self._place.encoding():
            self._model.model.backbone(pixels, shape)
        return Encoded((photo.shape[0], photo.shape[1]), pixels, shape, self._other.encode(photo))

    @torch.inference_mode()
    def segment(self, encoding: Encoded, prompt: Prompt) -> Candidates:
        """A phrase: the detector, then a mask for each box. Clicks: the other's. Raises InputError."""
        prompt.fits(encoding.size, self.prompts, self.name)
        if prompt.phrase is None:
            return self._other.segment(encoding.other, prompt)
        boxes, sure, presence = self.boxes(encoding, prompt.phrase)
        if prompt.kinds != {"phrase"}:
            phrase = prompt.phrase if "phrase" in self._other.prompts else None
            one = self._other.segment(encoding.other, replace(prompt, phrase=phrase))
            return Candidates(one.masks, one.scores, presence, one.instances)
        words = prompt.phrase if "phrase" in self._other.prompts else None
        made = [self._other.segment(encoding.other, Prompt(phrase=words, box=box)) for box in boxes]
        masks = np.stack([one.mask for one in made]) if made else np.zeros((0, *encoding.size), np.bool_)
        scores = np.array([certain * one.score for certain, one in zip(sure, made, strict=True)], np.float32)
        return Candidates(masks, scores, presence, instances=True)

    def boxes(self, encoding: Encoded, phrase: str) -> tuple[list[Box], list[float], float]:
        """Boxes XYXY in the photo that bear a phrase, the surest first; their scores; the highest score of any box."""
        words = " ".join(phrase.lower().replace(".", " ").split()) + "."
        text = self._processor.tokenizer(words, return_tensors="pt", return_token_type_ids=True)
        if (length := text["input_ids"].shape[1]) > (most := self._model.config.max_text_len):
            raise InputError(f"a phrase of at most {most} tokens for {self.name}", f"{length}", "name it shorter")
        out = self._model(
            pixel_values=encoding.pixels, pixel_mask=encoding.shape,
            **{name: value.to(self._place.device) for name, value in text.items()},
        )  # fmt: skip
        (found,) = self._processor.post_process_grounded_object_detection(
            out, threshold=THRESHOLD, target_sizes=[encoding.size]
        )
        presence = float(out.logits.sigmoid().max())
        scores, order = found["scores"].sort(descending=True, stable=True)
        inside = [(_inside(found["boxes"][at].tolist(), encoding.size), float(score)) for score, at in zip(
            scores, order, strict=True)]  # fmt: skip
        kept = [(box, score) for box, score in inside if box is not None][:MOST]
        return [box for box, _ in kept], [score for _, score in kept], presence


def _inside(box: list[float], size: Size) -> Box | None:
    """The part of a box in the photo; None for nothing."""
    x1, y1, x2, y2 = max(0.0, box[0]), max(0.0, box[1]), min(float(size[1]), box[2]), min(float(size[0]), box[3])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def opened(repo: str, place: Place, name: str) -> GroundedSegmenter:
    """The segmenter of `REPO+OTHER`. Raises InputError, WeightsError."""
    first, *second = _SECOND.split(repo, maxsplit=1)
    if not second:
        cure = f"add one that takes boxes: gdino:{first or 'REPO'}+sam2:REPO"
        raise InputError("a detector and a segmenter for its boxes", repr(name), cure)
    other = segmenter_at(second[0], place)
    if "box" not in other.prompts:
        raise InputError(
            "a segmenter that takes boxes behind gdino", other.name, "take sam:REPO, sam2:REPO, miras-mini"
        )
    folder = fetched(first)
    kind_of(folder, first, KINDS, "gdino:REPO")
    processor = GroundingDinoProcessor(
        processor_of(GroundingDinoImageProcessorPil, folder, first), tokenizer_of(folder, first)
    )
    model = model_at(GroundingDinoForObjectDetection, folder, first, place)
    return GroundedSegmenter(name, model, processor, other, folder, place)
