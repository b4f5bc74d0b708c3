"""Figures of judges, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from miras.core.agreement import krippendorff_alpha
from miras.eval.rating.criteria import CRITERIA
from miras.eval.rating.figures import (  # fmt: skip
    Rating,
    Verdict,
    difference_figures,
    judge_agreement,
    mean_figure,
    pair_figures,
    people_agreement,
    rating_figures,
)
from miras.eval.rating.sheets import Score

DRAWS = 200


def ratings(table: dict[str, list[int]], run: str = "A", photos: int = 100) -> list[Rating]:
    """Judge -> score of each conversation, the same by every criterion."""
    return [
        Rating(run, f"r{i}", f"p{i % photos}", "shift" if i % 2 else "edit", judge, dict.fromkeys(CRITERIA, score))
        for judge, scores in table.items() for i, score in enumerate(scores)
    ]  # fmt: skip


def test_means_counts_and_kinds() -> None:
    found = rating_figures(ratings({"x": [1, 2, 5], "y": [3, 4, 5]}), DRAWS, 0)["A"]
    x = found["judges"]["x"]["relevance"]
    assert x["value"] == pytest.approx(8 / 3) and x["counts"] == [1, 1, 0, 0, 1] and x["n"] == 3
    assert x["low"] <= x["value"] <= x["high"]
    assert found["all"]["coherence"]["value"] == pytest.approx((2 + 3 + 5) / 3)
    assert found["kinds"]["edit"]["relevance"]["value"] == pytest.approx((2 + 5) / 2)
    assert found["kinds"]["shift"]["relevance"]["n"] == 1


def test_a_conversation_that_one_judge_left_out_counts_by_the_other() -> None:
    both = ratings({"x": [1, 5], "y": [3]})
    assert rating_figures(both, DRAWS, 0)["A"]["all"]["relevance"]["value"] == pytest.approx((2 + 5) / 2)


def test_intervals_follow_the_photos_not_the_conversations() -> None:
    scores = [1] * 50 + [5] * 50
    wide = mean_figure(scores, [f"p{i // 50}" for i in range(100)], 1000, 0)
    narrow = mean_figure(scores, [f"p{i}" for i in range(100)], 1000, 0)
    assert (wide["low"], wide["high"]) == (1, 5)
    assert narrow["high"] - narrow["low"] < 1.0
    assert mean_figure([3, 4], ["p", "p"], 100, 0) == {"value": 3.5, "low": None, "high": None}
    assert mean_figure([], [], 100, 0)["value"] is None


def test_intervals_cover_the_truth() -> None:
    """Nominal 95%: 40 photos of 3 conversations each, 200 times; 95% +- 4% is two and a half standard errors."""
    rng, hits = np.random.default_rng(1), 0
    for trial in range(200):
        values = (rng.normal(3, 1, 40)[:, None] + rng.normal(0, 0.5, (40, 3))).ravel()
        figure = mean_figure(values.tolist(), [f"p{i // 3}" for i in range(120)], 400, trial)
        hits += figure["low"] <= 3 <= figure["high"]
    assert 0.90 <= hits / 200 <= 0.99


def test_agreement_of_judges_is_alpha() -> None:
    table = {"x": [1, 2, 3, 4, 5, 1, 2], "y": [1, 2, 3, 4, 4, 2, 2], "z": [2, 2, 3, 5, 5]}
    found = judge_agreement(ratings(table), DRAWS, 0)["coherence"]
    matrix = [table["x"], table["y"], [*table["z"], np.nan, np.nan]]
    assert found["value"] == pytest.approx(krippendorff_alpha(matrix, "ordinal"))
    assert found["n"] == 7 and found["low"] < found["value"] <= found["high"]
    same = judge_agreement(ratings({"x": [1, 2, 3], "y": [1, 2, 3]}), DRAWS, 0)["relevance"]
    assert same["value"] == 1
    constant = judge_agreement(ratings({"x": [3, 3], "y": [3, 3]}), DRAWS, 0)["relevance"]
    assert constant["value"] is None, "without variation nothing can be said"


def test_agreement_with_people() -> None:
    judged = ratings({"x": [1, 2, 3, 4, 5], "y": [5, 4, 3, 2, 1]})
    people = [Score("A", f"r{i}", "relevance", who, i + 1) for i in range(5) for who in ("ann", "bob")]
    found = people_agreement(judged, people, DRAWS, 0)["relevance"]
    assert found["people"]["value"] == found["x"]["alpha"]["value"] == 1
    assert found["y"]["alpha"]["value"] < -0.5
    assert (found["x"]["bias"]["value"], found["all"]["bias"]["value"]) == (0, 0)
    strict = people_agreement(ratings({"x": [1, 1, 2, 3, 4]}), people, DRAWS, 0)["relevance"]
    assert strict["x"]["bias"]["value"] == pytest.approx(-0.8)
    nobody = people_agreement(judged, people, DRAWS, 0)["coherence"]
    assert nobody["people"] == {"value": None, "low": None, "high": None, "n": 0}


@pytest.mark.parametrize(
    ("forward", "backward", "value"),
    [
        ("first", "second", 1),
        ("second", "first", -1),
        ("first", "first", 0),
        ("second", "second", 0),
        ("tie", "tie", 0),
        ("first", "tie", 0),
        ("tie", "first", 0),
    ],
)
def test_a_win_only_when_both_orders_agree(forward: str, backward: str, value: int) -> None:
    assert Verdict("r", "p", "x", forward, backward).value == value


def test_wins_and_position_bias() -> None:
    fair = [("first", "second")] * 3 + [("second", "first")] + [("tie", "tie")] * 2
    biased = [("first", "first")] * 5 + [("first", "second")]
    verdicts = [
        Verdict(f"r{i}", f"p{i}", judge, *pair)
        for judge, pairs in (("fair", fair), ("biased", biased)) for i, pair in enumerate(pairs)
    ]  # fmt: skip
    found = pair_figures(verdicts, DRAWS, 0)
    one, two = found["judges"]["fair"], found["judges"]["biased"]
    assert (one["n"], one["wins"], one["ties"], one["losses"]) == (6, 3, 2, 1)
    assert one["win_rate"]["value"] == pytest.approx(4 / 6)
    assert one["position"]["first"]["value"] == pytest.approx(4 / 8) and one["position"]["flipped"] == 0
    assert (two["wins"], two["ties"]) == (1, 5)
    assert two["position"]["first"]["value"] == pytest.approx(11 / 12)
    assert two["position"]["flipped"] == pytest.approx(5 / 6)
    assert (found["all"]["wins"], found["all"]["losses"]) == (4, 1)
    assert found["agreement"]["n"] == 6


def test_the_difference_is_over_conversations_that_both_have() -> None:
    both = ratings({"x": [5, 4, 3]}) + ratings({"x": [3, 3]}, "B")
    found = difference_figures(both, DRAWS, 0)["relevance"]
    assert found["value"] == pytest.approx(1.5) and found["n"] == 2
