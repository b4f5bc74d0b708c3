"""SAM 3 (2025) through `transformers`: `sam3:REPO`. A phrase finds all things it names; clicks segment one.

In: a photo, a phrase or clicks. Out: for a phrase the instances above THRESHOLD, the surest first, and the chance that
there is any; for clicks what SAM 2 gives. Two models in one checkpoint share the tower of the photo, which runs once.
With clicks a phrase only says how sure it is that there is such a thing: the clicks decide what is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Sam3Model, Sam3TrackerModel

from miras.core.errors import InputError
from miras.core.segmenter import Candidates, Prompt
from miras.model.hub.folders import fetched
from miras.segmenters import clicks, sam2
from miras.segmenters.pixels import Square, square_of
from miras.segmenters.remembered import remember
from miras.segmenters.source import Place, digest, kind_of, model_at, tokenizer_of

KINDS = {
    "sam3_video": "a checkpoint of SAM 3", "sam3": "one of its model for phrases",
    "sam3_tracker": "one of its model for clicks",
}  # fmt: skip
USUAL = Square((1008, 1008), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
THRESHOLD = 0.5
"""Score of an instance, its own times that of presence, from which it counts."""
WORDS = 32
"""Tokens of a phrase, at most; what is left of them is padding."""
HALF = "this checkpoint holds one of its two models: give a whole one (model_type sam3_video)"


@dataclass(frozen=True, eq=False)
class Encoded:
    """frame: of the photo in the model's input. seen: features for phrases. touched: for clicks. None without a
    model."""

    frame: clicks.Frame
    seen: Any | None
    touched: sam2.Encoded | None


class Sam3Segmenter:
    """A SAM 3. finder: its model for phrases; clicker: for clicks; one of them at least. folder: named in facts."""

    def __init__(
        self, name: str, finder: Sam3Model | None, clicker: Sam3TrackerModel | None, tokenizer: Any, square: Square,
        folder: Path, place: Place,
    ) -> None:  # fmt: skip
        self.name, self._finder, self._clicker, self._tokenizer = name, finder, clicker, tokenizer
        self._square, self._folder, self._place = square, folder, place
        words, hand = frozenset({"phrase"} if finder else ()), clicks.CLICKS if clicker else frozenset()
        self.prompts: frozenset[str] = words | hand

    def facts(self) -> Mapping[str, Any]:
        """Its name, weights, number format and threshold."""
        return {
            "segmenter": self.name, "weights": digest(self._folder), "dtype": str(self._place.dtype),
            "threshold": THRESHOLD,
        }  # fmt: skip

    @torch.inference_mode()
    def encode(self, photo: NDArray[np.uint8]) -> Encoded:
        """One pass of the tower, and one of each model's neck."""
        pixels = self._square(photo).to(self._place.device)
        frame = clicks.Frame((photo.shape[0], photo.shape[1]), self._square.size)
        with self._place.encoding():
            seen = None if self._finder is None else self._finder.get_vision_features(pixels)
            touched = None if self._clicker is None else sam2.embedded(self._clicker, pixels, frame)
        if seen is not None:
            seen.fpn_hidden_states = tuple(level.float() for level in seen.fpn_hidden_states)
            seen.fpn_position_encoding = tuple(level.float() for level in seen.fpn_position_encoding)
        return Encoded(frame, seen, touched)

    @torch.inference_mode()
    def segment(self, encoding: Encoded, prompt: Prompt) -> Candidates:
        """One pass of the heads that the prompt is for. Raises InputError for what it does not take."""
        prompt.fits(encoding.frame.size, self.prompts, self.name, HALF)
        found = None if prompt.phrase is None else self._named(encoding, prompt.phrase)
        if found is not None and prompt.kinds == {"phrase"}:
            return found
        assert self._clicker is not None and encoding.touched is not None
        made = sam2.clicked(self._clicker, encoding.touched, prompt, self.name)
        return Candidates(made.masks, made.scores, None if found is None else found.presence)

    def _named(self, encoding: Encoded, phrase: str) -> Candidates:
        """All instances of what a phrase names."""
        assert self._finder is not None
        text = self._tokenizer(phrase, padding="max_length", max_length=WORDS, return_tensors="pt")
        if (length := text["input_ids"].shape[1]) > WORDS:
            raise InputError(f"a phrase of at most {WORDS} tokens for {self.name}", f"{length}", "name it shorter")
        out = self._finder(
            vision_embeds=encoding.seen, input_ids=text["input_ids"].to(self._place.device),
            attention_mask=text["attention_mask"].to(self._place.device),
        )  # fmt: skip
        presence = out.presence_logits[0].sigmoid()
        scores, order = (out.pred_logits[0].sigmoid() * presence).sort(descending=True)
        kept = order[scores > THRESHOLD]
        masks = clicks.enlarged(out.pred_masks[0, kept].sigmoid(), encoding.frame.size, 0.5)
        return clicks.candidates(masks, scores[: len(kept)], presence=float(presence), instances=True)


def opened(repo: str, place: Place, name: str) -> Sam3Segmenter:
    """The segmenter of a repository. Raises InputError, WeightsError."""
    folder = fetched(repo)
    kind = kind_of(folder, repo, KINDS, "sam3:REPO")
    square = square_of(folder, repo, USUAL)
    finder = None if kind == "sam3_tracker" else model_at(Sam3Model, folder, repo, place)
    clicker = None if kind == "sam3" else model_at(Sam3TrackerModel, folder, repo, place)
    if finder is not None and clicker is not None:
        clicker.vision_encoder.backbone = finder.vision_encoder.backbone
        remember(finder.vision_encoder.backbone)
    tokenizer = None if finder is None else tokenizer_of(folder, repo)
    return Sam3Segmenter(name, finder, clicker, tokenizer, square, folder, place)
