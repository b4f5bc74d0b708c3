"""The tagger is fitted to what photos carry; a photo of the training is tagged by a fit that has not seen it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.model.miras import Miras
from miras.model.presets import build
from miras.train import run
from miras.train.stages import tagging
from tests.train import tiny

COLOURS = {"cup": (200, 30, 30), "handle of the fork": (30, 200, 30)}
WHOLE = encode_rle(np.ones((64, 64), bool))


def photos(folder: Path, count: int = 16) -> list[AnnotatedPhoto]:
    """Each shows one of two things, which has a colour of its own."""
    made = []
    rng = np.random.default_rng(0)
    for number in range(count):
        phrase = list(COLOURS)[number % 2]
        pixels = np.clip(np.array(COLOURS[phrase]) + rng.integers(-20, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
        file = folder / f"{number}.png"
        Image.fromarray(pixels).save(file)
        made.append(AnnotatedPhoto(str(number), file, (64, 64), (Annotation(phrase, phrase, WHOLE),), "drawn"))
    return made


def learn(model, shown, file=None):
    look = tagging.Look(model)
    return look, tagging.learn(model, look, shown, {}, 1.0, file)


def test_it_names_what_it_sees_wholes_too(tmp_path):
    model = build("miras-tiny")
    learn(model, photos(tmp_path))
    assert model.config.tags == ["cup", "fork", "handle of the fork"]
    for phrase, colour in COLOURS.items():
        features = model.encode_image([np.full((64, 64, 3), colour, np.uint8)])
        shown = {phrase, *phrase.split(" of the ")[1:]}
        assert set(model.tags(features, 0)[: len(shown)]) == shown


def test_a_photo_is_tagged_by_a_fit_without_it(tmp_path):
    """Names that all stand on photos of one fold are known to every fit but that one's."""
    model = build("miras-tiny")
    names = [name for name in (f"drawn/{number}" for number in range(60)) if tagging.fold(name) == 0][:6]
    shown = photos(tmp_path, 60)
    for photo in shown:
        if f"drawn/{photo.id}" in names:
            Image.fromarray(np.full((64, 64, 3), (20, 20, 220), np.uint8)).save(photo.path)
    shown = [
        replace(photo, annotations=(Annotation("pond", "pond", WHOLE),)) if f"drawn/{photo.id}" in names else photo
        for photo in shown
    ]
    look, folds = learn(model, shown)
    tag = tagging.Tags(look, folds)
    pond = np.full((64, 64, 3), (20, 20, 220), np.uint8)
    other = next(f"drawn/{number}" for number in range(60) if tagging.fold(f"drawn/{number}") == 1)
    assert "pond" in tag(pond, other) and "pond" not in tag(pond, names[0])


def test_names_that_too_few_photos_show_stay_as_they_were(tmp_path):
    model = build("miras-tiny")
    learn(model, photos(tmp_path))
    before = model.tagger
    few = [replace(photo, annotations=(Annotation("rose", "rose", WHOLE),)) for photo in photos(tmp_path, 4)]
    _, folds = learn(model, [*few, *photos(tmp_path, 3)])
    assert model.config.tags == ["cup", "fork", "handle of the fork", "rose"]
    for tagger in (model.tagger, *folds):
        assert torch.equal(tagger.weight_TF[:3], before.weight_TF) and torch.equal(tagger.bias_T[:3], before.bias_T)


def test_nothing_to_learn_leaves_a_model_without_tagger(tmp_path):
    model = build("miras-tiny")
    assert learn(model, photos(tmp_path, 2))[1] == [] and model.tagger is None


def test_kept_fits_are_read_again(tmp_path):
    model, file = build("miras-tiny"), tmp_path / "tags.safetensors"
    _, folds = learn(model, photos(tmp_path), file)
    again = build("miras-tiny")
    _, read = learn(again, [], file)
    assert again.config.tags == model.config.tags
    for one, other in zip((model.tagger, *folds), (again.tagger, *read), strict=True):
        assert torch.equal(one.weight_TF, other.weight_TF) and torch.equal(one.bias_T, other.bias_T)


def test_a_run_learns_tags_and_saves_them(tmp_path):
    corpus = tiny.corpus(tmp_path / "photos")
    recipe = tiny.recipe("stage2", "start.tags=true", "steps=2")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / run.TAGS).write_bytes(b"of a run that was stopped")
    run.run(recipe, corpus, tmp_path / "run")
    model = Miras.from_pretrained(tmp_path / "run" / "model")
    shown = {name for photo in corpus.photos for name in tagging.names_of(photo)}
    assert model.config.tags == sorted(shown)


@pytest.mark.parametrize(
    ("source", "label", "name", "weight"),
    [
        ("ccp", "hat", "sofa", 1.0),
        ("furniture", "bed", "bed", 1.0),
        ("furniture", "bed", "sofa", tagging.UNSURE),
        ("furniture", "bed", "elephant", 1.0),
        ("coco-more", "dog", "towel", tagging.UNSURE),
    ],
)
def test_what_may_be_there_without_a_mask_counts_little_as_absent(source, label, name, weight):
    set_name = "" if source == "ccp" else source
    photo = AnnotatedPhoto("a", Path("a.png"), (64, 64), (Annotation(label, label, WHOLE),), source, set_name=set_name)
    assert tagging.sureness(photo, [name]) == [weight]


def test_a_name_without_masks_on_most_photos_is_still_learnt():
    """Where every photo shows it and half carry it, the half that does not is nearly left out of the fit."""
    looks = torch.ones(20, 1) + torch.linspace(-0.01, 0.01, 20)[:, None]
    there = (torch.arange(20) % 2 == 0).float()[:, None]
    sure = torch.where(there > 0, 1.0, tagging.UNSURE)
    chance = [
        torch.sigmoid(looks.mean() * weight[0, 0] + bias[0]).item()
        for weight, bias in (tagging.fit(looks, there, torch.ones(20), s) for s in (None, sure))
    ]
    assert chance[0] == pytest.approx(0.5, abs=0.02)
    assert chance[1] == pytest.approx(10 / 11, abs=0.02)
