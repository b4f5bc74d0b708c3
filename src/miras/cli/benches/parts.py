"""The parts of an answer, each alone: a photo encoded, tokens read and written, masks drawn, text read.

In: a model, photos, the machine's rates. Out: rows of seconds, bytes and operations beside the limit (`roofline`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from miras.cli.benches.machine import Rates, fastest
from miras.cli.benches.roofline import least
from miras.model.miras import Miras
from miras.model.reading import read

BATCHES, TOKENS, MASKS = (1, 2, 4, 8), (1, 8, 32, 128), (1, 2, 4, 8)
BEFORE = 128
"""Tokens in the cache before those that are measured."""
Row = dict[str, Any]


def encoding(model: Miras, photos: Sequence[NDArray[np.uint8]], rates: Rates, repeats: int) -> list[Row]:
    """A photo through the towers, by how many go together; seconds of one."""
    rows = []
    for batch in BATCHES:
        chosen = [photos[number % len(photos)] for number in range(batch)]

        def work(chosen: Sequence[NDArray[np.uint8]] = chosen) -> object:
            with torch.no_grad():
                return model.encode_image(chosen)

        rows.append({"batch": batch, **least(work, rates, model).beside(fastest(work, repeats) / batch, batch)})
    return rows


@torch.inference_mode()
def language(model: Miras, rates: Rates, repeats: int) -> list[Row]:
    """One pass of the language model over new tokens, by how many: one is a word that is said, 128 a photo and a
    question that are read."""
    width = model.instruction.width
    before = model.instruction.language.cache()
    model.comprehend(torch.randn(1, BEFORE, width), before)
    rows = []
    for count in TOKENS:
        new = torch.randn(1, count, width)

        def work(new: torch.Tensor = new) -> object:
            cache = copy.copy(before)
            cache.layers = [copy.copy(layer) for layer in before.layers]
            return model.comprehend(new, cache)

        rows.append({"tokens": count, **least(work, rates, model).beside(fastest(work, repeats))})
    return rows


@torch.inference_mode()
def decoding(model: Miras, photo: NDArray[np.uint8], rates: Rates, repeats: int) -> list[Row]:
    """Masks of one photo, by how many are drawn in one pass; seconds of one."""
    features = model.encode_image([photo])
    config, side = model.config, model.config.detail_size // 4
    rows = []
    for count in MASKS:
        chosen = features.select(torch.zeros(count, dtype=torch.long))
        prompts = torch.randn(count, config.prompts, config.width)
        dense = model.mask_encoder.dense(torch.zeros(count, 1, side, side), torch.zeros(count, dtype=torch.bool))
        prior = torch.zeros(count, *chosen.pixels_BChw.shape[-2:])
        heat = torch.zeros_like(prior) if config.has_concepts else None
        given = (prompts, chosen.pixels_BChw, chosen.fine8_BChw, chosen.fine4_BChw, dense, prior, None, heat)

        def work(given: tuple[Any, ...] = given) -> object:
            return model.decoder(*given)

        rows.append({"masks": count, **least(work, rates, model).beside(fastest(work, repeats) / count, count)})
    return rows


def reading(photo: NDArray[np.uint8], repeats: int) -> Row:
    """The text in a photo, read by `rapidocr` over onnxruntime, whose operations nobody counts."""
    return {"seconds": round(fastest(lambda: read(photo), repeats), 4)}
