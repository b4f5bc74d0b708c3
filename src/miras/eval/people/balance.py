"""Chance that is even: which conversations, who judges which, what stands left.

In: conversations, raters, a random generator. Out: choices that depend on nothing else. Knows no card and no page.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from miras.eval.rating.transcripts import Transcript

Unit = tuple[str, tuple[str, ...]]
"""(record, systems): what is judged: one system's conversation, or two of the same messages."""


def choose(transcripts: Sequence[Transcript], count: int, rng: random.Random) -> list[Transcript]:
    """`count` conversations by chance: kinds in turn, and no photo twice before every photo was taken once."""
    waiting: dict[str, list[Transcript]] = defaultdict(list)
    for transcript in rng.sample(transcripts, len(transcripts)):
        waiting[transcript.rows[0].kind].append(transcript)
    kinds = sorted(waiting)
    taken: Counter[str] = Counter()
    chosen: list[Transcript] = []
    most = 0
    while len(chosen) < count and any(waiting.values()):
        before = len(chosen)
        for kind in kinds:
            free = next((transcript for transcript in waiting[kind] if taken[transcript.cluster] <= most), None)
            if free is not None and len(chosen) < count:
                waiting[kind].remove(free)
                taken[free.cluster] += 1
                chosen.append(free)
        most += len(chosen) == before
    return chosen


def deal(records: Sequence[str], raters: Sequence[str], each: int, rng: random.Random) -> dict[str, list[str]]:
    """Rater -> conversations. Each goes to `each` raters; no two raters' loads differ by more than one.

    Among the raters with the least to do, those who shared the fewest conversations go together, so that all can be
    compared with all.
    """
    dealt: dict[str, list[str]] = {rater: [] for rater in raters}
    together: Counter[frozenset[str]] = Counter()
    for record in records:
        team: list[str] = []
        for _ in range(each):
            free = [rater for rater in raters if rater not in team]
            team.append(min(rng.sample(free, len(free)), key=lambda rater: (
                len(dealt[rater]), sum(together[frozenset((rater, other))] for other in team))))  # fmt: skip
        for rater in team:
            dealt[rater].append(record)
        together.update(frozenset(pair) for pair in combinations(team, 2))
    return dealt


def sides(
    edges: Sequence[tuple[Unit, tuple[str, tuple[str, ...]]]], rng: random.Random
) -> dict[tuple[Unit, tuple[str, tuple[str, ...]]], tuple[str, ...]]:
    """(unit, (rater, systems)) -> systems from left to right.

    By chance, and as even as can be: for each unit, and for each rater and pair of systems, the two orders differ by at
    most one. The showings of a unit are paired off, those of a rater too; along the chains that this makes, which have
    no odd ring, the order alternates.
    """
    partners: dict[int, list[int]] = defaultdict(list)
    for end in (0, 1):
        at: dict[Any, list[int]] = defaultdict(list)
        for place, edge in enumerate(edges):
            at[edge[end]].append(place)
        for places in at.values():
            rng.shuffle(places)
            for one, two in zip(places[::2], places[1::2], strict=False):
                partners[one].append(two)
                partners[two].append(one)
    swapped: dict[int, bool] = {}
    for start in range(len(edges)):
        if start in swapped:
            continue
        swapped[start] = rng.random() < 0.5
        stack = [start]
        while stack:
            place = stack.pop()
            for partner in partners[place]:
                if partner not in swapped:
                    swapped[partner] = not swapped[place]
                    stack.append(partner)
    return {edge: edge[0][1][::-1] if swapped[place] else edge[0][1] for place, edge in enumerate(edges)}
