"""Guesses of what comes next, so that one pass of the language model can check several ids at once.

In: the ids so far. Out: a likely continuation. A guess changes no reply: each id is still chosen from
the logits, a wrong guess is cropped from the cache. Source: prompt lookup decoding (Saxena, 2023).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

LONGEST_MATCH = 3
GUESSED = 5
"""Ids guessed at most; checking them costs little more than one id, for the weights are read once."""


def guess(ids: Sequence[int], stop_after: Collection[int], stop_before: Collection[int]) -> list[int]:
    """What followed the last time the newest ids stood in this order, the longest order first.

    The guess ends after an id of stop_after and before one of stop_before; empty when nothing fits.
    """
    for length in range(min(LONGEST_MATCH, len(ids) - 1), 0, -1):
        tail = tuple(ids[-length:])
        for at in range(len(ids) - length - 1, -1, -1):
            if tuple(ids[at : at + length]) == tail:
                found = _cut(ids[at + length : at + length + GUESSED], stop_after, stop_before)
                if found:
                    return found
    return []


def _cut(ids: Sequence[int], stop_after: Collection[int], stop_before: Collection[int]) -> list[int]:
    kept = []
    for token_id in ids:
        if token_id in stop_before:
            break
        kept.append(token_id)
        if token_id in stop_after:
            break
    return kept
