"""Tags of a photo: the likeliest names.

In: chances of names and of ImageNet's classes. Out: names. Knows no network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from miras.model.numeric.chances import most
from miras.model.numeric.views import Floats

MOST = 12
"""Tags of a photo."""
LEAST = 0.1
"""Probability below which a name is no tag."""
CLASS_MOST, CLASS_LEAST = 4, 0.15
"""The same for the classes of ImageNet."""


def named(chances_T: Floats, names: Sequence[str], chance_K: Floats) -> tuple[str, ...]:
    """Names of a tagger, the likeliest first, then those of ImageNet's classes that are likely. chance_K: 0..1 for each
    class; may be empty."""
    fitted = tuple(names[place] for place in most(chances_T, MOST) if chances_T[place] >= LEAST)
    known = classes().names
    likely = most(chance_K, CLASS_MOST) if len(chance_K) == len(known) else []
    seen = dict.fromkeys(known[place] for place in likely if chance_K[place] >= CLASS_LEAST)
    return (*fitted, *(name for name in seen if name not in fitted))


@dataclass(frozen=True)
class Classes:
    """The thousand classes. names: what a person calls each. words: a word or phrase, the classes it covers: names and
    synonyms of one class, and words above several."""

    names: tuple[str, ...]
    words: tuple[tuple[str, tuple[int, ...]], ...]


@lru_cache(maxsize=1)
def classes() -> Classes:
    """From WordNet 3.0, see `benchmarks/imagenet_names.py`."""
    table = json.loads((files("miras.model") / "imagenet.json").read_text(encoding="utf-8"))
    return Classes(tuple(table["names"]), tuple((word, tuple(covered)) for word, covered in table["words"]))
