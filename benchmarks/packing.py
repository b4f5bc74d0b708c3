"""The share of padding in micro-batches of recorded conversations: a row each, and packed.

    python benchmarks/packing.py DATA [--conversations 3000] [--draws 2000]

Conversations are written as `miras-mini` writes them; in place of its visual tokens those of another model may stand
(576 of `miras-7b`). Photos and their conversations are drawn as in stage 2. No weights are needed but the tokenizer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from miras.core.grammar import TEMPLATES, Encoder, render
from miras.core.recall import anew
from miras.core.types import Conversation
from miras.data.formats.records import guess_format, read_records
from miras.data.record import turn_of
from miras.model.language import registry
from miras.model.presets import configuration
from miras.train.data.packing import padding

BATCHES = {"full-80gb": (2, 2, 576), "full-2nodes": (2, 2, 576), "stage2": (4, 2, 0), "words": (3, 4, 0)}
"""Name -> photos, conversations about each, visual tokens (0: those of miras-mini)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--conversations", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=2000)
    given = parser.parse_args()
    config = configuration("miras-mini")
    language = registry.source(config.language).load()
    encoder = Encoder(language.tokenizer, config.image_tokens, config.mask_tokens, table=language.rows)
    photos: dict[str, list[int]] = {}
    for number, record in enumerate(read_records(given.data, guess_format(given.data))):
        if number == given.conversations:
            break
        talk = anew(Conversation(tuple(turn_of(turn, n) for n, turn in enumerate(record["turns"]))))
        length = len(encoder.encode(render(talk, TEMPLATES[config.template])))
        photos.setdefault(record["image_id"], []).append(length)
    every = [length for lengths in photos.values() for length in lengths]
    tokens = np.percentile(every, [5, 50, 95, 100]).astype(int).tolist()
    result: dict[str, object] = {
        "conversations": len(every), "photos": len(photos), "image_tokens": config.image_tokens,
        "tokens": dict(zip(("5%", "50%", "95%", "most"), tokens, strict=True)),
    }  # fmt: skip
    groups, rng = list(photos.values()), np.random.default_rng(0)
    for name, (count, each, visual) in BATCHES.items():
        more = visual - config.image_tokens if visual else 0
        drawn = []
        for _ in range(given.draws):
            chosen = [groups[n] for n in rng.integers(0, len(groups), count)]
            drawn.append([length + more for one in chosen for length in rng.permutation(one)[:each]])
        shares = {}
        for most in (0, 1024, 2048, 4096):
            read, empty = np.sum([padding(lengths, most) for lengths in drawn], 0)
            shares[str(most) if most else "a row each"] = round(100 * float(empty / read), 2)
        result[name] = {"photos": count, "conversations": each, "visual_tokens": visual or config.image_tokens,
                        "padding_percent": shares}  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
