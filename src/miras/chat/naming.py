"""What a thing is called where the language model is in doubt: it looks before it names.

In: the logits where a name goes on, its words so far, a way to read several continuations in one pass. Out: the ids
that end the name. The likeliest continuations are read to their ends as one tree; of the names that result, the one
counts whose chance and presence (does the photo show it?) weigh most. The language model is small and sees a few visual
tokens; the presence head sees all pixels. Knows no session and no mask.
V vocabulary plus special tokens, N nodes of the tree, S span tokens, E = layers * D.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miras.chat.decoding import ReplyRules
from miras.chat.lookahead import Guess

DOUBT = 0.8
"""Chance of a word of a name below which the model is in doubt."""
WIDTH = 4
"""Names that are read to their ends at most."""
MARGIN = 3.0
"""Nats below the likeliest name at which a name is given up."""
PRESENCE = 0.5
"""Nats that a logit of presence weighs. Chosen on calibration photos (docs/log.md, "Seventh session")."""
Look = Callable[[Sequence[Guess]], tuple[Tensor, Tensor]]
"""A tree of ids -> logits (N, V) after each and states (N, E) of each."""


@dataclass(frozen=True)
class Name:
    """A way to end a name. ids: `[SEG]` included. chance: log probability. states_NE: of these ids."""

    ids: tuple[int, ...]
    chance: float
    states_NE: Tensor


def is_doubtful(restricted_V: Tensor) -> bool:
    """Whether the likeliest id is less likely than DOUBT."""
    return float(restricted_V.float().softmax(0).max()) < DOUBT


def names(restricted_V: Tensor, rules: ReplyRules, look: Look) -> list[Name]:
    """The likeliest ways to go on with an open name, likeliest first.

    restricted_V: logits of the next id. rules: of the reply so far.
    """
    tree: list[Guess] = []
    chances: list[float] = []
    paths: list[tuple[int, ...]] = []
    told = [rules]
    ended: list[int] = []
    open_nodes: list[tuple[int, Tensor]] = [(-1, restricted_V)]
    states_NE = restricted_V.new_zeros(0)
    while open_nodes:
        found: list[tuple[float, int, int]] = []
        for node, logits_V in open_nodes:
            best = logits_V.float().log_softmax(0).topk(WIDTH)
            before = chances[node] if node >= 0 else 0.0
            found += [(before + float(value), int(token), node) for value, token in zip(*best, strict=True)]
        found.sort(reverse=True)
        floor = max([*(chances[node] for node in ended), found[0][0]]) - MARGIN
        first = len(tree)
        for chance, token, node in [one for one in found if one[0] >= floor][: WIDTH - len(ended)]:
            tree.append(Guess(token, node))
            chances.append(chance)
            paths.append((*(paths[node] if node >= 0 else ()), token))
            told.append(_after(told[node + 1], token))
            if token == rules.seg:
                ended.append(len(tree) - 1)
        if len(tree) == first:
            break
        logits_NV, states_NE = look(tree)
        open_nodes = [
            (node, _next(told[node + 1], logits_NV[node]))
            for node in range(first, len(tree)) if node not in ended
        ]  # fmt: skip
    ended.sort(key=lambda node: -chances[node])
    return [Name(paths[node], chances[node], states_NE[_rows(tree, node)]) for node in ended]


def _after(rules: ReplyRules, token: int) -> ReplyRules:
    later = rules.copy()
    later.push(token)
    return later


def _next(rules: ReplyRules, logits_V: Tensor) -> Tensor:
    """Logits of what may come next; of the one id alone where there is just one."""
    restricted_V = rules.restrict(logits_V)
    if (only := rules.only) is not None:
        forced = torch.full_like(restricted_V, -torch.inf)
        forced[only] = 0.0
        return forced
    return restricted_V


def _rows(tree: Sequence[Guess], node: int) -> list[int]:
    """The nodes from the root to a node."""
    rows = [node]
    while tree[rows[-1]].parent >= 0:
        rows.append(tree[rows[-1]].parent)
    return rows[::-1]


def chosen(found: Sequence[Name], phrases: Sequence[str], message: str, presence: Callable[[Name], float]) -> Name:
    """The name that counts. phrases: what each says in full; message: the user's. What the user names stays."""
    if len(found) == 1 or is_named(phrases[0], message):
        return found[0]
    return max(found, key=lambda name: name.chance + PRESENCE * presence(name))


def is_named(phrase: str, message: str) -> bool:
    """Whether a message holds the words of a phrase, small ones aside, in any order."""
    small = {"of", "the", "a", "an"}
    return _words(phrase) - small <= _words(message)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
