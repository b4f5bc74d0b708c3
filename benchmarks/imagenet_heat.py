"""What ImageNet's classifier knows before any training: where it sees a named thing, and whether it is there at all.

    python benchmarks/imagenet_heat.py ../shared/data/coco-more/annotations.json [--photos 120] [--model FOLDER]

For each thing that covers 1 to 90% of a photo (no persons: ImageNet has no such class) the area under the curve of
its heat map against its mask, on a grid of 64 x 64; over all names on all photos, that of the strongest cells and of
the whole photo as evidence that it is there. Without --model: the map fitted to names alone
(`train.stages.imagenet.learn_names`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from miras.core.masks import decode_rle
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto
from miras.data.formats.annotated import read
from miras.model.loading.place import find
from miras.model.miras import Miras
from miras.model.presets import configuration
from miras.train.stages import imagenet, stage1

GRID = 64


def area_under_curve(scores: NDArray[np.floating], there: NDArray[np.bool_]) -> float:
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    present, absent = int(there.sum()), int((~there).sum())
    return float((ranks[there].sum() - present * (present + 1) / 2) / (present * absent))


def masks_of(photo: AnnotatedPhoto) -> dict[str, NDArray[np.bool_]]:
    found: dict[str, NDArray[np.bool_]] = {}
    for note in photo.annotations:
        found[note.label] = found.get(note.label, np.zeros(photo.size, bool)) | decode_rle(note.rle)
    return found


@torch.no_grad()
def measure(model: Miras, photos: Sequence[AnnotatedPhoto]) -> dict[str, float]:
    assert model.concepts is not None
    names = sorted({name for photo in photos for name in photo.vocabulary})
    vectors = model.concepts(*stage1.PhraseStates(model)(names))
    curves, facts, there = [], [], []
    for photo in photos:
        seen = model.encode_image([read_photo(photo.path)]).seen
        masks = masks_of(photo)
        facts.append(model.concepts.facts(vectors, seen.cells_BFhw, seen.rivals_BN, torch.zeros(len(names)).long()))
        there += [name in masks for name in names]
        for name, mask in masks.items():
            cover = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((GRID, GRID), Image.Resampling.BOX))
            if name == "person" or not 0.01 <= mask.mean() <= 0.9 or not (cover > 127).any():
                continue
            heat = model.concepts.logits(vectors[[names.index(name)]], seen.cells_BFhw, seen.rivals_BN)
            wide = F.interpolate(heat[None], (GRID, GRID), mode="bilinear")[0, 0].numpy()
            curves.append(area_under_curve(wide.ravel(), (cover > 127).ravel()))
    facts_NK, there_N = torch.cat(facts).numpy(), np.array(there)
    return {
        "photos": len(photos), "n": len(curves), "heat_auc": round(float(np.mean(curves)), 3),
        "heat_auc_median": round(float(np.median(curves)), 3),
        "there_auc_strongest": round(area_under_curve(facts_NK[:, 0], there_N), 3),
        "there_auc_whole": round(area_under_curve(facts_NK[:, 1], there_N), 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--model")
    given = parser.parse_args()
    if given.model:
        model = Miras.from_pretrained(find(given.model))
    else:
        model = Miras(configuration("miras-mini"))
        imagenet.learn_names(model)
    print(json.dumps(measure(model, read(given.data, "coco")[: given.photos])))


if __name__ == "__main__":
    main()
