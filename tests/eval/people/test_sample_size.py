"""Sample sizes: equal to statsmodels, and to what comes out when the formula is put to the test."""

from __future__ import annotations

import math

import pytest

from miras.core.errors import InputError
from miras.eval.people.sample_size import (
    correlation_within,
    design_effect,
    from_runs,
    half_width,
    paired_difference,
    raters_needed,
    sd_of_mean,
    win_share,
)
from miras.eval.runs import samples
from tests.eval.runs.test_samples import row


@pytest.mark.parametrize(("difference", "sd"), [(2, 20), (-0.3, 1), (0.1, 0.8)])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.9, 0.01)])
def test_paired_difference_as_statsmodels(difference, sd, power, alpha):
    stats = pytest.importorskip("statsmodels.stats.power")
    size = paired_difference(difference, sd, power=power, alpha=alpha)
    effect = abs(difference) / sd
    normal = stats.NormalIndPower().solve_power(effect, alpha=alpha, power=power, ratio=0)
    assert size.independent == pytest.approx(normal, rel=1e-4)  # theirs counts the far tail too
    exact = stats.TTestPower().solve_power(effect, alpha=alpha, power=power)
    assert 0 <= exact - size.independent < 4


@pytest.mark.parametrize("share", [0.55, 0.6, 0.3])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.9, 0.01)])
def test_win_share_as_statsmodels(share, power, alpha):
    stats = pytest.importorskip("statsmodels.stats.power")
    theirs = stats.normal_sample_size_one_tail(
        abs(share - 0.5), power, alpha / 2, std_null=0.5, std_alternative=math.sqrt(share * (1 - share))
    )
    assert win_share(share, power=power, alpha=alpha).independent == pytest.approx(theirs)
    assert win_share(share, ties=0.5, power=power, alpha=alpha).independent == pytest.approx(2 * theirs)


def test_half_width_as_statsmodels():
    stats = pytest.importorskip("statsmodels.stats.proportion")
    theirs = stats.samplesize_confint_proportion(0.3, 0.05, alpha=0.1)
    assert half_width(0.05, math.sqrt(0.3 * 0.7), alpha=0.1).independent == pytest.approx(theirs)


def test_photos():
    plain = paired_difference(2, 20)
    assert (plain.items, plain.photos) == (785, 785)
    grouped = paired_difference(2, 20, per_photo=4, rho=0.5)
    assert grouped.effect == 2.5 and grouped.photos == math.ceil(plain.independent * 2.5 / 4)
    assert grouped.items == 4 * grouped.photos
    assert paired_difference(2, 20, per_photo=4, rho=1).photos == plain.photos


@pytest.mark.parametrize(("each", "agreement", "expected"), [(1, 0.4, 2), (4, 0, 1), (4, 1, 2), (2, 0.5, math.sqrt(3))])
def test_sd_of_mean(each, agreement, expected):
    assert sd_of_mean(2, each, agreement) == pytest.approx(expected)


@pytest.mark.parametrize(("items", "each", "cards", "systems", "expected"),
                         [(60, 3, 40, 1, 6), (5, 3, 40, 1, 3), (60, 3, 40, 2, 12)])  # fmt: skip
def test_raters(items, each, cards, systems, expected):
    assert raters_needed(items, each, cards, systems) == expected


@pytest.mark.parametrize(
    ("groups", "expected"),
    [({"a": [1, 1], "b": [3, 3]}, 1), ({"a": [1, 3], "b": [1, 3]}, 0), ({"a": [1, 2]}, 0), ({"a": [1], "b": [2]}, 0),
     ({"1": [9, 2, 5, 8], "2": [6, 1, 3, 2], "3": [8, 4, 6, 8], "4": [7, 1, 2, 6], "5": [10, 5, 6, 9],
       "6": [6, 2, 4, 7]}, 0.166)],  # Shrout and Fleiss 1979, table 4
)  # fmt: skip
def test_correlation_within(groups, expected):
    assert correlation_within(groups) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: paired_difference(0, 1), "other than 0"),
        (lambda: paired_difference(1, 0), "above 0"),
        (lambda: paired_difference(1, 1, power=1), "power between 0 and 1"),
        (lambda: paired_difference(1, 1, per_photo=0.5), "at least 1 item a photo"),
        (lambda: win_share(0.5), "other than 0.5"),
        (lambda: win_share(0.6, ties=1), "ties from 0"),
        (lambda: half_width(0, 1), "half width"),
        (lambda: design_effect(2, 1.5), "rho from 0 to 1"),
        (lambda: sd_of_mean(1, 0, 0), "at least 1 rater"),
        (lambda: raters_needed(10, 1, 3), "more than 4 cards"),
    ],
)
def test_bad_numbers(call, says):
    with pytest.raises(InputError, match=says):
        call()


def runs(tmp_path, gaps: dict[str, list[float]]):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rows = [row(f"{photo}-{n}", photo=photo, iou=0.5 + (gap if name == "one" else 0))
                for photo, own in gaps.items() for n, gap in enumerate(own)]  # fmt: skip
        rows.append(row("empty", photo="zz", gold=0, iou=1.0))
        samples.append(tmp_path / name / samples.FILE, rows)
    return tmp_path / "one", tmp_path / "two"


def test_from_runs(tmp_path):
    found = from_runs(*runs(tmp_path, {"p": [0.1, 0.1], "q": [0.3, 0.3], "r": [0.2, 0.2]}), 5)
    assert (found["turns"], found["photos"]) == (6, 3)
    assert (
        found["mean"] == pytest.approx(20) and found["rho"] == pytest.approx(1) and found["effect"] == pytest.approx(2)
    )
    assert found["sd"] == pytest.approx(math.sqrt(80))
    plain = paired_difference(5, found["sd"]).independent
    assert found["needed"] == {"turns": math.ceil(2 * plain), "photos": math.ceil(plain)}
    again = paired_difference(found["seen"], found["sd"]).independent
    assert again * found["effect"] == pytest.approx(6)


def test_from_runs_that_tell_nothing(tmp_path):
    with pytest.raises(InputError, match="at least 3 photos"):
        from_runs(*runs(tmp_path, {"p": [0.1, 0.2]}), 5)
    (tmp_path / "same").mkdir()
    with pytest.raises(InputError, match="the same difference in all 3 turns"):
        from_runs(*runs(tmp_path / "same", {"p": [0.1], "q": [0.1], "r": [0.1]}), 5)
