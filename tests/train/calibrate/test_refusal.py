from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image

from miras.model.presets import build
from miras.train.calibrate import refusal
from tests.train.data.test_augment import sample


def test_the_fit_finds_what_decides():
    torch.manual_seed(0)
    there = (torch.arange(400) % 5 == 0).double()
    presence = torch.where(there > 0.5, 2.0, -2.0) + torch.randn(400).double() + 3
    evidence = torch.stack([presence, torch.randn(400).double()], 1)
    bias, seen, odds = refusal.fit(evidence, there).tolist()
    assert seen > 5 * abs(odds)
    assert abs(bias / seen + 3) < 0.5  # the border lies between the two, though one is four times as frequent


def test_evidence_is_collected_from_dialogues(tmp_path):
    made = sample()
    Image.fromarray(made.pixels).save(tmp_path / "p.png")
    photo = dataclasses.replace(made.photo, path=tmp_path / "p.png")
    seen = refusal.collect(build("miras-tiny"), [photo], 3)
    assert seen.evidence_N2.shape == (len(seen.there_N), 2)
    assert torch.isfinite(seen.evidence_N2).all()
    score, naming, real = seen.scored_M3.unbind(1)
    assert (naming <= 0).all() and torch.isfinite(naming).all()
    assert all(((value >= 0) & (value <= 1)).all() for value in (score, real))


def test_a_score_is_brought_to_the_iou_that_is_to_be_expected():
    torch.manual_seed(0)
    raw = 2 * torch.randn(500).double()
    naming = -torch.rand(500).double()
    real = (0.5 * raw - 1 + 0.8 * naming).sigmoid()
    found = refusal.fit_score(torch.stack([raw.sigmoid(), naming, real], 1))
    assert found == pytest.approx((0.5, -1.0, 0.8), abs=0.02)
    again = refusal.fit_score(torch.stack([real, naming, real], 1), *found)
    assert again == pytest.approx((0.5, -1.0, 0.8), abs=0.02)
    assert refusal.fit_score(torch.zeros(3, 3).double(), 0.7, 0.1, 0.2) == (0.7, 0.1, 0.2)


def test_recorded_conversations_count_for_the_score_alone(tmp_path, monkeypatch):
    made = sample()
    Image.fromarray(made.pixels).save(tmp_path / "p.png")
    photo = dataclasses.replace(made.photo, path=tmp_path / "p.png")
    model = build("miras-tiny")
    drawn = list(refusal._sampled([photo], 4, 1))
    monkeypatch.setattr(refusal, "_drawn", lambda records, count, seed: drawn if records else [])
    alone, more = refusal.collect(model, [photo], 3), refusal.collect(model, [photo], 3, recorded=[{}])
    assert torch.equal(alone.evidence_N2, more.evidence_N2) and torch.equal(alone.there_N, more.there_N)
    assert len(more.scored_M3) >= len(alone.scored_M3)
