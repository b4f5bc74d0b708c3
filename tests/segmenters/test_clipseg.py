"""`clipseg:REPO` gives the heat of `CLIPSegForImageSegmentation` and `CLIPSegProcessor`, cut at the threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessorPil

from miras.core.errors import InputError
from miras.core.segmenter import Prompt
from miras.segmenters import clipseg
from miras.segmenters.clipseg import THRESHOLD
from miras.segmenters.registry import segmenter_of
from miras.segmenters.source import Place
from tests.elsewhere import CUDA, elsewhere
from tests.segmenters.conftest import Make, Open, Photo, passes


@pytest.mark.parametrize("phrase", ["the cup", "dog", "the left handle of the cup"])
def test_it_gives_the_heat_of_the_library(checkpoint: Make, view: Photo, phrase: str, opened: Open) -> None:
    folder = checkpoint("clipseg")
    segmenter = opened(f"clipseg:{folder}")
    got = segmenter.segment(segmenter.encode(view), Prompt(phrase=phrase))
    model = CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    processor = CLIPSegProcessor(ViTImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    inputs = processor(text=[phrase], images=[view], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    heat = F.interpolate(logits.reshape(1, 1, 32, 32), view.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    heat = heat.sigmoid().numpy()
    assert got.masks.shape == (1, *view.shape[:2]) and 0.1 < got.masks.mean() < 0.9
    assert (got.masks[0] == (heat > THRESHOLD)).all()
    assert got.score == pytest.approx(heat[heat > THRESHOLD].mean(), abs=1e-5)
    assert got.presence == pytest.approx(heat.max(), abs=1e-5)


def test_the_photo_is_encoded_once(checkpoint: Make, photo: Photo) -> None:
    segmenter: Any = segmenter_of(f"clipseg:{checkpoint('clipseg')}")
    alone = segmenter.segment(segmenter.encode(photo), Prompt(phrase="dog"))
    with passes(segmenter._model.clip.vision_model.embeddings) as towers, passes(segmenter._model.decoder) as decoders:
        first, second = segmenter.encode(photo), segmenter.encode(np.ascontiguousarray(photo[::-1]))
        for phrase in ("cup", "dog", "cat"):
            segmenter.segment(second, Prompt(phrase=phrase))
            again = segmenter.segment(first, Prompt(phrase=phrase))
            assert phrase != "dog" or (again.masks == alone.masks).all()
    assert (towers[0], decoders[0]) == (2, 2 + 6)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(box=(1, 1, 9, 9)), "got box; for points, boxes and masks take sam:REPO, sam2:REPO"),
        (Prompt(phrase="cup " * 30), "a phrase of at most 20 tokens"),
    ],
)
def test_what_it_cannot_take(checkpoint: Make, photo: Photo, prompt: Prompt, says: str, opened: Open) -> None:
    segmenter = opened(f"clipseg:{checkpoint('clipseg')}")
    with pytest.raises(InputError) as caught:
        segmenter.segment(segmenter.encode(photo), prompt)
    assert says in str(caught.value)


def test_nothing_stays_on_the_cpu(checkpoint: Make, photo: Photo, opened: Open) -> None:
    folder, prompt = checkpoint("clipseg"), Prompt(phrase="dog")
    here = opened(f"clipseg:{folder}")
    with elsewhere():
        there = clipseg.opened(str(folder), Place(CUDA), "clipseg:there")
        found = there.segment(there.encode(photo), prompt)
    assert (found.masks == here.segment(here.encode(photo), prompt).masks).all()
