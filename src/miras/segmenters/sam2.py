"""SAM 2 and SAM 2.1 (Ravi et al. 2024) through `transformers`: `sam2:REPO`. Points, a box, a mask; no words.

In: a photo, clicks. Out: three candidates of one click, one of a clearer prompt, with predicted IoU.
`Sam2ImageProcessor` needs torchvision, so the square of pixels is made here, the same to the bit (`pixels.py`). SAM 3's
model for clicks has the same interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Sam2Model

from miras.core.segmenter import Candidates, Prompt
from miras.model.hub.folders import fetched
from miras.segmenters import clicks
from miras.segmenters.pixels import Square, square_of
from miras.segmenters.sam import WORDS
from miras.segmenters.source import Place, digest, kind_of, model_at

KINDS = {"sam2": "a checkpoint of SAM 2", "sam2_video": "one that holds its video model too"}
USUAL = Square((1024, 1024), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, eq=False)
class Encoded:
    """frame: of the photo in the model's input. embeddings: (1, C, h, w) float32, the finest first."""

    frame: clicks.Frame
    embeddings: tuple[Tensor, ...]


class Sam2Segmenter:
    """A SAM 2. folder: of the checkpoint, named in facts."""

    prompts = clicks.CLICKS

    def __init__(self, name: str, model: Sam2Model, square: Square, folder: Path, place: Place) -> None:
        self.name, self._model, self._square = name, model, square
        self._folder, self._place = folder, place

    def facts(self) -> Mapping[str, Any]:
        """Its name, weights and number format."""
        return {"segmenter": self.name, "weights": digest(self._folder), "dtype": str(self._place.dtype)}

    @torch.inference_mode()
    def encode(self, photo: NDArray[np.uint8]) -> Encoded:
        """One pass of the image encoder."""
        pixels = self._square(photo).to(self._place.device)
        with self._place.encoding():
            return embedded(self._model, pixels, clicks.Frame((photo.shape[0], photo.shape[1]), self._square.size))

    @torch.inference_mode()
    def segment(self, encoding: Encoded, prompt: Prompt) -> Candidates:
        """One pass of the mask decoder. Raises InputError for a phrase, and for what lies outside the photo."""
        return clicked(
            self._model, encoding, prompt.fits(encoding.frame.size, self.prompts, self.name, WORDS), self.name
        )


def embedded(model: Any, pixels: Tensor, frame: clicks.Frame) -> Encoded:
    """The features of a model that takes clicks as SAM 2 does."""
    return Encoded(frame, tuple(features.float() for features in model.get_image_embeddings(pixels)))


def clicked(model: Any, encoding: Encoded, prompt: Prompt, name: str) -> Candidates:
    """The masks of such a model, its features known. The prompt is one that fits."""
    prompt = clicks.sharpened(prompt, name)
    device = encoding.embeddings[0].device
    out = model(
        image_embeddings=list(encoding.embeddings), multimask_output=clicks.is_ambiguous(prompt),
        input_masks=None if prompt.mask is None else clicks.logits(prompt.mask).to(device),
        **clicks.inputs(prompt, encoding.frame, device),
    )  # fmt: skip
    return clicks.candidates(clicks.enlarged(out.pred_masks[0, 0], encoding.frame.size), out.iou_scores[0, 0])


def opened(repo: str, place: Place, name: str) -> Sam2Segmenter:
    """The segmenter of a repository. Raises InputError, WeightsError."""
    folder = fetched(repo)
    kind_of(folder, repo, KINDS, "sam2:REPO")
    square = square_of(folder, repo, USUAL)
    return Sam2Segmenter(name, model_at(Sam2Model, folder, repo, place), square, folder, place)
