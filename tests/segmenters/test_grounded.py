"""`gdino:REPO+...` gives the boxes of `GroundingDinoForObjectDetection` and, for each, the other segmenter's mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoTokenizer,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
)

from miras.core.errors import InputError
from miras.core.segmenter import Prompt
from miras.segmenters import grounded
from miras.segmenters.registry import segmenter_of
from miras.segmenters.source import Place
from tests.elsewhere import CUDA, elsewhere
from tests.segmenters.conftest import Make, Open, Photo, hand_prompts, passes

PHRASES = ["the cup", "A Dog.", "the left handle of the cup"]


def spec_of(checkpoint: Make) -> str:
    return f"gdino:{checkpoint('gdino')}+sam2:{checkpoint('sam2')}"


def detected(folder: Any, photo: Photo, phrase: str) -> tuple[list[list[float]], list[float]]:
    """Boxes XYXY and scores of the library's own classes, best first."""
    model = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    )
    inputs = processor(images=photo, text=[[phrase.rstrip(".")]], return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    (found,) = processor.post_process_grounded_object_detection(
        out, inputs.input_ids, threshold=0.35, text_threshold=0.25, target_sizes=[photo.shape[:2]]
    )
    order = found["scores"].argsort(descending=True, stable=True)
    return found["boxes"][order].tolist(), found["scores"][order].tolist()


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_gives_a_mask_for_each_box_of_the_library(
    checkpoint: Make, view: Photo, phrase: str, opened: Open
) -> None:
    segmenter, masks_of = opened(spec_of(checkpoint)), opened(f"sam2:{checkpoint('sam2')}")
    got = segmenter.segment(segmenter.encode(view), Prompt(phrase=phrase))
    boxes, scores = detected(checkpoint("gdino"), view, phrase)
    assert boxes and (len(boxes) < 8 or view.shape[0] == 211), "some boxes count, and most often some do not"
    height, width = view.shape[:2]
    encoding, kept = masks_of.encode(view), []
    for (x1, y1, x2, y2), score in zip(boxes, scores, strict=True):
        inside = (max(0.0, x1), max(0.0, y1), min(width, x2), min(height, y2))
        if inside[0] < inside[2] and inside[1] < inside[3]:
            kept.append((masks_of.segment(encoding, Prompt(box=inside)), score))
    assert got.instances and len(got) == len(kept)
    for at, (one, score) in enumerate(kept):
        assert (got.masks[at] == one.mask).all()
        assert got.scores[at] == pytest.approx(score * one.score, abs=1e-4)
    assert got.presence == pytest.approx(scores[0], abs=1e-4)


def test_clicks_are_for_the_other_segmenter(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter, other = opened(spec_of(checkpoint)), opened(f"sam2:{checkpoint('sam2')}")
    encoding, plain = segmenter.encode(photo), other.encode(photo)
    named = segmenter.segment(encoding, Prompt(phrase="dog"))
    for prompt in hand_prompts(photo).values():
        got, expected = segmenter.segment(encoding, prompt), other.segment(plain, prompt)
        assert (got.masks == expected.masks).all() and got.presence is None and not got.instances
        words = Prompt(phrase="dog", points=prompt.points, box=prompt.box, mask=prompt.mask)
        both = segmenter.segment(encoding, words)
        assert (both.masks == expected.masks).all() and both.presence == named.presence


def test_the_photo_is_encoded_once(checkpoint: Make, photo: Photo) -> None:
    segmenter: Any = segmenter_of(spec_of(checkpoint))
    detector, other = segmenter._model.model, segmenter._other._model
    with passes(detector.backbone.conv_encoder) as towers, passes(other.vision_encoder) as others:
        first = segmenter.encode(photo)
        fresh = [segmenter.segment(first, Prompt(phrase=phrase)) for phrase in PHRASES]
        assert (towers[0], others[0]) == (1, 1)
        second = segmenter.encode(np.ascontiguousarray(photo[::-1]))
        segmenter.segment(second, Prompt(phrase=PHRASES[0]))
        again = [segmenter.segment(first, Prompt(phrase=phrase)) for phrase in PHRASES]
    assert (towers[0], others[0]) == (2, 2)
    for one, other_one in zip(fresh, again, strict=True):
        assert (one.masks == other_one.masks).all() and (one.scores == other_one.scores).all()


def test_before_our_model_the_phrase_goes_along(checkpoint: Make, photo: Photo, opened: Open) -> None:
    """A segmenter that takes phrases gets it with the box."""
    segmenter, ours = opened(f"gdino:{checkpoint('gdino')}+miras-tiny"), opened("miras-tiny")
    encoding, plain = segmenter.encode(photo), ours.encode(photo)
    got = segmenter.segment(encoding, Prompt(phrase="dog"))
    boxes, _, _ = segmenter.boxes(encoding, "dog")
    expected = [ours.segment(plain, Prompt(phrase="dog", box=box)).mask for box in boxes]
    assert len(boxes) and (got.masks == np.stack(expected)).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda c: f"gdino:{c('gdino')}", "a detector and a segmenter for its boxes"),
        (lambda c: f"gdino:{c('gdino')}+clipseg:{c('clipseg')}", "a segmenter that takes boxes behind gdino"),
        (lambda c: f"gdino:{c('sam2')}+sam2:{c('sam2')}", "got model_type sam2 in"),
        (lambda c: f"gdino:{c('gdino')}+sma:x", "expected a segmenter, got 'sma:x'; did you mean sam:REPO?"),
    ],
)
def test_what_is_no_pair(checkpoint: Make, make: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        segmenter_of(make(checkpoint))
    assert says in str(caught.value)


def test_a_phrase_that_is_too_long(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(spec_of(checkpoint))
    with pytest.raises(InputError, match=r"a phrase of at most 16 tokens"):
        segmenter.segment(segmenter.encode(photo), Prompt(phrase="cup " * 20))


def test_nothing_stays_on_the_cpu(checkpoint: Make, photo: Photo, opened: Open) -> None:
    here, prompt = opened(spec_of(checkpoint)), Prompt(phrase="dog")
    with elsewhere():
        there = grounded.opened(spec_of(checkpoint).removeprefix("gdino:"), Place(CUDA), "gdino:there")
        found = there.segment(there.encode(photo), prompt)
    expected = here.segment(here.encode(photo), prompt)
    assert len(found) and (found.masks == expected.masks).all()


sides = st.floats(-50, 150, width=32)


@given(st.tuples(sides, sides, sides, sides))
def test_what_of_a_box_lies_in_the_photo(box: tuple[float, float, float, float]) -> None:
    kept = grounded._inside(list(box), (60, 100))
    x1, y1, x2, y2 = box
    rows, columns = np.mgrid[0:60:0.5, 0:100:0.5]
    inside = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
    if kept is None:
        assert not inside.any() or min(x2, 100) <= max(x1, 0) or min(y2, 60) <= max(y1, 0)
        return
    a, b, c, d = kept
    assert 0 <= a < c <= 100 and 0 <= b < d <= 60
    assert (inside == ((columns >= a) & (columns < c) & (rows >= b) & (rows < d))).all()
