"""Guesses of what comes next, so that one pass of the language model can check several ids at once.

In: the ids so far, and what mostly follows what in the model's replies. Out: a likely continuation. A
guess changes no reply: each id is still chosen from the logits, a wrong guess is cropped from the cache.
Source: prompt lookup decoding (Saxena, 2023), with a table of n-grams beside the prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

LONGEST_MATCH = 3
GUESSED = 5
"""Ids guessed at most; checking them costs little more than one id, for the weights are read once."""
Continuations = Mapping[tuple[int, ...], int]
"""The id that mostly follows some ids (one to LONGEST_MATCH of them)."""


def guess(
    ids: Sequence[int], stop_after: Collection[int], stop_before: Collection[int], known: Continuations | None = None
) -> list[int]:
    """What probably follows; it ends after an id of stop_after and before one of stop_before.

    Each next id is what followed the last time the newest ids stood in this order, or else what is
    `known` to follow them; the longest order decides. Empty when nothing fits.
    """
    told, found = list(ids), list[int]()
    while len(found) < GUESSED:
        following = _next(told, known or {})
        if following is None or following in stop_before:
            break
        found.append(following)
        told.append(following)
        if following in stop_after:
            break
    return found


def _next(ids: list[int], known: Continuations) -> int | None:
    for length in range(min(LONGEST_MATCH, len(ids)), 0, -1):
        tail = ids[-length:]
        for at in range(len(ids) - length - 1, -1, -1):
            if ids[at] == tail[0] and ids[at : at + length] == tail:
                return ids[at + length]
        if tuple(tail) in known:
            return known[tuple(tail)]
    return None
