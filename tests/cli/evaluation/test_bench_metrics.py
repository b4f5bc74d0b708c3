"""`bench metrics` on few pairs: its object, its masks, and that it would notice a wrong count."""

from __future__ import annotations

import json

import numpy as np
import pytest

from miras.cli.evaluation import bench_metrics
from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.eval.metrics import packed, reference

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools on numpy 2


def test_the_object(capsys):
    assert bench_metrics.run(pairs=130, as_json=True, seed=0) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert result["equal"] is True
    assert result["pairs"] == result["in_memory"]["pairs"] == 130
    assert result["boundary"]["pairs"] == 13
    for part in (result, result["in_memory"], result["boundary"]):
        assert part["equal"] is True
        assert part["seconds"] > 0
        assert part["ratio"] == pytest.approx(part["naive_seconds"] / part["seconds"], rel=0.2, abs=0.1)


def test_the_table(capsys):
    assert bench_metrics.run(pairs=3, as_json=False, seed=1) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    for line, name, pairs in zip(
        lines[1:], ("from run lengths", "in memory", "boundary"), ("3", "3", "1"), strict=True
    ):
        assert line.strip().startswith(name)
        assert line.split()[-2:] == ["True", pairs]


def test_a_wrong_count_is_noticed(capsys, monkeypatch):
    true = packed.areas
    monkeypatch.setattr(packed, "areas", lambda runs: true(runs) + (np.arange(len(runs)) == 1))
    assert bench_metrics.run(pairs=2, as_json=True, seed=0) == 1
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["equal"] is False


def test_pairs_are_of_many_sizes_and_overlap():
    rng = np.random.default_rng(0)
    pairs = [bench_metrics.draw_pair(rng) for _ in range(120)]
    counts = [reference.count(reference.decode(a), reference.decode(b)) for a, b in pairs]
    shares = [gold / (480 * 640) for _, _, gold in counts]
    assert decode_rle(pairs[0][0]).shape == (480, 640)
    assert min(shares) < 0.001
    assert max(shares) > 0.1
    assert 0.3 < np.mean([both > 0 for both, _, _ in counts]) < 1


def test_the_same_seed_draws_the_same_pairs():
    first, second, other = (bench_metrics.draw_pair(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == second != other


def test_bad_input():
    with pytest.raises(InputError, match="--pairs of at least 1"):
        bench_metrics.run(pairs=0, as_json=True, seed=0)
