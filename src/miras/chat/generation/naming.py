"""What a thing is called where the language model is in doubt: whole names are weighed, not words.

In: the logits where a name goes on, a way to read several continuations in one pass. Out: the ways to end the name,
with their chances. The likeliest continuations are read to their ends as one tree; the likeliest name counts, and the
others are what the user may have meant. Knows no session and no mask.
V vocabulary plus special tokens, N nodes of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from miras.chat.generation.decoding import ReplyRules
from miras.chat.generation.speculation import DraftToken
from miras.core.types import Alternative
from miras.model.numeric.chances import log_softmax, most, softmax
from miras.model.numeric.views import Floats

DOUBT = 0.8
"""Chance of a word of a name below which the model is in doubt."""
WIDTH = 4
"""Names that are read to their ends at most."""
MARGIN = 3.0
"""Nats below the likeliest name at which a name is given up."""
Verify = Callable[[Sequence[DraftToken]], Floats]
"""A tree of ids -> logits (N, V) after each."""


@dataclass(frozen=True)
class Name:
    """A way to end a name. ids: `[SEG]` or `[REF]` included. chance: log probability."""

    ids: tuple[int, ...]
    chance: float


@dataclass(frozen=True)
class Doubt:
    """About a name. chance: its log probability; others: what else it may be."""

    chance: float = 0.0
    others: tuple[Alternative, ...] = ()


def is_doubtful(restricted_V: Floats) -> bool:
    """Whether the likeliest id is less likely than DOUBT."""
    return float(softmax(restricted_V).max()) < DOUBT


def names(restricted_V: Floats, rules: ReplyRules, verify: Verify) -> list[Name]:
    """The likeliest ways to go on with an open name, likeliest first.

    restricted_V: logits of the next id. rules: of the reply so far.
    """
    tree: list[DraftToken] = []
    chances: list[float] = []
    paths: list[tuple[int, ...]] = []
    told = [rules]
    ended: list[int] = []
    open_nodes: list[tuple[int, Floats]] = [(-1, restricted_V)]
    while open_nodes:
        found: list[tuple[float, int, int]] = []
        for node, logits_V in open_nodes:
            logs_V = log_softmax(logits_V)
            before = chances[node] if node >= 0 else 0.0
            found += [(before + float(logs_V[token]), token, node) for token in most(logs_V, WIDTH)]
        found.sort(reverse=True)
        floor = max([*(chances[node] for node in ended), found[0][0]]) - MARGIN
        first = len(tree)
        for chance, token, node in [one for one in found if one[0] >= floor][: WIDTH - len(ended)]:
            tree.append(DraftToken(token, node))
            chances.append(chance)
            paths.append((*(paths[node] if node >= 0 else ()), token))
            told.append(_after(told[node + 1], token))
            if token in rules.ends:
                ended.append(len(tree) - 1)
        if len(tree) == first:
            break
        logits_NV = verify(tree)
        open_nodes = [
            (node, _next(told[node + 1], logits_NV[node]))
            for node in range(first, len(tree)) if node not in ended
        ]  # fmt: skip
    ended.sort(key=lambda node: -chances[node])
    return [Name(paths[node], chances[node]) for node in ended]


def _after(rules: ReplyRules, token: int) -> ReplyRules:
    later = rules.copy()
    later.push(token)
    return later


def _next(rules: ReplyRules, logits_V: Floats) -> Floats:
    """Logits of what may come next; of the one id alone where there is just one."""
    restricted_V = rules.restrict(logits_V)
    if (only := rules.only) is not None:
        forced = np.full_like(restricted_V, -np.inf)
        forced[only] = 0.0
        return forced
    return restricted_V


def shares(found: Sequence[Name]) -> list[float]:
    """Log probability of each of the names that were found."""
    chances: list[float] = log_softmax(np.array([name.chance for name in found])).tolist()
    return chances
