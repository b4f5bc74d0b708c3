"""`sam3:REPO` gives what `Sam3Model` and `Sam3TrackerModel` give, from one checkpoint with one pass of their tower."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, Sam3Model, Sam3TrackerModel

from miras.core.errors import InputError, WeightsError
from miras.core.masks import box_of
from miras.core.segmenter import Prompt
from miras.segmenters import sam3
from miras.segmenters.registry import segmenter_of
from miras.segmenters.source import Place
from tests.elsewhere import CUDA, elsewhere
from tests.segmenters.conftest import Make, Open, Photo, hand_prompts, mask_of, passes
from tests.segmenters.test_sam2 import documented, pixels_of

PHRASES = ["the cup", "dog", "the left handle of the cup"]


@functools.cache
def library(folder: Any) -> tuple[Any, Any, Any]:
    """Its own classes: for phrases, for clicks, the tokenizer."""
    models = [cls.from_pretrained(folder).eval() for cls in (Sam3Model, Sam3TrackerModel)]
    return models[0], models[1], AutoTokenizer.from_pretrained(folder)


def instances(folder: Any, photo: Photo, phrase: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Masks (M, H, W), scores (M,) and presence by the steps of `post_process_instance_segmentation`, best first."""
    model, _, tokenizer = library(folder)
    text = tokenizer(phrase, padding="max_length", max_length=32, return_tensors="pt")
    with torch.no_grad():
        out = model(pixels_of(photo, 56, [0.5] * 3, [0.5] * 3), input_ids=text.input_ids,
                    attention_mask=text.attention_mask)  # fmt: skip
    scores = out.pred_logits.sigmoid()[0] * out.presence_logits.sigmoid()[0]
    keep = scores > 0.5
    assert bool(keep.any()) and not bool(keep.all()), "some count, some do not"
    low = out.pred_masks.sigmoid()[0][keep]
    masks = F.interpolate(low[None], photo.shape[:2], mode="bilinear", align_corners=False)[0] > 0.5
    order = scores[keep].argsort(descending=True)
    return masks[order].numpy(), scores[keep][order].numpy(), float(out.presence_logits.sigmoid())


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_gives_the_instances_that_the_library_gives(
    checkpoint: Make, view: Photo, phrase: str, opened: Open
) -> None:
    folder = checkpoint("sam3")
    segmenter = opened(f"sam3:{folder}")
    got = segmenter.segment(segmenter.encode(view), Prompt(phrase=phrase))
    masks, scores, presence = instances(folder, view, phrase)
    assert got.instances and (got.masks == masks).all() and got.masks.any()
    np.testing.assert_allclose(got.scores, scores, atol=1e-5)
    assert got.presence == pytest.approx(presence, abs=1e-5)


@pytest.mark.parametrize("name", hand_prompts(np.zeros((9, 9, 3), np.uint8)))
def test_clicks_give_what_the_library_gives(checkpoint: Make, view: Photo, name: str, opened: Open) -> None:
    folder, prompt = checkpoint("sam3"), hand_prompts(view)[name]
    segmenter = opened(f"sam3:{folder}")
    got = segmenter.segment(segmenter.encode(view), prompt)
    with_box = prompt if name != "a mask" else Prompt(mask=prompt.mask, box=box_of(mask_of(view)))
    masks, scores = documented(library(folder)[1], view, with_box, pixels_of(view, 56, [0.5] * 3, [0.5] * 3))
    assert (got.masks == masks.numpy()).all() and 0 < got.masks.mean() < 1
    np.testing.assert_allclose(got.scores, scores.numpy(), atol=1e-5)
    assert not got.instances and got.presence is None


def test_with_clicks_a_phrase_only_says_whether_there_is_any(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(f"sam3:{checkpoint('sam3')}")
    encoding, box = segmenter.encode(photo), (10.0, 20.0, 300.0, 200.0)
    clicked, named = segmenter.segment(encoding, Prompt(box=box)), segmenter.segment(encoding, Prompt(phrase="dog"))
    both = segmenter.segment(encoding, Prompt(phrase="dog", box=box))
    assert (both.masks == clicked.masks).all() and not both.instances
    assert both.presence == named.presence


def test_the_photo_is_encoded_once_for_both_models(checkpoint: Make, photo: Photo) -> None:
    segmenter: Any = segmenter_of(f"sam3:{checkpoint('sam3')}")
    tower = segmenter._finder.vision_encoder.backbone
    assert segmenter._clicker.vision_encoder.backbone is tower
    with passes(tower.embeddings) as towers, passes(segmenter._clicker.mask_decoder) as decoders:
        first = segmenter.encode(photo)
        segmenter.encode(np.ascontiguousarray(photo[::-1]))
        for prompt in (*hand_prompts(photo).values(), *(Prompt(phrase=phrase) for phrase in PHRASES)):
            segmenter.segment(first, prompt)
    assert (towers[0], decoders[0]) == (2, len(hand_prompts(photo)))


@pytest.mark.parametrize(("kind", "takes"), [("sam3", {"phrase"}), ("sam3_tracker", {"points", "box", "mask"})])
def test_half_a_checkpoint_takes_half_of_the_prompts(
    checkpoint: Make, photo: Photo, kind: str, takes: set[str], opened: Open
) -> None:
    segmenter = opened(f"sam3:{checkpoint('sam3', kind=kind)}")
    assert segmenter.prompts == takes
    encoding = segmenter.encode(photo)
    for prompt in (Prompt(phrase="dog"), Prompt(box=(1, 1, 90, 80))):
        if prompt.kinds <= takes:
            assert segmenter.segment(encoding, prompt).masks.shape[1:] == photo.shape[:2]
        else:
            with pytest.raises(InputError, match="holds one of its two models"):
                segmenter.segment(encoding, prompt)


def test_a_phrase_that_is_too_long(checkpoint: Make, photo: Photo, opened: Open) -> None:
    segmenter = opened(f"sam3:{checkpoint('sam3')}")
    with pytest.raises(InputError, match=r"a phrase of at most 32 tokens .*, got 42; name it shorter"):
        segmenter.segment(segmenter.encode(photo), Prompt(phrase="cup " * 40))


def test_no_words_for_words(checkpoint: Make, tmp_path: Any) -> None:
    """A checkpoint without its tokenizer says so."""
    for path in checkpoint("sam3").iterdir():
        if "token" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(WeightsError, match="a tokenizer in"):
        segmenter_of(f"sam3:{tmp_path}")


def test_nothing_stays_on_the_cpu(checkpoint: Make, photo: Photo, opened: Open) -> None:
    folder = checkpoint("sam3")
    here = opened(f"sam3:{folder}")
    prompts = [*hand_prompts(photo).values(), Prompt(phrase="dog")]
    with elsewhere():
        there = sam3.opened(str(folder), Place(CUDA), "sam3:there")
        encoding = there.encode(photo)
        found = [there.segment(encoding, prompt) for prompt in prompts]
    encoding = here.encode(photo)
    for prompt, got in zip(prompts, found, strict=True):
        assert (got.masks == here.segment(encoding, prompt).masks).all()
