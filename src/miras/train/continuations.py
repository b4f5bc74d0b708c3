"""Which id mostly follows which in replies: the table for guessing ahead.

In: annotated photos and a model's grammar. Out: contexts of one to three ids and the id that follows.
It holds what the dialogue sampler says most; it speeds replies up and decides none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from miras.core.grammar import IGNORE, TEMPLATES, Encoder, render
from miras.core.types import AnnotatedPhoto
from miras.data import dialogues

LONGEST = 3
LEAST_COUNT, LEAST_SHARE = 4, 0.34
"""How often a context must occur, and how often of these the id must follow, to be worth a guess."""


def continuations(
    grammar: Encoder, template: str, photos: Sequence[AnnotatedPhoto], count: int, seed: int = 0
) -> dict[tuple[int, ...], int]:
    """The table from `count` sampled dialogues, user texts and mask slots left out as what follows."""
    rng = np.random.default_rng([seed, 9])
    seen: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for index in range(count):
        photo = photos[int(rng.integers(len(photos)))]
        talk = dialogues.sample(photo, np.random.default_rng([seed, index, 9])).conversation
        encoded = grammar.encode(render(talk, TEMPLATES[template]))
        for at, label in enumerate(encoded.labels):
            if label != IGNORE:
                for length in range(1, min(LONGEST, at) + 1):
                    seen[tuple(encoded.ids[at - length : at])][label] += 1
    table = {}
    for context, following in seen.items():
        (best, times), total = following.most_common(1)[0], following.total()
        if total >= LEAST_COUNT and times >= LEAST_SHARE * total:
            table[context] = best
    return table
