from __future__ import annotations

import json
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.data.formats.indexed_png import read_labels
from miras.data.language import coverage, knowledge
from miras.data.language.knowledge import Entry, Knowledge, parse, says_label
from miras.data.language.vocabulary import coco_words, is_null, labels_of, words

GROUPS = {"groups": ["kitchen", "pet"]}


@pytest.fixture(scope="module")
def base() -> Knowledge:
    return knowledge.load()


def raw(**files: object) -> dict[str, object]:
    return {"relations": GROUPS, **files}


def test_it_loads_once(base: Knowledge) -> None:
    assert knowledge.load() is base
    parts = [entry for entry in base.entries.values() if entry.object]
    assert len(parts) > 200
    assert len({entry.object for entry in parts}) > 60


def test_parts_are_found_by_phrase_and_by_the_reader_s_label(base: Knowledge) -> None:
    entry = base.find("cup handle")
    assert entry is not None and entry is base.find("?", "handle of the cup")
    assert (entry.phrase, entry.part, entry.part_of) == ("handle of the cup", "handle", "cup")
    assert base.find("hood", "hood of the car") is base.find("car hood")
    assert base.find("flux capacitor") is None


def test_no_question_says_its_label_and_all_are_different(base: Knowledge) -> None:
    for entry in base.entries.values():
        asked = entry.uses + entry.questions
        assert not [text for text in asked if says_label(entry, text)], entry.phrase
        assert len(set(asked)) == len(asked), entry.phrase
        assert all(text.endswith((".", "?")) for text in entry.questions), entry.phrase
        assert not any(text.endswith((".", "?")) or text.startswith("to ") for text in entry.uses), entry.phrase


def test_says_label_lets_the_object_of_a_part_be_named() -> None:
    entry = Entry("board of the cutting board", "kitchen", "board", "cutting board")
    assert not says_label(entry, "What on the cutting board is flat?")
    assert says_label(entry, "Where is the board?")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"things": {"cat": {"group": "ghost", "questions": ["Who purrs?", "Who hunts?"]}}}, "unknown group 'ghost'"),
        ({"things": {"cat": {"group": "pet", "questions": ["Who purrs?"]}}}, "1 uses and questions, at least 2"),
        ({"things": {"cat": {"group": "pet", "questions": ["Which cat?", "Who purrs?"]}}}, "says its label"),
        ({"things": {"cat": {"group": "pet", "questions": "Who purrs?"}}}, "not a list of texts"),
        ({"things": {"cat": {"group": "pet", "colour": "red", "questions": ["A?", "B?"]}}}, "unknown key 'colour'"),
        ({"things": {"cat": None}}, "not a mapping"),
        ({"parts": {"cup": {"group": "kitchen", "parts": {"lid": {"uses": ["close it"]}}}}}, "at least 4"),
        ({"relations": {**GROUPS, "never": ["unicorn"]}}, "unknown label 'unicorn'"),
        ({"relations": {**GROUPS, "elsewhere": {"pet": ["sea"]}}}, "unknown group 'sea'"),
        ({"relations": {**GROUPS, "other": []}}, "unknown key 'other'"),
    ],
)
def test_a_fault_is_named(files: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse(raw(**files))


def test_all_faults_come_at_once() -> None:
    with pytest.raises(InputError, match=r"2: .*'cat'.*'dog'"):
        parse(raw(things={"cat": {"group": "pet"}, "dog": {"group": "pet"}}))


def test_near_is_present_or_exclusive_or_implied_or_never() -> None:
    base = Knowledge({}, (frozenset({"boots", "shoes"}),), {"laptop": frozenset({"keyboard"})}, frozenset({"skin"}))
    assert base.near({"shoes", "laptop"}) == {"shoes", "boots", "laptop", "keyboard", "skin"}


@pytest.mark.parametrize(
    ("first", "second", "may_be"),
    [
        ("couch", "sofa", True),
        ("chair", "office chair", True),
        ("flower", "tulip", True),
        ("tulip", "flower", True),
        ("tulip", "daisy", False),
        ("wrench", "adjustable spanner", True),
        ("cup", "bowl", False),
        ("road", "street", True),
        ("dog", "hot dog", True),  # what shares the last word is no sure counterexample
        ("handle of the cup", "handle of the mug", False),
        ("unheard of", "unheard of", True),
    ],
)
def test_what_may_name_the_same_thing(base: Knowledge, first: str, second: str, may_be: bool) -> None:
    assert base.may_be(first, second) is may_be


def test_near_goes_from_the_general_to_the_exact_and_back() -> None:
    base = Knowledge({}, kinds={"flower": frozenset({"tulip", "daisy"})})
    assert base.near({"flower"}) == {"flower", "tulip", "daisy"}
    assert base.near({"tulip"}) == {"flower", "tulip"}


def test_apart_holds_for_every_group_shown() -> None:
    base = Knowledge({}, elsewhere={"a": frozenset({"x", "y"}), "b": frozenset({"y"}), "any": frozenset({"z"})})
    assert base.apart(["a", "b"]) == {"y"}
    assert base.apart(["unheard of"]) == {"z"}
    assert base.apart([]) == frozenset()


def test_every_label_of_the_real_sets_is_known(base: Knowledge, shared_data: Path) -> None:
    missing = [
        f"{name}: {label}"
        for name in ("ccp", "camvid")
        for label in read_labels(shared_data / name / "labels.txt")
        if not is_null(label) and base.find(label) is None
    ]
    panoptic = json.loads((shared_data / "coco128" / "panoptic.json").read_text())
    missing += [f"coco: {c['name']}" for c in panoptic["categories"] if base.find(coco_words(c["name"])) is None]
    for name in coverage.COVERAGE:
        categories = json.loads((shared_data / name / "annotations.json").read_text())["categories"]
        labels = labels_of({c["id"]: c["name"] for c in categories}).values()
        missing += [f"{name}: {label}" for label in labels if label and base.find(label) is None]
    cars = json.loads((shared_data / "car-parts" / "annotations.json").read_text())
    names = [words(c["name"]) for c in cars["categories"] if c["name"] != "_background_"]
    missing += [f"car: {name}" for name in names if base.find(name, f"{name} of the car") is None]
    items = json.loads((shared_data / "instructpart" / "dev" / "data_dev.json").read_text())
    pairs = {(part["object"], part["part"]) for item in items for part in item["part_list"]}
    missing += [f"part: {t} {p}" for t, p in sorted(pairs) if base.find(f"{t} {p}", f"{p} of the {t}") is None]
    assert not missing
