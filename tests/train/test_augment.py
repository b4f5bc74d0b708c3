from __future__ import annotations

from pathlib import Path

import numpy as np

from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.train.augment import Sample, augment, shrink


def sample(height=80, width=120) -> Sample:
    pixels = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    mask[20:60, 10:40] = True
    pixels[mask] = (250, 40, 40)
    note = Annotation("left door", "left door of the car", encode_rle(mask), ("Where is the left door?",) * 6)
    return Sample(pixels, AnnotatedPhoto("p", Path("p.jpg"), (height, width), (note,), "test"))


def test_masks_follow_the_pixels_and_words_follow_the_mirror():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        new = augment(sample(), rng)
        assert new.pixels.shape[:2] == new.photo.size
        for note in new.photo.annotations:
            mask = decode_rle(note.rle)
            assert mask.shape == new.photo.size
            inside = new.pixels[mask].astype(int).sum(1).mean()
            outside = new.pixels[~mask].astype(int).sum(1).mean() if (~mask).any() else 0
            assert inside > outside + 30
            seen.add(note.phrase)
            side = "left" if note.phrase.startswith("left") else "right"
            assert note.instructions == (f"Where is the {side} door?",) * 6
    assert seen == {"left door of the car", "right door of the car"}


def test_same_seed_same_crop():
    a, b = (augment(sample(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a.pixels, b.pixels)
    assert a.photo == b.photo


def test_shrinking_keeps_the_share():
    small = shrink(sample(400, 800).pixels, sample(400, 800).photo, 200)
    assert small.photo.size == (100, 200)
    assert abs(decode_rle(small.photo.annotations[0].rle).mean() - 1200 / 320000) < 0.001
