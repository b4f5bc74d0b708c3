"""What is measured while training: phrases on held-out photos, and pictures of the masks.

In: a model and photos. Out: figures, and a sheet of overlays. Not the evaluation of the project (`miras eval`):
each target is asked by its phrase alone, without a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from miras.chat.render import overlay
from miras.core.masks import iou
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto, Mask, Region
from miras.model.miras import Miras
from miras.train.data.held_out import grouped
from miras.train.stages.stage1 import PhraseStates

WIDTH = 420
"""Of a picture on the sheet, in pixels."""


@torch.no_grad()
def phrases(model: Miras, photos: Sequence[AnnotatedPhoto], limit: int = 4) -> dict[str, float]:
    """gIoU and cIoU in per cent at the photos' size, and gIoU by source; at most `limit` labels a photo."""
    states = PhraseStates(model)
    scores: dict[str, list[float]] = {}
    inside = union = 0
    for photo in photos:
        features = model.encode_image([read_photo(photo.file)])
        for note, mask in grouped(photo)[:limit]:
            predicted = _mask(model, states, features, note.phrase, photo.size)
            scores.setdefault(photo.source, []).append(iou(predicted, mask))
            inside += int(np.count_nonzero(predicted & mask))
            union += int(np.count_nonzero(predicted | mask))
    every = [value for values in scores.values() for value in values]
    figures = {"giou": _percent(every), "ciou": round(100 * inside / max(union, 1), 2)}
    return figures | {f"giou/{source}": _percent(values) for source, values in sorted(scores.items())}


@torch.no_grad()
def sheet(model: Miras, photos: Sequence[AnnotatedPhoto], file: Path) -> None:
    """A PNG: each photo twice, as annotated and as the model draws the same phrases."""
    states = PhraseStates(model)
    rows = []
    for photo in photos:
        pixels = read_photo(photo.file)
        features = model.encode_image([pixels])
        gold, drawn = [], []
        for number, (note, mask) in enumerate(grouped(photo)[:3], 1):
            gold.append(Region(number, note.phrase, mask, 1))
            drawn.append(Region(number, note.phrase, _mask(model, states, features, note.phrase, photo.size), 1))
        pair = [Image.fromarray(overlay(pixels, regions)) for regions in (gold, drawn)]
        scale = min(WIDTH / pixels.shape[1], 4 * WIDTH / pixels.shape[0])
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        rows.append([picture.resize(size) for picture in pair])
    page = Image.new("RGB", (2 * WIDTH, sum(row[0].height for row in rows)), "white")
    top = 0
    for row in rows:
        for column, picture in enumerate(row):
            page.paste(picture, (column * WIDTH, top))
        top += row[0].height
    page.save(file)


def _mask(model: Miras, states: PhraseStates, features: object, phrase: str, size: tuple[int, int]) -> Mask:
    span, _ = states([phrase])
    return model.segment(features, 0, span[0]).mask(size)  # type: ignore[arg-type]


def _percent(values: list[float]) -> float:
    return round(100 * float(np.mean(values)), 2) if values else 0.0
