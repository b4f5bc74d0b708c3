"""What a set leaves without a label is never called absent, and what it labels in part is never called all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues.scene import Scene
from miras.data.formats.annotated import SOURCES, read
from miras.data.language import coverage, knowledge
from miras.data.photos import alike
from miras.data.photos.split import VAL_SHARES, group_of


def shown(source: str, *labels: str, vocabulary: frozenset[str] = frozenset()) -> AnnotatedPhoto:
    """A photo of squares in a row."""
    notes = []
    for number, label in enumerate(labels):
        mask = np.zeros((40, 120), np.bool_)
        mask[10:20, 20 * number : 20 * number + 10] = True
        notes.append(Annotation(label, label, encode_rle(mask)))
    photo = AnnotatedPhoto("a", Path("a.jpg"), (40, 120), tuple(notes), source, vocabulary | set(labels))
    return coverage.limited(photo) if source in coverage.COVERAGE else photo


def test_the_groups_of_the_table_are_those_of_the_knowledge_base() -> None:
    groups = {entry.group for entry in knowledge.load().entries.values()}
    for name, known in coverage.COVERAGE.items():
        assert (known.apart or frozenset()) | known.unsure <= groups, name


def test_every_set_has_its_source_and_its_rule() -> None:
    assert set(coverage.COVERAGE) == set(alike.RULES)
    assert set(coverage.COVERAGE) | set(VAL_SHARES) <= set(SOURCES)


@pytest.mark.parametrize("source", [name for name, known in coverage.COVERAGE.items() if known.looked is not None])
def test_no_label_of_a_set_of_one_kind_is_ever_absent(source: str) -> None:
    known = knowledge.load()
    groups = coverage.COVERAGE[source].apart or frozenset()
    photo = shown(source, "chair", vocabulary=frozenset({"table", "dog", "window", "car"}))
    hard, easy = Scene(photo, known).absent
    assert {known.entries[name].object or name for name in hard} <= (coverage.COVERAGE[source].looked or frozenset())
    assert {known.entries[name].group for name in easy if name in known.entries} <= groups


def test_a_folder_of_the_same_name_is_no_such_set(tmp_path: Path) -> None:
    """Somebody's own photos of furniture may be labelled for all that is in sight."""
    folder = tmp_path / "furniture"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(folder / "images" / "a.jpg")
    boxes = [[[x, 8, x + 12, 8, x + 12, 40, x, 40]] for x in (4, 44)]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "chair"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 1, "segmentation": box} for n, box in enumerate(boxes)],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    (own,), (ours,) = read(folder, "coco"), SOURCES["furniture"][1](folder, None)
    assert (own.source, own.vocabulary, own.set_name) == ("furniture", {"chair", "dog"}, "")
    assert (ours.source, ours.vocabulary, ours.set_name) == ("furniture", frozenset(), "furniture")
    phrases = [{target.phrase for target in Scene(photo, knowledge.load()).targets} for photo in (own, ours)]
    assert phrases == [{"chairs", "left chair", "right chair"}, set()]


def test_what_facades_look_for_is_absent_where_it_is_not() -> None:
    hard, easy = Scene(shown("facades", "window", vocabulary=frozenset({"car", "shop"})), knowledge.load()).absent
    assert "car" in hard and "shop" not in hard + easy


@pytest.mark.parametrize(
    ("name", "absent"), [("towel", False), ("cabinet", False), ("fruit", False), ("giraffe", True)]
)
def test_things_are_absent_and_stuff_is_not(name: str, absent: bool) -> None:
    photo = shown("coco-more", "sink", vocabulary=frozenset({"giraffe", "toilet"}))
    hard, easy = Scene(photo, knowledge.load()).absent
    assert (name in hard + easy) is absent


@pytest.mark.parametrize(
    ("source", "labels", "phrases"),
    [
        ("furniture", ("chair",), {"chair"}),
        ("furniture", ("chair", "chair"), set()),
        ("bottles", ("bottle", "bottle"), {"bottles"}),
        ("coco-more", ("chair", "chair"), {"chairs", "left chair", "right chair"}),
        ("beasts", ("horse",), {"horse"}),
        ("tools", ("pliers", "cutting pliers"), {"cutting pliers"}),  # "the pliers" may be both
        ("facades", ("vegetation", "vegetation"), {"vegetation"}),
    ],
)
def test_all_of_a_kind_is_said_only_where_all_have_a_mask(
    source: str, labels: tuple[str, ...], phrases: set[str]
) -> None:
    assert {target.phrase for target in Scene(shown(source, *labels), knowledge.load()).targets} == phrases


@pytest.mark.parametrize(
    ("source", "label", "told"),
    [("bottles", "bottle", False), ("facades", "vegetation", False), ("nails", "fingernail", True)],
)
def test_one_of_several_is_told_apart_only_where_nearly_all_have_a_mask(source: str, label: str, told: bool) -> None:
    for refers in (False, True):
        found = Scene(shown(source, label, label), knowledge.load(), refers).targets
        assert any(target.sort == "side" for target in found) is told


def test_one_mask_for_all_of_a_kind_has_both_numbers() -> None:
    (target,) = Scene(shown("beasts", "horse"), knowledge.load()).targets
    assert {"horse", "horses"} <= set(target.spoken)


@pytest.mark.parametrize(
    ("source", "first", "second", "together"),
    [
        ("tools", "000200-56e84b46", "000200-fcde5707", True),
        ("tools", "20231102145943-aa13bab7", "20231102151757-1c625d29", True),
        ("tools", "2023-08-14-15-29-26-68bb3063", "2023-08-17-12-07-01-2deea6e3", False),
        ("tools", "caliper-55-aaaaaaaa", "caliper-90-bbbbbbbb", True),
        ("tools", "caliper-55-aaaaaaaa", "caliper-54-bbbbbbbb", False),
        ("faces", "pose-01142-p0-60-l60", "pose-01240-p0-90-l90", True),
        ("faces", "pose-01142-p0-60-l60", "pose-03142-p0-60-l60", False),
        ("faces", "front-train-17", "front-test-13", True),
        ("faces", "front-train-17", "front-test-14", False),
        ("facades", "20230329-200451-667-r-scaled-0-9d30aadf", "20230329-200455-067-r-scaled-1-ca555ec5", True),
        ("facades", "img-0718-scaled-1-005f2a1d", "img-0719-scaled-1-b9a5f5df", True),
        ("facades", "img-0719-scaled-1-b9a5f5df", "img-0743-scaled-0-b9a5f5df", False),
        ("flowers", "iris-0402", "iris-0472", True),
        ("ccp", "caliper-55-aaaaaaaa", "caliper-90-bbbbbbbb", False),
    ],
)  # fmt: skip
def test_what_looks_alike_stays_together(source: str, first: str, second: str, together: bool) -> None:
    groups = {group_of(AnnotatedPhoto(id, Path("a.jpg"), (8, 8), (), source)) for id in (first, second)}
    assert (len(groups) == 1) is together


def test_a_name_stands_in_one_row() -> None:
    for rows in alike.ALIKE.values():
        names = [name for row in rows for name in row.split()]
        assert len(names) == len(set(names))
