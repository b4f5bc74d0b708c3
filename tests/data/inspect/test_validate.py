"""Validation: a good dataset is silent; every fault is found, alone, in its place."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.masks import decode_rle, encode_rle
from miras.data.dialogues.sampler import askable, sample
from miras.data.formats.annotated import read
from miras.data.inspect.validate import Fault, canonical, validate
from miras.data.record import record_of, regions_of
from tests.data.made import SIZE, singles, talk


def test_good_records_are_silent(tmp_path: Path) -> None:
    assert list(validate([talk(tmp_path / "a.jpg"), *singles(tmp_path)])) == []


def test_sampled_dialogues_are_silent(shared_data: Path) -> None:
    rng = np.random.default_rng(3)
    photos = [p for p in read(shared_data / "coco128", "coco-panoptic") if askable(p)]
    records = []
    for number in rng.choice(len(photos), 40, replace=False):
        photo = photos[number]
        example = sample(photo, rng)
        records.append(
            record_of(example, id=str(number), image_id=str(photo.path), image=photo.path.as_posix(), size=photo.size)
        )
    assert list(validate(records)) == []


def region(**changes: Any) -> Callable[[Any], None]:
    return lambda record: record["turns"][1]["regions"][0].update(changes)


def turn(index: int, **changes: Any) -> Callable[[Any], None]:
    return lambda record: record["turns"][index].update(changes)


def rle(mask: Any) -> dict[str, Any]:
    return {"size": list(mask.shape), "counts": encode_rle(mask)["counts"]}


def cut(record: Any, *turns: int) -> None:
    record["turns"] = [record["turns"][index] for index in turns]


def piece(kind: str, text: str, of: int = 0) -> dict[str, Any]:
    return {"type": kind, "text": text, "region": of}


FULL, EMPTY = np.ones(SIZE, np.bool_), np.zeros(SIZE, np.bool_)
FAULTS: list[tuple[str, Callable[[Any], None], list[tuple[int | None, int | None, str]]]] = [
    ("no photo", lambda r: r.update(image="/gone.jpg"), [(None, None, "the photo, got no file")]),
    ("no photo named", lambda r: r.update(image=""), [(None, None, '"image", got an empty'), (None, None, "no file")]),
    ("another size", lambda r: r.update(height=25), [
        (None, None, "a photo as noted, of 32 x 25 pixels, got 32 x 24"),
        (1, 1, "a mask of 32 x 25 pixels, got 32 x 24"), (3, 2, "got 32 x 24")]),
    ("no size", lambda r: r.update(height=0, width=0, turns=r["turns"][4:], focus=""), [
        (None, None, "height and width from 1, got 0 and 0"), (None, None, "got 32 x 24")]),
    ("kind", lambda r: r.update(kind="chat"), [(None, None, "a kind of progressive")]),
    ("split", lambda r: r.update(split="dev"), [(None, None, "a split of train, val, test, or none, got 'dev'")]),
    ("hops", lambda r: r.update(hops=0), [(None, None, "hops from 1, got 0")]),
    ("no id", lambda r: r.update(id=""), [(None, None, '"id", got an empty one')]),
    ("no turns", lambda r: r.update(turns=[], focus=""), [(None, None, "a conversation, got no turns")]),
    ("a user at the end", lambda r: cut(r, 0, 1, 2, 3, 4), [(4, None, "reply at the end, got the user's turn")]),
    ("roles", turn(4, role="assistant"), [(4, None, "role user, got 'assistant'")]),
    ("unknown role", turn(4, role="system"), [(4, None, "role user, got 'system'")]),
    ("no words", turn(4, text=" ", content=[piece("words", " ")]), [(4, None, "words, got an empty utterance")]),
    ("user's text", turn(4, text="And the cat?"), [(4, None, "its content, 'And the dog?', got 'And the cat?'")]),
    ("reply's text", turn(1, text="On the block ."), [(1, None, "its content, 'On the block.'")]),
    ("a user who names", turn(4, content=[piece("name", "And the dog?", 3)]), [
        (4, None, "a user's turn of words alone, got name; 0 regions"),
        (4, None, "names of regions of this turn or an earlier one")]),
    ("piece", turn(5, content=[piece("link", "x")]), [(5, None, "pieces of words, name, mark, got 'link'")]),
    ("mark", turn(5, content=[piece("mark", "xor")]), [(5, None, "marks of replace, add, cut, undo, reject")]),
    ("broken run lengths", region(rle={"size": [24, 32], "counts": "\x7f"}), [(1, 1, "run lengths")]),
    ("runs too short", region(rle={"size": [24, 33], "counts": rle(FULL)["counts"]}), [(1, 1, "runs that fill")]),
    ("empty mask", region(rle=rle(EMPTY)), [(1, 1, "a mask with selected pixels, got an empty one")]),
    ("mask of another size", region(rle=rle(FULL[:20])), [(1, 1, "a mask of 32 x 24 pixels, got 32 x 20")]),
    ("operator", region(operator="undo"), [(1, 1, "an operator of replace, add, cut, except, got 'undo'")]),
    ("phrase", region(phrase="stone"), [(1, 1, "the region's phrase 'stone', got 'block'")]),
    ("empty phrase", lambda r: (region(phrase=" ")(r), turn(1, text="On the.", content=[
        piece("words", "On the"), piece("name", " ", 1), piece("words", ".")])(r)), [(1, 1, "a phrase, got an empty")]),
    ("named twice", turn(1, text="block block", content=[piece("name", "block", 1)] * 2), [
        (1, 1, "to be named once, got 2 times")]),
    ("never named", turn(1, content=[piece("words", "On the block.")]), [(1, 1, "to be named once, got 0 times")]),
    ("ids from 1", lambda r: (region(id=7)(r), r["turns"][1]["content"][1].update(region=7)), [
        (1, 7, "region id 1, in reading order, got 7")]),
    ("ids in order", lambda r: (r["turns"].__setitem__(slice(0, 4), [*r["turns"][2:4], *r["turns"][:2]]),
                                r.update(focus="block")), [
        (1, 2, "region id 1, in reading order, got 2"), (3, 1, "region id 2, in reading order, got 1")]),
    ("focus of an earlier step", lambda r: r.update(focus="block"), [
        (None, None, "the focus 'block' in the last selection, got 'hole'")]),
    ("focus of nothing", lambda r: cut(r, 4, 5), [(None, None, "a region for the focus 'hole', got none selected")]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_each_fault_is_found_in_its_place(
    tmp_path: Path, change: Callable[[Any], None], expected: list[tuple[int | None, int | None, str]]
) -> None:
    good = talk(tmp_path / "a.jpg")
    bad: Any = copy.deepcopy({**good, "id": "bad"})
    bad["image_id"] = "other"
    change(bad)
    found = list(validate([good, bad, {**good, "id": "last"}]))
    assert [(fault.number, fault.turn, fault.region) for fault in found] == [(1, t, r) for t, r, _ in expected]
    for fault, (_, _, said) in zip(found, expected, strict=True):
        assert said in fault.what


def test_faults_between_records(tmp_path: Path) -> None:
    one = talk(tmp_path / "a.jpg")
    found = list(validate([one, {**one, "split": "val"}, {**one, "id": "b", "split": "test"}, {**one, "id": "c"}]))
    assert [(fault.number, fault.record) for fault in found] == [(1, "talk"), (1, "talk"), (2, "b")]
    assert "an id of its own" in found[0].what
    assert "photograph 'a' in 'val' and before in ''" in found[1].what


def test_an_undo_takes_the_focus_one_step_back(tmp_path: Path) -> None:
    record: Any = talk(tmp_path / "a.jpg")
    undo = {
        "role": "assistant",
        "text": "Done.",
        "content": [piece("mark", "undo"), piece("words", "Done.")],
        "regions": [],
    }
    record["turns"] = [*record["turns"][:5], undo]
    assert [fault.what for fault in validate([{**record, "focus": "block"}])] == []
    (fault,) = validate([{**record, "focus": "hole"}])
    assert "the focus 'hole' in the last selection, got 'block'" in fault.what


def test_what_the_source_lacks_by_design_is_no_fault(tmp_path: Path) -> None:
    record: Any = talk(tmp_path / "a.jpg")
    cut(record, 4, 5)
    record |= {"image": "/gone.jpg", "height": 0, "width": 0, "meta": {"without": ["photo", "mask"]}}
    assert list(validate([record])) == []
    assert len(list(validate([{**record, "meta": {"without": ["photo"]}}]))) == 1


def test_photos_need_not_be_opened_and_may_be_embedded(tmp_path: Path) -> None:
    record = talk(tmp_path / "a.png")
    gone: Any = {**record, "image": "/gone.jpg"}
    assert list(validate([gone], photos=False)) == []
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: stored as 24 x 32, seen as 32 x 24
    Image.new("RGB", SIZE).save(buffer, "JPEG", exif=exif)
    assert list(validate([{**gone, "image_bytes": buffer.getvalue()}])) == []
    (fault,) = validate([{**gone, "image_bytes": b"text"}])
    assert "expected a photo" in fault.what and "the bytes, which is not one" in fault.what


def test_a_fault_reads_as_one_line() -> None:
    assert str(Fault(3, "a\nb", "x", 2, 1)) == "record 3 ('a\\nb'), turn 2, region 1: x"
    assert str(Fault(3, "a", "x")) == "record 3 ('a'): x"


def test_one_code_for_each_mask(tmp_path: Path) -> None:
    record = talk(tmp_path / "t.jpg")
    (_, region), *_ = regions_of(record)
    plain = decode_rle(dict(region["rle"]))
    columns = np.flatnonzero(np.diff(np.r_[0, plain.T.ravel(), 0]))
    runs = np.diff(np.r_[0, columns, plain.size]).tolist()
    expected = json.dumps(record["turns"])
    region["rle"]["counts"] = runs  # type: ignore[typeddict-item]
    clean, faults = canonical(record)
    assert faults == []
    assert json.dumps(clean["turns"]) == expected
    region["rle"]["counts"] = [1]  # type: ignore[typeddict-item]
    assert len(canonical(record)[1]) == 1


def test_what_is_meant_again_is_no_fault(tmp_path: Path) -> None:
    """A later turn may name an earlier region, by other words; the focus may be that name, or what was inverted."""
    record: Any = copy.deepcopy(talk(tmp_path / "a.jpg"))
    region = record["turns"][1]["regions"][0]
    for place, content, text in (
        (1, [piece("mark", "cut"), piece("name", "that", region["id"])], "that"),
        (3, [piece("mark", "except"), piece("words", "Inverted.")], "Inverted."),
    ):
        del place
        ask = {"role": "user", "text": "and", "content": [piece("words", "and")], "regions": []}
        record["turns"] += [ask, {"role": "assistant", "text": text, "content": content, "regions": []}]
    record["focus"] = "that"
    assert [str(fault) for fault in validate([record])] == []
    record["focus"] = "other"
    assert len(list(validate([record]))) == 1
