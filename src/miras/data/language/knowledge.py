"""What things are called and what they are for: the written knowledge base.

In: the YAML files beside this module. Out: typed entries, found by label or by phrase, and which
labels may be called absent beside which. Knows no photo, no mask and no dialogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import yaml

from miras.core.errors import InputError
from miras.data.language.words import has_words

THINGS = ("clothing", "street", "things", "stuff", "food", "tools", "body", "nature", "places")
PARTS = ("parts", "car")
_FIELDS = {"group", "also", "uses", "questions", "affords"}
_RELATIONS = {"groups", "exclusive", "implied", "kinds", "never", "elsewhere", "many", "wholes", "counterparts"}
REASONS = ("what", "touches", "without")
MIN_QUESTIONS = {"parts": 4}
"""How many questions and uses an entry of a file needs at least; two elsewhere."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one label.

    phrase: as a person names it ("handle of the cup"). part, object: the two of a part, else "".
    also: other names. uses: what it is for, as an infinitive without "to" ("stay dry").
    questions: whole questions that never say the label. affords: clauses ("that can be held"). what: what it
    is, without naming it ("a curved grip"). touches: what it touches in use ("the fingers"). without: what goes
    wrong without it ("the drink would burn the hand"); these three may be "".
    """

    phrase: str
    group: str
    part: str = ""
    object: str = ""
    also: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    affords: tuple[str, ...] = ()
    what: str = ""
    touches: str = ""
    without: str = ""

    @property
    def part_of(self) -> str:
        """The object it belongs to, "" for a thing of its own."""
        return self.object


@dataclass(frozen=True)
class Knowledge:
    """All entries by phrase, and the relations between labels.

    exclusive: sets of labels and objects so near to each other that one is never called absent
    beside another. implied: label -> labels that it may contain. kinds: general label -> what the same
    thing may be called more exactly. never: labels never called absent. elsewhere: group -> groups not met in the
    same photo. many: source -> labels whose mask joins all instances. wholes: group -> name of the union of all
    annotations. counterparts: phrase -> "the other one".
    """

    entries: Mapping[str, Entry]
    exclusive: tuple[frozenset[str], ...] = ()
    implied: Mapping[str, frozenset[str]] | None = None
    never: frozenset[str] = frozenset()
    elsewhere: Mapping[str, frozenset[str]] | None = None
    many: Mapping[str, frozenset[str]] | None = None
    wholes: Mapping[str, tuple[str, ...]] | None = None
    counterparts: Mapping[str, str] | None = None
    kinds: Mapping[str, frozenset[str]] | None = None

    @cached_property
    def _by_label(self) -> dict[str, Entry]:
        """Entries by the short labels of readers: "cup handle"."""
        return {f"{e.object} {e.part}": e for e in self.entries.values() if e.object}

    def find(self, label: str, phrase: str = "") -> Entry | None:
        """The entry of an annotation, None when nothing is known of it."""
        return self.entries.get(phrase) or self.entries.get(label) or self._by_label.get(label)

    def near(self, present: Iterable[str]) -> frozenset[str]:
        """Every label and object that may hide in, or be taken for, something present; these too."""
        here = frozenset(present)
        implied = self.implied or {}
        near = [group for group in self.exclusive if group & here]
        near += [implied[name] for name in here if name in implied]
        near += [exact | {general} for general, exact in (self.kinds or {}).items() if general in here]
        near += [frozenset((general,)) for general, exact in (self.kinds or {}).items() if exact & here]
        return here.union(self.never, *near)

    def may_be(self, first: str, second: str) -> bool:
        """Whether the two labels may name the same thing: equal, other names of one, or one more exact."""
        key = (first, second)
        if key not in self._may_be:
            self._may_be[key] = self._related(first, second)
        return self._may_be[key]

    @cached_property
    def _may_be(self) -> dict[tuple[str, str], bool]:
        return {}

    def _related(self, first: str, second: str) -> bool:
        if first == second or first.endswith(f" {second}") or second.endswith(f" {first}"):
            return True
        names = [entry.also if (entry := self.find(name, name)) else () for name in (first, second)]
        kinds = self.kinds or {}
        also = second in names[0] or first in names[1]
        return also or second in kinds.get(first, ()) or first in kinds.get(second, ())

    def apart(self, groups: Iterable[str]) -> frozenset[str]:
        """Groups not met in a photo that shows all of `groups`."""
        table = self.elsewhere or {}
        found = [table.get(group, table.get("any", frozenset())) for group in groups]
        return frozenset.intersection(*found) if found else frozenset()


@lru_cache(maxsize=1)
def load() -> Knowledge:
    """The knowledge base that ships with the package, read once. Raises InputError with all faults."""
    folder = files("miras.data.language") / "knowledge"
    names = (*THINGS, *PARTS, "relations", "reasons")
    return parse({name: yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")) for name in names})


def parse(raw: Mapping[str, Any]) -> Knowledge:
    """The knowledge base from parsed YAML: file name -> its content. Raises InputError with all faults."""
    faults: list[str] = []
    relations = raw["relations"]
    faults += [f"relations: unknown key {key!r}" for key in sorted(set(relations) - _RELATIONS)]
    groups = frozenset(relations.get("groups", ()))
    entries: dict[str, Entry] = {}
    for name, record in _records(raw, faults):
        entry = _entry(name, record, groups, faults)
        if entry is None:
            continue
        if entry.phrase in entries:
            faults.append(f"{name}: {entry.phrase!r} twice")
        entries[entry.phrase] = entry
    faults += _add_reasons(entries, raw.get("reasons") or {})
    known = set(entries) | {e.object for e in entries.values()} | {alias for e in entries.values() for alias in e.also}
    faults += _relation_faults(relations, known, groups)
    if faults:
        raise InputError("a knowledge base without faults", f"{len(faults)}: {'; '.join(faults)}", "mend the YAML")
    return Knowledge(
        entries,
        tuple(frozenset(group) for group in relations.get("exclusive", ())),
        {key: frozenset(value) for key, value in relations.get("implied", {}).items()},
        frozenset(relations.get("never", ())),
        {key: frozenset(value) for key, value in relations.get("elsewhere", {}).items()},
        {key: frozenset(value) for key, value in relations.get("many", {}).items()},
        {key: tuple(value) for key, value in relations.get("wholes", {}).items()},
        _both_ways(relations.get("counterparts", ())),
        {key: frozenset(value) for key, value in relations.get("kinds", {}).items()},
    )


def _add_reasons(entries: dict[str, Entry], reasons: Mapping[str, Any]) -> list[str]:
    """Put what, touches and without into the entries. Returns the faults."""
    faults = [f"reasons: unknown label {phrase!r}" for phrase in sorted(set(reasons) - set(entries))]
    for phrase in reasons.keys() & entries.keys():
        fields = _mapping("reasons", phrase, reasons[phrase], faults)
        if set(fields) != set(REASONS) or not all(isinstance(text, str) and text.strip() for text in fields.values()):
            faults.append(f"reasons: {phrase!r} needs the texts {', '.join(REASONS)}")
            continue
        entries[phrase] = replace(entries[phrase], **fields)
        faults += [
            f"reasons: {phrase!r} says its label: {text!r}"
            for text in fields.values()
            if says_label(entries[phrase], text)
        ]
    return faults


def _records(raw: Mapping[str, Any], faults: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """(file, record) of every entry; a record of a part carries "part" and "object"."""
    for name in THINGS:
        for label, fields in (raw.get(name) or {}).items():
            yield name, {"phrase": label, **_mapping(name, label, fields, faults)}
    for name in PARTS:
        for thing, content in (raw.get(name) or {}).items():
            content = _mapping(name, thing, content, faults)
            for part, fields in _mapping(name, thing, content.get("parts"), faults).items():
                yield name, {
                    "phrase": f"{part} of the {thing}", "part": part, "object": thing, "group": content.get("group"),
                    **_mapping(name, f"{thing}: {part}", fields, faults),
                }  # fmt: skip


def _mapping(name: str, key: str, value: Any, faults: list[str]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    faults.append(f"{name}: {key!r} is {type(value).__name__}, not a mapping")
    return {}


def _entry(name: str, record: dict[str, Any], groups: frozenset[str], faults: list[str]) -> Entry | None:
    where = f"{name}: {record['phrase']!r}"
    unknown = sorted(set(record) - _FIELDS - {"phrase", "part", "object"})
    faults += [f"{where}: unknown key {key!r}" for key in unknown]
    if record.get("group") not in groups:
        faults.append(f"{where}: unknown group {record.get('group')!r}")
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("also", "uses", "questions", "affords"):
        values = record.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
            faults.append(f"{where}: {key} is not a list of texts")
            return None
        lists[key] = tuple(values)
    asked = lists["uses"] + lists["questions"]
    least = MIN_QUESTIONS.get(name, 2)
    if len(asked) < least:
        faults.append(f"{where}: {len(asked)} uses and questions, at least {least}")
    part, thing = record.get("part", ""), record.get("object", "")
    entry = Entry(
        record["phrase"], str(record.get("group")), part, thing,
        lists["also"], lists["uses"], lists["questions"], lists["affords"],
    )  # fmt: skip
    faults += [f"{where}: says its label: {text!r}" for text in asked if says_label(entry, text)]
    return entry


def says_label(entry: Entry, text: str) -> bool:
    """Whether a question gives the label away. The object of a part may be named."""
    if entry.object:
        return has_words(_without(text, entry.object), entry.part)
    return any(has_words(text, name) for name in (entry.phrase, *entry.also))


def _without(text: str, name: str) -> str:
    return text.lower().replace(name, " ")


def _relation_faults(relations: Mapping[str, Any], known: set[str], groups: frozenset[str]) -> list[str]:
    named = {label for group in relations.get("exclusive", ()) for label in group}
    named |= set(relations.get("never", ()))
    tables = [relations.get(key, {}) for key in ("implied", "kinds")]
    named |= {label for table in tables for key, values in table.items() for label in (key, *values)}
    named |= {label for values in relations.get("many", {}).values() for label in values}
    named |= {label for pair in relations.get("counterparts", ()) for label in pair}
    faults = [f"relations: unknown label {label!r}" for label in sorted(named - known)]
    grouped = set(relations.get("wholes", {})) | (set(relations.get("elsewhere", {})) - {"any"})
    grouped |= {group for values in relations.get("elsewhere", {}).values() for group in values}
    return faults + [f"relations: unknown group {group!r}" for group in sorted(grouped - groups)]


def _both_ways(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {a: b for pair in pairs for a, b in (tuple(pair), tuple(reversed(tuple(pair))))}
