"""Our own model as a segmenter: `miras-mini`, or `miras:FOLDER`. A phrase, points, a box, a mask, an embedding.

In: a photo, a prompt. Out: one candidate for words and boxes, all that the decoder offers for points; predicted IoU;
for words the chance that the photo shows it at all, by the refusal calibration. The language model reads the photo
once; a phrase costs its few tokens, as if it were asked for and answered for the first time, and one pass of the
decoder. An embedding is what the model reads at a name: states (S, E) from `[OBJ]` to `[SEG]`. Knows no session.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from miras.core.errors import InputError
from miras.core.grammar import OBJ, REJ, SEG, TEMPLATES, render_prefix, render_reply_open, render_turn
from miras.core.masks import Size
from miras.core.segmenter import PROMPTS, Candidates, Prompt
from miras.core.types import Name, Turn, Words
from miras.data.language.words import definite
from miras.model.boxed import boxed
from miras.model.loading.place import built, find, placed
from miras.model.miras import Miras
from miras.model.visual_encoders import ImageFeatures
from miras.segmenters.pixels import as_photo
from miras.segmenters.source import Place, digest

ARTICLES = ("the ", "a ", "an ")
"""What a phrase may begin with; the model's names have none."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """features: of the one photo. cache: of the language model, which has read it."""

    size: Size
    features: ImageFeatures
    cache: DynamicCache


class MirasSegmenter:
    """A model of ours. weights: what tells it from others, for facts."""

    prompts = frozenset(PROMPTS)

    def __init__(self, name: str, model: Miras, weights: str = "") -> None:
        self.name, self._model, self._weights = name, model, weights
        self._template = TEMPLATES[model.config.template]

    def facts(self) -> Mapping[str, Any]:
        """Its name, weights and number format."""
        return {"segmenter": self.name, "weights": self._weights, "dtype": str(self._model.image_dtype)}

    @torch.inference_mode()
    def encode(self, photo: NDArray[np.uint8]) -> Encoded:
        """One pass of the towers, and one of the language model over the photo."""
        model = self._model
        features, cache = model.encode_image([as_photo(photo)]), DynamicCache()
        opening = model.grammar.encode(render_prefix(self._template, (), model.tags(features, 0))).ids
        model.comprehend(model.embed(self._ids(opening), features.visual_BND), cache)
        return Encoded((photo.shape[0], photo.shape[1]), features, cache)

    @torch.inference_mode()
    def segment(self, encoding: Encoded, prompt: Prompt) -> Candidates:
        """A few tokens of the language model for a phrase, and one pass of the decoder. Raises InputError."""
        prompt.fits(encoding.size, self.prompts, self.name)
        span, presence = _states(prompt.embedding, self._model), None
        if prompt.phrase is not None:
            span, presence = self.read(encoding, prompt.phrase)
        made = self._model.segment(encoding.features, 0, span, None, prompt.mask, prompt.points, prompt.box)
        if prompt.box is not None:
            mask, index = boxed(made.logits_Mhw, prompt.box, encoding.size, prompt.points, made.best)
            chosen, masks = [index], [mask]
        else:
            chosen = [made.best] if prompt.points is None else list(range(len(made.iou_M)))
            masks = [made.mask(encoding.size, index) for index in chosen]
        scores = made.iou_M[chosen]
        return Candidates(np.stack(masks), scores, presence)

    @torch.inference_mode()
    def read(self, encoding: Encoded, phrase: str) -> tuple[Tensor, float]:
        """What the model reads at a name, (S, E), and the chance that the photo shows it."""
        name = _bare(phrase)
        model, grammar, template = self._model, self._model.grammar, self._template
        user = render_turn(Turn.user(f"Select {definite(name)}."), 0, template)
        reply = render_turn(Turn("assistant", (Words("I found the"), Name(name, 1))), 1, template)
        question = grammar.encode([*user, *render_reply_open(1, template)]).ids
        whole = grammar.encode([*user, *reply]).ids
        first, last = (whole.index(grammar.id(token)) for token in (OBJ, SEG))
        ids = whole[: last + 1]
        if encoding.cache.get_seq_length() + len(ids) > model.config.max_tokens:
            raise InputError(f"a phrase that fits {model.config.max_tokens} tokens", f"{len(ids)}", "name it shorter")
        cache = copy.copy(encoding.cache)  # its tensors are never written in place
        cache.layers = [copy.copy(layer) for layer in encoding.cache.layers]
        said = model.comprehend(model.embed(self._ids(ids)), cache, predicted=len(ids) - len(question) + 1)
        span = said.hidden_BLE[0, first : last + 1].clone()
        odds = said.logits_BLV[0, 0].float().log_softmax(0)[grammar.id(REJ)].double().exp().logit(eps=1e-9)
        return span, model.verdict(model.presence(encoding.features, 0, span), float(odds))

    def _ids(self, ids: list[int]) -> Tensor:
        return torch.tensor([ids], dtype=torch.long, device=self._model.device)


def _states(embedding: Any, model: Miras) -> Tensor | None:
    """An embedding, once it is known to be states of the model. Raises InputError."""
    width = model.instruction.width * len(model.config.alignment_layers)
    if embedding is None or (isinstance(embedding, Tensor) and embedding.ndim == 2 and embedding.shape[1] == width):
        return embedding
    got = tuple(embedding.shape) if hasattr(embedding, "shape") else type(embedding).__name__
    raise InputError(f"an embedding, a tensor of shape (S, {width})", str(got), "take what `read` gives")


def _bare(phrase: str) -> str:
    """A phrase without its article and full stop."""
    name = " ".join(phrase.split()).rstrip(".")
    article = next((one for one in ARTICLES if name.lower().startswith(one)), "")
    return name[len(article) :] or name or phrase.strip()


def opened(name_or_folder: str, place: Place, name: str) -> MirasSegmenter:
    """The segmenter of a model's name or folder. Raises InputError, WeightsError."""
    folder = find(name_or_folder)
    model = placed(built(name_or_folder, folder, place.dtype), place.device, place.dtype)
    return MirasSegmenter(name, model, "random" if folder is None else digest(folder))
