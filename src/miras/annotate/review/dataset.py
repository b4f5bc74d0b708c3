"""Review of a dataset: every conversation is checked, and each rejection says why.

In: canonical records, in order. Out: rejections (reason, detail), and a table of them. `rules` and `language` look at
one record alone; here is what needs the records accepted before it, sentence embeddings or a model. Knows no file, no
format and no generator.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from miras.annotate.review import language
from miras.annotate.review.embedding import Embed
from miras.annotate.review.rules import CHECKS, exchanges, leans, move_of, schema
from miras.data.language import knowledge
from miras.data.record import Record, regions_of

NEAR = 0.97
"""Cosine of two users' sides from which two conversations about one target are the same."""
REPEATS = 12
"""Photos about which the very same words of the user may be said."""
LEAST_FIT = 0.5


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record is not accepted. reason: one of a few names, for counting; detail: what exactly, where."""

    reason: str
    detail: str


def inspect(record: Record) -> list[Rejection]:
    """All that is wrong with a record by itself: "schema" alone, or CHECKS and the rules of `language`."""
    if fault := schema(record):
        return [Rejection("schema", fault)]
    found = [Rejection(reason, fault) for reason, check in CHECKS if (fault := check(record))]
    for index, turn in enumerate(record["turns"]):
        move = move_of(record, index | 1)
        named = next((p["type"] == "name" for p in turn["content"] if p["type"] != "mark"), False)
        least = 1 if turn["role"] == "assistant" or (move is not None and move.brief) else None
        found += [
            Rejection(f"language: {rule}", f"turn {index}: {detail}")
            for rule, detail in language.faults(turn["text"], turn["role"], least=least, named_first=named)
        ]
    return found


class Review:
    """Checks records in order, and remembers those it accepted.

    embed: texts -> unit vectors (`Sentences`); without it similarity and topic are not checked. fit: how well the
    masks fit the words, 0..1, e.g. a model's presence. repeats: photos of one wording. synonyms: whether two
    phrases may share a mask.
    """

    def __init__(
        self,
        embed: Embed | None = None,
        fit: Callable[[Record], float] | None = None,
        *,
        least_fit: float = LEAST_FIT,
        repeats: int = REPEATS,
        synonyms: Callable[[str, str], bool] | None = None,
    ) -> None:
        self._embed, self._fit = embed, fit
        self._least_fit, self._repeats, self._synonyms = least_fit, repeats, synonyms or alike
        self._groups: Counter[tuple[str, str]] = Counter()
        self._rejected: Counter[tuple[str, str, str]] = Counter()
        self._ids: set[str] = set()
        self._heard: set[tuple[str, str]] = set()
        self._wordings: Counter[str] = Counter()
        self._masks: dict[tuple[str, str], str] = {}
        self._phrases: dict[tuple[str, str], str] = {}
        self._sides: dict[tuple[str, str], list[NDArray[np.float32]]] = {}
        self.accepted = self.repeated = 0
        """Records accepted so far; those among them whose user's words were said about another photo too."""

    def check(self, record: Record) -> list[Rejection]:
        """Why the record is rejected; an empty list accepts it, and later records are held against it."""
        found = inspect(record)
        if not any(rejection.reason == "schema" for rejection in found):
            found += self._beside_others(record)
        group = (record["source"], record["kind"])
        self._groups[group] += 1
        self._rejected.update((reason, *group) for reason in {rejection.reason for rejection in found})
        if not found:
            self._remember(record)
        return found

    def sift(self, records: Iterable[Record], chunk: int = 512) -> Iterator[tuple[Record, list[Rejection]]]:
        """Each record with its rejections. Texts are embedded `chunk` records at a time: several times faster."""
        waiting = iter(records)
        while some := list(islice(waiting, chunk)):
            self.warm(some)
            for record in some:
                yield record, self.check(record)

    def warm(self, records: Iterable[Record]) -> None:
        """Embed the texts of these records in one go, where `embed` remembers them (`Sentences` does)."""
        if self._embed is not None:
            self._embed([text for record in records if not schema(record) for text in _texts(record)])

    def counts(self) -> dict[tuple[str, str, str], int]:
        """(reason, source, kind) -> records rejected for it; one with several reasons counts under each."""
        return dict(sorted(self._rejected.items()))

    def table(self) -> str:
        """A Markdown table: reasons by source and by kind; a record with several reasons counts under each."""
        sources, kinds = (sorted({group[place] for group in self._groups}) for place in (0, 1))
        rows = {"checked": self._groups}
        for (reason, source, kind), count in self._rejected.items():
            rows.setdefault(reason, Counter())[source, kind] += count
        order = sorted(rows, key=lambda name: (name != "checked", -rows[name].total(), name))
        titles = ["reason", "all", *sources, *kinds]
        lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
        for name in order:
            cells = [sum(n for group, n in rows[name].items() if group[0] == source) for source in sources]
            cells += [sum(n for group, n in rows[name].items() if group[1] == kind) for kind in kinds]
            lines.append(f"| {name} | " + " | ".join(map(str, [rows[name].total(), *cells])) + " |")
        end = f"{self.accepted} of {self._groups.total()} accepted"
        return "\n".join([*lines, "", f"{end}; {self.repeated} of them repeat what was said about another photo."])

    def _beside_others(self, record: Record) -> list[Rejection]:
        checks = (
            ("mask and phrase", self._mask_and_phrase), ("poor fit", self._poor_fit), ("off topic", self._off_topic),
            ("duplicate", self._duplicate), ("near-duplicate", self._near), ("repeated wording", self._wording),
        )  # fmt: skip
        return [Rejection(reason, fault) for reason, check in checks if (fault := check(record))]

    def _mask_and_phrase(self, record: Record) -> str:
        """In one photo a phrase has one mask, and a mask one phrase and its synonyms."""
        photo, masks, phrases = _photo(record), dict[str, str](), dict[str, str]()
        for index, region in regions_of(record):
            phrase, mask = region["phrase"].lower(), region["rle"]["counts"]
            if masks.setdefault(phrase, self._masks.get((photo, phrase), mask)) != mask:
                return f"turn {index}: {phrase!r} had another mask"
            other = phrases.setdefault(mask, self._phrases.get((photo, mask), phrase))
            if other != phrase and not self._synonyms(other, phrase):
                return f"turn {index}: {phrase!r} has the mask of {other!r}"
        return ""

    def _poor_fit(self, record: Record) -> str:
        if self._fit is None or (score := self._fit(record)) >= self._least_fit:
            return ""
        return f"{score:.2f}, at least {self._least_fit:.2f} is wanted"

    def _off_topic(self, record: Record) -> str:
        """The answer has something to do with its question, as far as embeddings can tell."""
        if self._embed is None:
            return ""
        for index, user, reply in exchanges(record):
            if _has_topic(record, index):
                vectors = self._embed([user["text"], reply["text"], *(r["phrase"] for r in reply["regions"])])
                if (score := language.topic(vectors[0], vectors[1:])) < language.OFF_TOPIC:
                    return f"turn {index}: {reply['text']!r} to {user['text']!r} ({score:.2f})"
        return ""

    def _duplicate(self, record: Record) -> str:
        if record["id"] in self._ids:
            return f"id {record['id']!r} was used before"
        return "the same words about the same photo" if (_photograph(record), _side(record)) in self._heard else ""

    def _near(self, record: Record) -> str:
        if self._embed is None or self._duplicate(record):
            return ""
        before = self._sides.get(_target(record), [])
        best = max((float(vector @ self._vector(record)) for vector in before), default=0.0)
        return f"similarity {best:.3f} with one about the same target" if best >= NEAR else ""

    def _wording(self, record: Record) -> str:
        if record["kind"] == "single" or self._duplicate(record):
            return ""
        count = self._wordings[_side(record)]
        return f"said about {count} other photos" if count >= self._repeats else ""

    def _vector(self, record: Record) -> NDArray[np.float32]:
        """The user's side as one unit vector: the mean of the turns."""
        assert self._embed is not None
        mean = self._embed([turn["text"] for turn in record["turns"][::2]]).mean(0)
        unit: NDArray[np.float32] = mean / np.linalg.norm(mean)
        return unit

    def _remember(self, record: Record) -> None:
        side = _side(record)
        self.accepted += 1
        self.repeated += self._wordings[side] > 0
        self._wordings[side] += 1
        self._ids.add(record["id"])
        self._heard.add((_photograph(record), side))
        for _, region in regions_of(record):
            phrase, mask = region["phrase"].lower(), region["rle"]["counts"]
            self._masks.setdefault((_photo(record), phrase), mask)
            self._phrases.setdefault((_photo(record), mask), phrase)
        if self._embed is not None:
            self._sides.setdefault(_target(record), []).append(self._vector(record))


def alike(first: str, second: str) -> bool:
    """Whether two phrases may name the same thing: they share the noun, or one entry of the knowledge base."""
    if language.says(first, second) or language.says(second, first):
        return True
    names = _names()
    return not names.get(first, frozenset()).isdisjoint(names.get(second, frozenset()))


@lru_cache(maxsize=1)
def _names() -> dict[str, frozenset[str]]:
    """Any name in the knowledge base -> the entries that use it."""
    names: dict[str, set[str]] = {}
    for entry in knowledge.load().entries.values():
        for name in (entry.phrase, *entry.also):
            names.setdefault(name, set()).add(entry.phrase)
    return {name: frozenset(entries) for name, entries in names.items()}


def _photo(record: Record) -> str:
    """What masks lie on: a file. One that is embedded has a name of its photograph and of its bytes."""
    if content := record.get("image_bytes"):
        return f"{_photograph(record)}/{hashlib.blake2b(content, digest_size=16).hexdigest()}"
    return record["image"] or record["image_id"]


def _photograph(record: Record) -> str:
    return f"{record['source']}/{record['image_id']}"


def _target(record: Record) -> tuple[str, str]:
    """Photo, and mask of the focus; "" without one."""
    masks = [region["rle"]["counts"] for _, region in regions_of(record) if region["phrase"] == record["focus"]]
    return _photograph(record), masks[-1] if masks else ""


def _side(record: Record) -> str:
    """All that the user says, without case and marks."""
    turns = (turn["text"].lower() for turn in record["turns"][::2])
    return "|".join(" ".join("".join(c if c.isalnum() else " " for c in text).split()) for text in turns)


def _has_topic(record: Record, index: int) -> bool:
    """Whether an exchange can be judged by itself. The model knows nothing of plates and prices: "text" cannot."""
    return record["kind"] != "text" and not leans(record, index)


def _texts(record: Record) -> Iterator[str]:
    """What `embed` is asked for."""
    for index, user, reply in exchanges(record):
        yield user["text"]
        if _has_topic(record, index):
            yield reply["text"]
            yield from (region["phrase"] for region in reply["regions"])
