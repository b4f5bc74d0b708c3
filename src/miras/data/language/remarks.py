"""What people say that wants no mask, and the sentence that answers it: small talk, questions of colour and number,
other languages, nonsense.

In: a random generator, the name of a thing to speak of. Out: a `Remark`. Knows no photo. The wordings are in
knowledge/chat.yaml and knowledge/languages.yaml; held-out ones are never mixed with the others.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from miras.core.errors import InputError
from miras.data.language.phrasing import pick, vary
from miras.data.language.words import definite, plural

PLAIN_TOPICS = frozenset({"nonsense", "marks", "emoji", "language"})
"""Their texts stand as they are: neither case nor marks are varied."""
_UNACCENTED = 0.25
_LETTERS = (3, 9)


@dataclass(frozen=True)
class Remark:
    """topic: one of `topics`. text: of the user; reply: words alone."""

    topic: str
    text: str
    reply: str


@dataclass(frozen=True)
class Topic:
    """Wordings of the user, the sentences that answer them, and how often the topic is drawn."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]
    replies: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Tongue:
    """A language: names of things, and texts with {x} for one of them."""

    things: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Remarks:
    """All topics, the languages of either side, and the emoji of either side."""

    topics: Mapping[str, Topic]
    tongues: Mapping[bool, tuple[Tongue, ...]]
    emoji: Mapping[bool, tuple[str, ...]]

    def say(self, rng: np.random.Generator, thing: str, *, heldout: bool = False, topic: str = "") -> Remark:
        """A remark; thing: what it may speak of ("cup"). topic: "" draws one by weight. Raises InputError for one that
        is none."""
        if topic and topic not in self.topics:
            raise InputError(f"a topic of {', '.join(self.topics)}", repr(topic))
        name = topic or pick(rng, list(self.topics), [t.weight for t in self.topics.values()])
        kind = self.topics[name]
        text = self._foreign(rng, heldout) if name == "language" else self._text(kind, rng, thing, heldout)
        if name not in PLAIN_TOPICS:
            text = vary(text, rng)
        return Remark(name, text, pick(rng, kind.replies))

    def _text(self, kind: Topic, rng: np.random.Generator, thing: str, heldout: bool) -> str:
        template = pick(rng, kind.heldout if heldout else kind.train)
        n, m = (int(value) for value in rng.integers(2, 100, 2))
        slots = {"the": definite(thing), "bare": thing, "many": plural(thing), "n": str(n), "m": str(m)}
        return _Filler(rng, self.emoji[heldout]).vformat(template, (), slots)

    def _foreign(self, rng: np.random.Generator, heldout: bool) -> str:
        tongue = pick(rng, self.tongues[heldout])
        text = pick(rng, tongue.texts).replace("{x}", pick(rng, tongue.things))
        return unaccented(text) if rng.random() < _UNACCENTED else text


class _Filler(string.Formatter):
    """Fills {letters} and {emoji} anew at each place."""

    def __init__(self, rng: np.random.Generator, emoji: Sequence[str]) -> None:
        self.rng, self.emoji = rng, emoji

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The value of a slot."""
        if key == "emoji":
            return pick(self.rng, self.emoji)
        if key == "letters":
            return "".join(pick(self.rng, string.ascii_lowercase) for _ in range(int(self.rng.integers(*_LETTERS))))
        return super().get_value(key, args, kwargs)


@lru_cache(maxsize=1)
def load() -> Remarks:
    """The remarks that ship with the package, read once."""
    folder = files("miras.data.language") / "knowledge"
    return parse(*(yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")) for name in ("chat", "languages")))


def parse(chat: dict[str, Any], languages: dict[str, Any]) -> Remarks:
    """From parsed YAML. Raises InputError with all faults: lists missing, a held-out wording in train."""
    chat = dict(chat)
    emoji = {
        side: tuple(str(chat.pop(f"emoji_{name}")).split()) for side, name in ((False, "train"), (True, "heldout"))
    }
    faults = [f"{name}: replies are needed" for name, lists in chat.items() if not lists.get("replies")]
    for name, lists in chat.items():
        if name != "language" and not (lists.get("train") and lists.get("heldout")):
            faults.append(f"{name}: lists train and heldout are needed")
        both = {_plain(t) for t in lists.get("train", ()) if "{emoji}" not in t} & set(
            map(_plain, lists.get("heldout", ()))
        )
        faults += [f"{name}: {text!r} is both train and heldout" for text in sorted(both - {""})]
    if shared := sorted(set(emoji[False]) & set(emoji[True])):
        faults.append(f"emoji both train and heldout: {' '.join(shared)}")
    if faults:
        raise InputError("remarks without faults", "; ".join(faults), "mend chat.yaml")
    topics = {
        name: Topic(tuple(t["train"]), tuple(t["heldout"]), tuple(t["replies"]), float(t.get("weight", 1)))
        for name, t in chat.items()
    }
    return Remarks(topics, {side: tuple(_tongues(languages, side)) for side in (False, True)}, emoji)


def unaccented(text: str) -> str:
    """Latin letters without their marks, as on a keyboard that has none: "Dónde" -> "Donde"; others stay."""
    bare = "".join(
        unicodedata.normalize("NFD", char)[0] if "LATIN" in unicodedata.name(char, "") else char for char in text
    )
    return bare.translate(str.maketrans("", "", "¿¡"))


def _tongues(languages: dict[str, Any], heldout: bool) -> list[Tongue]:
    found = [(t, t["heldout" if heldout else "train"]) for t in languages["train"].values()]
    if heldout:
        found += [(t, t["heldout"]) for t in languages["heldout"].values()]
    return [Tongue(tuple(tongue["things"]), tuple(texts)) for tongue, texts in found]


def _plain(text: str) -> str:
    return text.lower().strip(" .?!,") or text
