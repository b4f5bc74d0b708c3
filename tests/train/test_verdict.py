from __future__ import annotations

import dataclasses

import torch
from PIL import Image

from miras.model.presets import build
from miras.train import verdict
from tests.train.test_augment import sample


def test_the_fit_finds_what_decides():
    torch.manual_seed(0)
    there = (torch.arange(400) % 5 == 0).double()
    presence = torch.where(there > 0.5, 2.0, -2.0) + torch.randn(400).double() + 3
    evidence = torch.stack([presence, torch.randn(400).double()], 1)
    bias, seen, refusal = verdict.fit(evidence, there).tolist()
    assert seen > 5 * abs(refusal)
    assert abs(bias / seen + 3) < 0.5  # the border lies between the two, though one is four times as frequent


def test_evidence_is_collected_from_dialogues(tmp_path):
    made = sample()
    Image.fromarray(made.pixels).save(tmp_path / "p.png")
    photo = dataclasses.replace(made.photo, path=tmp_path / "p.png")
    evidence, there = verdict.collect(build("miras-tiny"), [photo], 3)
    assert evidence.shape == (len(there), 2)
    assert torch.isfinite(evidence).all()
