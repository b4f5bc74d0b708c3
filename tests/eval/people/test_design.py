"""The plan of a study: who sees what, how often, and that the ids tell nothing."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.eval.people.design import GOLD, WHOLE, design
from tests.eval.judged import make_run


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / name, 12, f"model-{name}", says=(name, name), target_share=0.2)
            for name in ("one", "two", "three")]  # fmt: skip


@pytest.mark.parametrize(("kind", "count", "groups"), [("pairwise", 2, 1), ("pairwise", 3, 3), ("rating", 3, 3)])
def test_cards(runs, kind, count, groups):
    plan = design(runs[:count], kind, items=8, raters=4, each=3, repeats=2, checks=2)
    for rater, cards in plan.raters.items():
        roles = Counter(card.role for card in cards)
        assert roles == {"item": 6 * groups, "repeat": 2, "check": 2}
        assert [card.id for card in cards] == [f"{plan.study}-{rater}-{n:03d}" for n in range(1, len(cards) + 1)]
        assert cards[0].role == "item"
        by_id = {card.id: card for card in cards}
        for place, card in enumerate(cards):
            if card.role == "repeat":
                first = by_id[card.of]
                assert (first.record, first.shown) == (card.record, card.shown[::-1])
                assert cards.index(first) < place - 1
    units = Counter((c.record, tuple(sorted(c.shown))) for c in plan.cards if c.role == "item")
    assert len(units) == 8 * groups and set(units.values()) == {3}


def test_left_and_right_are_even_for_each_rater(runs):
    plan = design(runs[:2], "pairwise", items=11, raters=5, each=3)
    left: dict[str, int] = defaultdict(int)
    for card in plan.cards:
        if card.role == "item":
            left[card.rater] += 1 if card.shown == ("A", "B") else -1
    assert max(map(abs, left.values())) <= 1


def test_a_check_has_one_right_answer_and_a_conversation_of_its_own(runs):
    plan = design(runs[:2], "pairwise", items=8, raters=3, each=2)
    for card in plan.cards:
        if card.role != "check":
            continue
        assert card.right == {"mask": (("left", "right")[card.shown.index(GOLD)],)}
        gold, whole = (plan.transcripts[code, card.record].rows[0] for code in (GOLD, WHOLE))
        assert decode_rle(whole.rle).all() and gold.rle == gold.gold_rle
        assert gold.text == whole.text == gold.gold_text
        assert card.record not in {c.record for c in plan.raters[card.rater] if c.role == "item"}
    rating = design(runs[:1], "rating", items=8, raters=3, each=2)
    assert {card.shown for card in rating.cards if card.role == "check"} == {(WHOLE,)}


def test_the_same_seed_gives_the_same_plan(runs):
    def key(seed):
        return design(runs[:2], "pairwise", items=8, seed=seed).key()

    assert key(3) == key(3)
    assert key(3)["cards"] != key(4)["cards"] and key(3)["study"] != key(4)["study"]
    assert key(3)["systems"]["B"]["model"] == "model-two"


def test_conversations_without_a_photo_are_left_out_and_named(runs):
    (runs[0].parent / "photo3.png").unlink()
    assert design(runs[:2], "rating", items=11).left_out == (f"r3: no photo at {runs[0].parent / 'photo3.png'}",)
    with pytest.raises(InputError, match="give --items 11"):
        design(runs[:2], "rating", items=12)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"each": 6}, "at most 5 answers to each item"),
        ({"items": 0}, "at least 1"),
        ({"checks": -1}, "at least 0"),
        ({"repeats": -1}, "at least 0"),
        ({"items": 13}, "13 conversations"),
        ({"kind": "stars"}, "'stars'"),
    ],
)
def test_numbers_that_do_not_fit(runs, changes, says):
    with pytest.raises(InputError, match=says):
        design(runs[:2], **{"kind": "pairwise", "items": 5, **changes})


def test_runs_that_do_not_fit(runs, tmp_path):
    other = make_run(tmp_path / "x" / "other", 12, source="elsewhere")
    with pytest.raises(InputError, match="2 to 26 runs"):
        design(runs[:1], "pairwise", items=2)
    with pytest.raises(InputError, match="each run once"):
        design([runs[0], runs[0]], "pairwise", items=2)
    with pytest.raises(InputError, match="two runs of the same data"):
        design([runs[0], runs[1], other], "pairwise", items=2)
