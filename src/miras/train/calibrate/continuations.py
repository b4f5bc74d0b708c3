"""What follows what in replies: the table for guessing ahead.

In: annotated photos and a model's grammar. Out: contexts of one to three ids and the ids that follow, with
their shares. It holds what the dialogue sampler says most; it speeds replies up and decides none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from miras.core.grammar import IGNORE, TEMPLATES, Encoder, render
from miras.core.types import AnnotatedPhoto
from miras.data.dialogues import sampler
from miras.data.dialogues.manner import PLAIN, Manner

LONGEST = 3
LEAST_COUNT, LEAST_SHARE, MOST, COMMON = 4, 0.06, 4, 0.02
"""How often a context must occur, how often of these an id must follow to be worth a guess, and how many
such ids are kept. COMMON: share of the dialogues whose prompts hold an id, from which it says nothing."""
Table = dict[tuple[int, ...], tuple[tuple[int, float], ...]]


def continuations(
    grammar: Encoder, template: str, photos: Sequence[AnnotatedPhoto], count: int, seed: int = 0,
    manner: Manner = PLAIN,
) -> Table:  # fmt: skip
    """The table from `count` sampled dialogues of this manner, user texts and mask slots left out as what follows.

    Under (): ids that stand in many prompts, and how often.
    """
    rng = np.random.default_rng([seed, 9])
    seen: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    prompts: Counter[int] = Counter()
    for index in range(count):
        photo = photos[int(rng.integers(len(photos)))]
        talk = sampler.sample(
            photo,
            np.random.default_rng([seed, index, 9]),
            manner=manner,
            points=grammar.points,
            complements=grammar.complements,
        ).conversation
        encoded = grammar.encode(render(talk, TEMPLATES[template], points=grammar.points))
        prompts.update(
            {token_id for token_id, label in zip(encoded.ids, encoded.labels, strict=True) if label == IGNORE}
        )
        for at, label in enumerate(encoded.labels):
            if label != IGNORE:
                for length in range(1, min(LONGEST, at) + 1):
                    seen[tuple(encoded.ids[at - length : at])][label] += 1
    common = [(token_id, times) for token_id, times in prompts.most_common() if times >= COMMON * count]
    table = Table({(): tuple((token_id, round(times / count, 3)) for token_id, times in common)})
    for context, following in seen.items():
        total = following.total()
        likely = [(token_id, n) for token_id, n in following.most_common(MOST) if n >= LEAST_SHARE * total]
        if likely and total >= LEAST_COUNT:
            table[context] = tuple((token_id, round(n / total, 3)) for token_id, n in likely)
    return table
