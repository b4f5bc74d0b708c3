"""Chance that is even: photos before kinds run dry, loads, sides."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miras.eval.people.balance import choose, deal, sides
from miras.eval.rating.transcripts import Transcript
from tests.eval.runs.test_samples import row


def transcript(record: str, photo: str, kind: str) -> Transcript:
    return Transcript("A", (row(record, photo=photo, kind=kind),))


def test_one_of_each_photo_first_and_kinds_in_turn():
    transcripts = [transcript(f"{photo}{kind}", photo, kind) for photo in "pqrs" for kind in ("edit", "shift")]
    chosen = choose(transcripts, 4, random.Random(0))
    assert len({one.cluster for one in chosen}) == 4
    assert Counter(one.rows[0].kind for one in chosen) == {"edit": 2, "shift": 2}
    assert len({one.record for one in choose(transcripts, 8, random.Random(0))}) == 8
    assert choose(transcripts, 4, random.Random(1)) != chosen == choose(transcripts, 4, random.Random(0))


@given(st.integers(1, 40), st.integers(1, 7), st.data())
@settings(max_examples=60)
def test_loads_are_even(count, raters, data):
    each = data.draw(st.integers(1, raters))
    names = [str(number) for number in range(raters)]
    dealt = deal([f"r{n}" for n in range(count)], names, each, random.Random(count))
    loads = [len(own) for own in dealt.values()]
    assert max(loads) - min(loads) <= 1
    assert set(Counter(record for own in dealt.values() for record in own).values()) == {each}
    assert all(len(set(own)) == len(own) for own in dealt.values())


def test_everybody_meets_everybody():
    dealt = deal([f"r{n}" for n in range(40)], list("abcdef"), 3, random.Random(0))
    shared = [len(set(dealt[one]) & set(dealt[two])) for one, two in combinations("abcdef", 2)]
    assert max(shared) - min(shared) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_sides_are_even_for_each_pair_and_each_rater(seed):
    rng = random.Random(seed)
    dealt = deal([f"r{n}" for n in range(31)], list("abcd"), 3, rng)
    pairs = list(combinations("XYZ", 2))
    edges = [((record, pair), (rater, pair)) for rater, own in dealt.items() for record in own for pair in pairs]
    shown = sides(edges, rng)
    assert set(shown) == set(edges)
    for end in (0, 1):
        forward: Counter[object] = Counter()
        for edge, order in shown.items():
            assert sorted(order) == list(edge[0][1])
            forward[edge[end]] += 1 if order == edge[0][1] else -1
        assert max(map(abs, forward.values())) <= 1
