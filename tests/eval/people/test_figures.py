"""Figures by hand: means by conversation, wins with ties, sign test, agreement, self-consistency."""

from __future__ import annotations

import pytest

from miras.eval.people.answers import Answer, Key
from miras.eval.people.design import Card
from miras.eval.people.figures import agreement, figures, self_consistency, sign_test

NUMBER = iter(range(10**6))


def answer(record: str, rater: str, given: str, shown: tuple[str, ...] = ("A",), **card: str) -> Answer:
    value = {"left": 1.0, "equal": 0.0, "right": -1.0}.get(given)
    value = float(given) if value is None else value
    if shown == ("B", "A"):
        value = -value
    made = Card(card.pop("id", f"c{next(NUMBER)}"), rater, record, card.pop("photo", record), "edit", shown, **card)
    return Answer(made, "mask", given, value)


def key(kind: str) -> Key:
    return Key("s", kind, {"A": {}, "B": {}}, {}, {})


def test_means_weigh_conversations_not_answers():
    pytest.importorskip("scipy")
    answers = [answer("r", "1", "5"), answer("r", "2", "5"), answer("r", "3", "5"), answer("s", "1", "1"),
               answer("r", "1", "2", ("B",)), answer("t", "1", "2", ("B",)),
               answer("t", "2", "5", role="repeat"), answer("t", "2", "5", ("whole",), role="check")]  # fmt: skip
    line = figures(key("rating"), answers, 100, 0)["mask"]
    assert (
        line["systems"]["A"]["value"] == 3 and line["systems"]["A"]["n"] == 2 and line["systems"]["A"]["answers"] == 4
    )
    assert line["systems"]["B"]["value"] == 2
    assert line["differences"]["A - B"] == {"value": 3, "low": None, "high": None, "n": 1}


def test_wins_with_ties_and_sides():
    pytest.importorskip("scipy")
    ab, ba = ("A", "B"), ("B", "A")
    answers = [answer("r", "1", "left", ab), answer("r", "2", "right", ba), answer("s", "1", "equal", ab),
               answer("t", "1", "left", ba), answer("t", "2", "equal", ab), answer("u", "1", "left", ab)]  # fmt: skip
    line = figures(key("pairwise"), answers, 100, 0)["mask"]
    pair = line["pairs"]["A against B"]
    assert (pair["n"], pair["wins"], pair["ties"], pair["losses"]) == (4, 3, 2, 1)
    assert pair["share"]["value"] == pytest.approx((1 + 0.5 + 0.25 + 1) / 4)
    assert pair["sign_test"] == {"photos_won": 2, "photos_lost": 1, "photos_even": 1, "p": 1.0}
    assert line["left"]["value"] == pytest.approx(3 / 4) and line["left"]["n"] == 4


@pytest.mark.parametrize(("won", "lost", "p"), [(0, 0, None), (5, 0, 0.0625), (8, 2, 0.109375), (2, 8, 0.109375)])
def test_sign_test(won, lost, p):
    pytest.importorskip("scipy")
    assert sign_test(won, lost) == (p if p is None else pytest.approx(p))


def test_agreement_of_those_who_agree_and_of_those_who_do_not():
    same = [answer(record, rater, given) for record, given in zip("pqrs", "1345", strict=True) for rater in "12"]
    assert agreement(same, "ordinal", 20, 0)["alpha"]["value"] == pytest.approx(1)
    assert agreement(same, "ordinal", 20, 0)["weighted_kappa"] == pytest.approx(1)
    against = [answer(record, rater, "15"[(int(rater) + n) % 2]) for n, record in enumerate("pqrs") for rater in "12"]
    assert agreement(against, "ordinal", 20, 0)["alpha"]["value"] < 0
    assert agreement(against[:1], "ordinal", 20, 0)["n"] == 0


def test_asked_again():
    first, second = answer("r", "1", "4", id="a"), answer("r", "1", "2", role="repeat", of="a")
    other, same = answer("s", "2", "3", id="b"), answer("s", "2", "3", role="repeat", of="b")
    found = self_consistency([first, second, other, same, answer("t", "1", "3", role="repeat", of="gone")])
    assert found == {"n": 2, "same": 0.5, "distance": 1.0, "raters": {"1": 0.0, "2": 1.0}}
    swapped = [answer("r", "1", "left", ("A", "B"), id="c"),
               answer("r", "1", "right", ("B", "A"), role="repeat", of="c")]  # fmt: skip
    assert self_consistency(swapped)["same"] == 1
