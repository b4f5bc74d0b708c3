"""CLIPSeg (Lüddecke and Ecker 2022) through `transformers`: `clipseg:REPO`. A phrase becomes a heat map, the map a
mask.

In: a photo, a phrase. Out: one candidate: where the heat is above THRESHOLD, at the photo's size. Its score is the mean
heat of the mask, presence the highest heat. It tells no instances apart, and its map is 352 pixels wide: soft outlines.
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
from transformers import CLIPSegForImageSegmentation, ViTImageProcessorPil

from miras.core.errors import InputError
from miras.core.masks import Size
from miras.core.segmenter import Candidates, Prompt
from miras.model.hub.folders import fetched
from miras.segmenters import clicks
from miras.segmenters.pixels import as_photo
from miras.segmenters.remembered import remember
from miras.segmenters.source import Place, digest, kind_of, model_at, processor_of, tokenizer_of

KINDS = {"clipseg": "a checkpoint of CLIPSeg"}
THRESHOLD = 0.5
"""Heat, 0..1, from which a pixel is inside: it was trained as a probability."""
CLICKS = "for points, boxes and masks take sam:REPO, sam2:REPO, sam3:REPO or miras-mini"


@dataclass(frozen=True, eq=False)
class Encoded:
    """size: (H, W) of the photo. pixels: (1, 3, S, S), by which the tower remembers what it saw."""

    size: Size
    pixels: Tensor


class ClipSegSegmenter:
    """A CLIPSeg. folder: of the checkpoint, named in facts."""

    prompts = frozenset({"phrase"})

    def __init__(
        self, name: str, model: CLIPSegForImageSegmentation, processor: Any, tokenizer: Any, folder: Path, place: Place
    ) -> None:
        self.name, self._model, self._processor, self._tokenizer = name, model, processor, tokenizer
        self._folder, self._place = folder, place
        remember(model.clip.vision_model)

    def facts(self) -> Mapping[str, Any]:
        """Its name, weights, number format and threshold."""
        return {
            "segmenter": self.name, "weights": digest(self._folder), "dtype": str(self._place.dtype),
            "threshold": THRESHOLD,
        }  # fmt: skip

    @torch.inference_mode()
    def encode(self, photo: NDArray[np.uint8]) -> Encoded:
        """One pass of CLIP's tower; the light decoder runs beside it, on no words."""
        given = self._processor(images=as_photo(photo), input_data_format="channels_last", return_tensors="pt")
        encoded = Encoded((photo.shape[0], photo.shape[1]), given["pixel_values"].to(self._place.device))
        with self._place.encoding():
            self._heat(encoded, "")
        return encoded

    @torch.inference_mode()
    def segment(self, encoding: Encoded, prompt: Prompt) -> Candidates:
        """One pass of the text tower and the decoder. Raises InputError for anything but a phrase."""
        phrase = prompt.fits(encoding.size, self.prompts, self.name, CLICKS).phrase
        heat = self._heat(encoding, phrase or "")
        whole = F.interpolate(heat[None, None], encoding.size, mode="bilinear", align_corners=False)[0, 0].sigmoid()
        mask = whole > THRESHOLD
        score = whole[mask].mean() if bool(mask.any()) else whole.new_zeros(())
        return clicks.candidates(mask[None], score[None], presence=float(whole.max()))

    def _heat(self, encoding: Encoded, phrase: str) -> Tensor:
        """Logits (h, w) of where a phrase is seen."""
        text = self._tokenizer(phrase, return_tensors="pt")
        most = self._model.clip.text_model.config.max_position_embeddings
        if (length := text["input_ids"].shape[1]) > most:
            raise InputError(f"a phrase of at most {most} tokens for {self.name}", f"{length}", "name it shorter")
        out = self._model(
            pixel_values=encoding.pixels, input_ids=text["input_ids"].to(self._place.device),
            attention_mask=text["attention_mask"].to(self._place.device),
        )  # fmt: skip
        heat: Tensor = out.logits.float()
        return heat.reshape(heat.shape[-2:])


def opened(repo: str, place: Place, name: str) -> ClipSegSegmenter:
    """The segmenter of a repository. Raises InputError, WeightsError."""
    folder = fetched(repo)
    kind_of(folder, repo, KINDS, "clipseg:REPO")
    processor = processor_of(ViTImageProcessorPil, folder, repo)
    tokenizer = tokenizer_of(folder, repo)
    model = model_at(CLIPSegForImageSegmentation, folder, repo, place)
    return ClipSegSegmenter(name, model, processor, tokenizer, folder, place)
