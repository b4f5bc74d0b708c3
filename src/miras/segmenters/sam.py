"""SAM (Kirillov et al. 2023) through `transformers`: `sam:REPO`. Points, a box, a mask; no words.

In: a photo, clicks. Out: three candidates of one click, one of a clearer prompt, with predicted IoU. The photo goes
through `SamImageProcessorPil`: its longest side becomes the model's, the rest is padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import SamImageProcessorPil, SamModel, SamProcessor

from miras.core.segmenter import Candidates, Prompt
from miras.model.hub.folders import fetched
from miras.segmenters import clicks
from miras.segmenters.pixels import as_photo
from miras.segmenters.source import Place, digest, kind_of, model_at, processor_of

KINDS = {"sam": "a checkpoint of SAM"}
WORDS = "for words take sam3:REPO, gdino:REPO+sam2:REPO, clipseg:REPO or miras-mini"
"""What to do with a phrase."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """frame: of the photo in the model's input. embedding: (1, C, h, w) float32."""

    frame: clicks.Frame
    embedding: Tensor


class SamSegmenter:
    """A SAM. folder: of the checkpoint, named in facts."""

    prompts = clicks.CLICKS

    def __init__(self, name: str, model: SamModel, processor: SamProcessor, folder: Path, place: Place) -> None:
        self.name, self._model, self._processor = name, model, processor
        self._folder, self._place = folder, place

    def facts(self) -> Mapping[str, Any]:
        """Its name, weights and number format."""
        return {"segmenter": self.name, "weights": digest(self._folder), "dtype": str(self._place.dtype)}

    @torch.inference_mode()
    def encode(self, photo: NDArray[np.uint8]) -> Encoded:
        """One pass of the image encoder."""
        given = self._processor(images=as_photo(photo), input_data_format="channels_last", return_tensors="pt")
        with self._place.encoding():
            embedding = self._model.get_image_embeddings(given["pixel_values"].to(self._place.device))
        height, width = given["reshaped_input_sizes"][0].tolist()
        return Encoded(clicks.Frame((photo.shape[0], photo.shape[1]), (height, width)), embedding.float())

    @torch.inference_mode()
    def segment(self, encoding: Encoded, prompt: Prompt) -> Candidates:
        """One pass of the mask decoder. Raises InputError for a phrase, and for what lies outside the photo."""
        frame, device = encoding.frame, self._place.device
        prompt = clicks.sharpened(prompt.fits(frame.size, self.prompts, self.name, WORDS), self.name)
        masks = None if prompt.mask is None else self._low(prompt.mask, frame).to(device)
        out = self._model(
            image_embeddings=encoding.embedding, input_masks=masks, multimask_output=clicks.is_ambiguous(prompt),
            **clicks.inputs(prompt, frame, device),
        )  # fmt: skip
        (found,) = self._processor.post_process_masks(out.pred_masks.float(), [frame.size], [frame.inner])
        return clicks.candidates(found[0], out.iou_scores[0, 0])

    def _low(self, mask: NDArray[np.bool_], frame: clicks.Frame) -> Tensor:
        """Logits (1, 1, 4h, 4w) of a mask over the model's input, its padding outside."""
        encoder = self._model.prompt_encoder
        side, whole = 4 * encoder.image_embedding_size[0], encoder.input_image_size
        inner = tuple(max(1, round(length * side / whole)) for length in frame.inner)
        low = F.interpolate(clicks.logits(mask), inner, mode="bilinear", align_corners=False, antialias=True)
        return F.pad(low, (0, side - inner[1], 0, side - inner[0]), value=-clicks.SURE)


def opened(repo: str, place: Place, name: str) -> SamSegmenter:
    """The segmenter of a repository. Raises InputError, WeightsError."""
    folder = fetched(repo)
    kind_of(folder, repo, KINDS, "sam:REPO")
    processor = SamProcessor(processor_of(SamImageProcessorPil, folder, repo))
    return SamSegmenter(name, model_at(SamModel, folder, repo, place), processor, folder, place)
