"""The written reasons: complete, in the shape the wordings need, and never giving their label away."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files

import pytest
import yaml

from miras.data.language import knowledge
from miras.data.language.knowledge import Entry
from miras.data.language.words import has_words, head, is_plural, mirror

FIELDS = ("what", "touches", "without")
LENGTHS = {"what": (3, 9), "touches": (2, 9), "without": (4, 13)}
MASS = frozenset({"clothing", "food", "footwear", "growth", "jewellery", "legwear", "water"})
OPENERS = ("the ", "both ", "all ", "two ")
WEAK = frozenset({"a", "an", "the", "of", "to", "in", "on", "for", "and", "that", "who", "with", "is", "are", "no"})

Reasons = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def reasons() -> Reasons:
    text = (files("miras.data.language") / "knowledge" / "reasons.yaml").read_text("utf-8")
    loaded: Reasons = yaml.safe_load(text)
    assert len(re.findall(r'^"', text, re.MULTILINE)) == len(loaded), "a phrase stands twice"
    return loaded


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return dict(knowledge.load().entries)


def own_names(entry: Entry) -> set[str]:
    """What a text about the entry must not say: its phrase, its head noun, the part, its other names."""
    return {entry.phrase, head(entry.phrase), *entry.also} | ({entry.part} if entry.part else set())


def rows(reasons: Reasons, field: str) -> list[tuple[str, str]]:
    return [(phrase, fields[field]) for phrase, fields in reasons.items()]


def counted(phrase: str) -> str:
    """The noun phrase without what follows its noun: "knotted strings" of "knotted strings that stop balls"."""
    return re.split(r" (?:that|to|for|of|with|in|on|by|from|between|around|made|worn|hidden|joined|stacked) ", phrase)[
        0
    ]


def repeated(reasons: Reasons, entries: dict[str, Entry], field: str) -> list[tuple[str, str]]:
    seen = Counter((entries[phrase].group, text) for phrase, text in rows(reasons, field))
    return [key for key, times in seen.items() if times > 1]


def test_every_entry_has_the_three_texts(reasons: Reasons, entries: dict[str, Entry]) -> None:
    assert set(reasons) == set(entries)
    assert not [phrase for phrase, fields in reasons.items() if set(fields) != set(FIELDS)]
    for phrase, fields in reasons.items():
        entry = entries[phrase]
        assert (entry.what, entry.touches, entry.without) == tuple(fields[name] for name in FIELDS), phrase


@pytest.mark.parametrize("field", FIELDS)
def test_no_text_says_a_name_of_its_thing(reasons: Reasons, entries: dict[str, Entry], field: str) -> None:
    faults = []
    for phrase, text in rows(reasons, field):
        entry = entries[phrase]
        plain = text.replace(entry.object, " ") if entry.object else text
        faults += [(phrase, text, name) for name in own_names(entry) if has_words(plain, name)]
    assert not faults


@pytest.mark.parametrize("field", FIELDS)
def test_no_text_hides_the_noun_in_a_longer_word(reasons: Reasons, field: str) -> None:
    """As "upstairs" for stairs. Nouns of three letters stand in too many words."""
    faults = []
    for phrase, text in rows(reasons, field):
        noun = head(phrase)
        thing = phrase.partition(" of the ")[2]
        plain = text.replace(thing, " ") if thing else text
        faults += [(phrase, text)] if len(noun) > 3 and noun.removesuffix("s") in plain else []
    assert not faults


@pytest.mark.parametrize("field", FIELDS)
def test_texts_are_short_plain_and_unmarked(reasons: Reasons, field: str) -> None:
    least, most = LENGTHS[field]
    odd = [(p, t) for p, t in rows(reasons, field) if not least <= len(t.split()) <= most]
    odd += [(p, t) for p, t in rows(reasons, field) if not re.fullmatch(r"[a-z][a-z' -]*[a-z]", t) or "  " in t]
    assert not odd


def test_what_is_an_indefinite_noun_phrase(reasons: Reasons) -> None:
    faults = []
    for phrase, text in rows(reasons, "what"):
        noun = counted(text).split()[-1]
        if not (text.startswith(("a ", "an ")) or is_plural(noun) or noun in MASS):
            faults.append((phrase, text))
        wrong = re.match(r"a(?= [aeiou])(?! (?:uni|use|one))|an(?= [^aeiouh])", text)
        faults += [(phrase, text)] if wrong else []
    assert not faults


def test_touches_is_a_definite_noun_phrase(reasons: Reasons) -> None:
    assert not [row for row in rows(reasons, "touches") if not row[1].startswith(OPENERS)]


def test_without_is_a_conditional_clause_of_its_own(reasons: Reasons) -> None:
    faults = [row for row in rows(reasons, "without") if not has_words(row[1], "would") and " could " not in row[1]]
    faults += [row for row in rows(reasons, "without") if re.search(r"\b(it|they|them|this)\b", row[1])]
    assert not faults


@pytest.mark.parametrize("field", ["what", "without"])
def test_no_two_things_share_a_text(reasons: Reasons, field: str) -> None:
    seen = Counter(text for _, text in rows(reasons, field))
    assert not [text for text, times in seen.items() if times > 1]


def test_things_of_a_group_touch_different_things(reasons: Reasons, entries: dict[str, Entry]) -> None:
    assert not repeated(reasons, entries, "touches")


@pytest.mark.parametrize("field", ["what", "without"])
def test_parts_of_one_object_differ_in_more_than_small_words(
    reasons: Reasons, entries: dict[str, Entry], field: str
) -> None:
    """Two parts of the same object never come down to the same words of weight."""
    seen: dict[tuple[str, frozenset[str]], list[str]] = {}
    for phrase, text in rows(reasons, field):
        entry = entries[phrase]
        if entry.object:
            key = (entry.object, frozenset(text.split()) - WEAK)
            seen.setdefault(key, []).append(phrase)
    assert not [phrases for phrases in seen.values() if len(phrases) > 1]


def test_left_and_right_of_the_car_are_mirrored(reasons: Reasons) -> None:
    sides = [phrase for phrase in reasons if phrase.endswith("of the car") and "left" in phrase.split()]
    assert len(sides) == 5
    for phrase in sides:
        assert "car's own left" in reasons[phrase]["what"]
        assert {name: mirror(text) for name, text in reasons[phrase].items()} == reasons[mirror(phrase)]
    both = [text for phrase in reasons if phrase not in sides for text in reasons[phrase].values()]
    assert not [text for text in both if has_words(text, "left")]
