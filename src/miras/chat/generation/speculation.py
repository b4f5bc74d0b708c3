"""Guesses of what comes next, so that one pass of the language model can check several ids at once.

In: the ids so far, and what mostly follows what in the model's replies. Out: likely continuations, as a
tree. A guess changes no reply: each id is still chosen from the logits, wrong guesses leave the cache.
Sources: prompt lookup decoding (Saxena, 2023), with a table of n-grams beside the prompt; several
continuations checked at once as in SpecInfer (Miao et al., 2024).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

LONGEST_MATCH = 3
DRAFTED = 8
"""Ids guessed at most; checking them costs little more than one id, for the weights are read once."""
UNLIKELY = 0.05
"""Chance below which a guess is not worth its pass."""
REPEATED = (0.0, 0.5, 0.7)
"""Chance that what followed one, two, three ids the last time they were said follows again."""
COPIED, MESSAGE = 0.6, 24
"""Chance that a phrase begins with one of the ids said last, and how many of them count."""
CLOSED = 0.4
"""Chance that a phrase ends after a word of which nothing else is known."""
Continuations = Mapping[tuple[int, ...], Sequence[tuple[int, float]]]
"""What follows some ids (one to LONGEST_MATCH of them), and how often of all times. Under (): ids that stand in
many prompts and so say nothing about what is asked for."""


@dataclass(frozen=True)
class DraftToken:
    """An id that may follow guess number `parent`, or what is said already (-1)."""

    token_id: int
    parent: int


@dataclass(frozen=True)
class Phrase:
    """The ids between which a phrase stands. recalls: another id that closes it, -1 for none."""

    opens: int
    closes: int
    recalls: int = -1

    @property
    def ends(self) -> tuple[int, int]:
        """The ids after which a mask comes first."""
        return self.closes, self.recalls


def draft_tokens(
    ids: Sequence[int], phrase: Phrase, never: Collection[int], known: Continuations | None = None, most: int = DRAFTED
) -> list[DraftToken]:
    """The likeliest continuations, likeliest first, each after its parent.

    None goes on after `phrase.ends` (the mask comes first) or with an id of `never`. What follows is what
    is `known` to follow the newest ids, the longest order of them; and what followed the last time they
    stood in this order. A phrase may begin with any rare word of the newest message.
    """
    told, found = list(ids), list[DraftToken]()
    waiting: list[tuple[float, int, int, tuple[int, ...]]] = []
    count = 0

    def open_after(parent: int, path: tuple[int, ...], chance: float) -> None:
        nonlocal count
        for token_id, share in _following([*told, *path], phrase, known or {}, said=told).items():
            if token_id not in never and chance * share >= UNLIKELY:
                count += 1
                heapq.heappush(waiting, (-chance * share, count, parent, (*path, token_id)))

    open_after(-1, (), 1.0)
    while waiting and len(found) < most:
        chance, _, parent, path = heapq.heappop(waiting)
        found.append(DraftToken(path[-1], parent))
        if path[-1] not in phrase.ends:
            open_after(len(found) - 1, path, -chance)
    return found


def _following(ids: list[int], phrase: Phrase, known: Continuations, said: list[int]) -> dict[int, float]:
    """Chances of the next id."""
    chances: dict[int, float] = {}
    for length in range(min(LONGEST_MATCH, len(ids)), 0, -1):
        if tuple(ids[-length:]) in known:
            chances = dict(known[tuple(ids[-length:])])
            break
    if ids and ids[-1] == phrase.opens:
        return _copied(chances, said, {token_id for token_id, _ in known.get((), ())})
    for length in range(min(LONGEST_MATCH, len(ids)), 1, -1):
        again = _last_time(said, ids[-length:])
        if again is not None:
            chance = REPEATED[length - 1]
            chances = {token_id: (1 - chance) * share for token_id, share in chances.items()}
            chances[again] = chances.get(again, 0.0) + chance
            break
    if _open(ids, phrase):
        chances[phrase.closes] = max(CLOSED, chances.get(phrase.closes, 0.0))
    return chances


def _copied(chances: dict[int, float], said: list[int], common: set[int]) -> dict[int, float]:
    """First words of phrases: those of the newest message before all others."""
    words = [token_id for token_id in dict.fromkeys(said[-MESSAGE:]) if token_id not in common]
    copied = {token_id: (1 - COPIED) * share for token_id, share in chances.items()}
    for token_id in words:
        copied[token_id] = copied.get(token_id, 0.0) + COPIED / len(words)
    return copied


def _last_time(said: list[int], tail: list[int]) -> int | None:
    for at in range(len(said) - len(tail) - 1, -1, -1):
        if said[at] == tail[0] and said[at : at + len(tail)] == tail:
            return said[at + len(tail)]
    return None


def _open(ids: list[int], phrase: Phrase) -> bool:
    for token_id in reversed(ids):
        if token_id in (phrase.opens, *phrase.ends):
            return token_id == phrase.opens
    return False
