"""Official PRIST: the released file, masks found by their whole label, every fault of a dialogue."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.core.masks import area, decode_rle, encode_rle
from miras.data.formats import labelme, prist
from miras.data.inspect.stats import statistics
from miras.data.inspect.validate import validate
from miras.data.record import Record
from tests.data.made import MASKS, SIZE, photo, talk


def item(focus: str = "red cup", reply: str = "Certainly, [SEG].", name: str = "a.jpg", **changes: Any) -> Any:
    said = ["What is there?", "A  cup , it seems .", "Segment it.", reply]
    dialogue = [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(said)]
    return {"img_id": name, "dialogue": dialogue, "focus": focus, **changes}


def write(folder: Path, items: Any, name: str = "test.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(items, indent=4, ensure_ascii=False), encoding="utf-8")
    return folder / name


def shape(label: str, points: Any, **changes: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": "polygon", **changes}


def polygons(folder: Path, shapes: Any, size: tuple[int, int] = SIZE, stem: str = "a") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{stem}.json").write_text(json.dumps(labelme.document(shapes, f"{stem}.jpg", size)))


def square(x: int, y: int, side: int) -> list[list[int]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def test_the_released_file(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "prist" / "test.json"
    records = list(prist.read(file))
    figures = statistics(records)
    assert (figures["conversations"], figures["images"], figures["duplicates"]) == (508, 169, 12)
    assert figures["turns"] == {"3": 65, "4": 439, "5": 4}
    assert figures["masks"] == 0
    official = json.loads(file.read_text(encoding="utf-8"))
    counts = Counter(sum(m["value"].count("[SEG]") for m in o["dialogue"]) for o in official)
    assert counts == {1: 508}
    assert all(o["dialogue"][-1]["value"].count("[SEG]") == 1 for o in official)
    assert prist.write(records, tmp_path / "test.json") == 508
    assert json.loads((tmp_path / "test.json").read_text(encoding="utf-8")) == official
    assert (tmp_path / "test.json").read_bytes() == file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["test.json"]
    assert list(prist.read(file.parent))[7] == records[7]
    assert list(validate(records)) == []


def test_a_photo_and_its_masks(tmp_path: Path) -> None:
    file = write(tmp_path, [item(), item(" RED\u00a0 Cup"), item("cup"), item("saucer", "[SEG]", "b.png")])
    photo(tmp_path / "images" / "a.jpg")
    shapes = [shape("red cup", square(2, 3, 4)), shape("Red Cup", square(10, 3, 4)), shape("cup", square(2, 12, 3))]
    polygons(tmp_path / "masks", shapes)
    first, second, third, bare = prist.read(file)
    regions = [record["turns"][-1]["regions"] for record in (first, second, third, bare)]
    assert [area(decode_rle(dict(r["rle"]))) for (r,) in regions[:3]] == [32, 32, 9]
    assert regions[1][0]["phrase"] == " RED\u00a0 Cup"
    assert first["turns"][-1]["content"] == [
        {"type": "words", "text": "Certainly, ", "region": 0}, {"type": "name", "text": "red cup", "region": 1},
        {"type": "words", "text": ".", "region": 0},
    ]  # fmt: skip
    assert first["turns"][-1]["text"] == "Certainly, red cup."
    assert first["turns"][1]["content"][0]["text"] == "A  cup , it seems ."
    kept = {key: first[key] for key in ("id", "image_id", "height", "width", "split", "kind", "hops", "focus", "meta")}  # type: ignore[literal-required]
    assert kept == {
        "id": "test-0", "image_id": "a.jpg", "height": SIZE[0], "width": SIZE[1], "split": "test",
        "kind": "progressive", "hops": 1, "focus": "red cup", "meta": {},
    }  # fmt: skip
    assert first["image"] == (tmp_path / "images" / "a.jpg").as_posix()
    assert (regions[3], bare["height"], bare["width"], bare["meta"]) == ([], 0, 0, {"without": ["photo", "mask"]})
    assert bare["turns"][-1]["content"] == [{"type": "words", "text": "saucer", "region": 0}]
    assert list(validate([first, second, third, bare])) == []


@pytest.mark.parametrize(
    ("focus", "labels", "found"),
    [
        ("sign", ["sign text"], False),
        ("sign text", ["sign"], False),
        ("sign", ["sign text", "sign"], True),
        ("sign", ["street sign"], False),
        ("Sign  Text", ["sign text"], True),
        ("\uff53\uff49\uff47\uff4e", ["sign"], True),
        ("STRASSE", ["straße"], True),
        ("sign's", ["signs"], False),
    ],
)
def test_labels_match_whole_never_by_a_part(tmp_path: Path, focus: str, labels: list[str], found: bool) -> None:
    shapes = [shape(label, square(2 + 8 * i, 2, 5)) for i, label in enumerate(labels)]
    mask = prist.mask_of(shapes, focus, SIZE)
    assert (mask is not None) == found
    if mask is not None:
        assert area(mask) == 25


def recorded(folder: Path, mask: str, focus: str, name: str = "a.jpg") -> Record:
    """A dialogue of PRIST about the photo with one of MASKS."""
    rle = encode_rle(MASKS[mask])
    folder.mkdir(exist_ok=True)
    (record,) = prist.read(write(folder / "source", [item(focus, name=name)]))
    photo(folder / name)
    last = record["turns"][-1]
    last["content"][1] = {"type": "name", "text": focus, "region": 1}
    last["regions"] = [
        {"id": 1, "phrase": focus, "operator": "replace", "rle": {"size": list(SIZE), "counts": rle["counts"]}}
    ]
    return {
        **record, "image": (folder / name).as_posix(), "height": SIZE[0], "width": SIZE[1], "meta": {}
    }  # fmt: skip


def test_masks_written_and_read_are_the_same(tmp_path: Path) -> None:
    records = [recorded(tmp_path, name, name) for name in MASKS]
    records.append({**records[0], "id": "again"})
    assert prist.write(records, tmp_path / "out.json") == len(MASKS) + 1
    back = list(prist.read(tmp_path / "out.json", photos=tmp_path, masks=tmp_path / "masks"))
    assert [r["turns"] for r in back] == [r["turns"] for r in records]
    shapes = json.loads((tmp_path / "masks" / "a.json").read_text())["shapes"]
    kinds = {s["label"]: s["shape_type"] for s in shapes}
    assert {label for label, kind in kinds.items() if kind == "mask"} == {"hole", "two holes"}
    assert len({s["group_id"] for s in shapes}) == len(MASKS)
    assert [f for f in validate(back) if f.record != "again"] == []


def test_another_mask_for_the_same_words_is_a_fault(tmp_path: Path) -> None:
    records = [recorded(tmp_path, "block", "cup"), recorded(tmp_path, "pixel", "Cup")]
    told: list[str] = []
    assert prist.write(records, tmp_path / "out.json", on_fault=told.append) == 1
    assert len(told) == 1
    assert "one mask for 'Cup' on a.jpg" in told[0]


def test_what_prist_cannot_hold_is_a_fault(tmp_path: Path) -> None:
    one, two, both = (talk(tmp_path / "a.jpg") for _ in range(3))
    one["turns"] = one["turns"][:4]
    two["turns"] = [*two["turns"][2:4]]
    both["turns"] = [*both["turns"][:3]]
    empty: Any = {**one, "turns": []}
    bare: Any = {**one["turns"][1], "regions": []}
    other: Any = {**one, "turns": [one["turns"][0], bare], "focus": "elsewhere"}
    told: list[str] = []
    assert prist.write([one, two, both, empty, other], tmp_path / "out.json", on_fault=told.append) == 0
    for line, said in zip(
        told, ("one region, in the last reply, got 2", "no operators, got add", "user and assistant in turn",
               "got no turns", "focus in the last reply, got 'elsewhere'"), strict=True
    ):  # fmt: skip
        assert said in line
    assert json.loads((tmp_path / "out.json").read_text()) == []
    (tmp_path / "out.json").unlink()
    with pytest.raises(InputError, match="5 faults"):
        prist.write([one, two, both, empty, other], tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


BAD = [
    (item(focus=" "), "a focus, got an empty one"),
    (item(focus=3), '"focus" to be a text'),
    (item(dialogue=[]), "a dialogue, got an empty one"),
    (item(reply="Here."), "one [SEG], in the last reply, got 0"),
    (item(reply="[SEG] and [SEG]"), "got 2, in messages [3, 3]"),
    (item(dialogue=[{"from": "human", "value": "[SEG]?"}, {"from": "gpt", "value": "Yes."}]), "got 1, in messages [0]"),
    (item(dialogue=[{"from": "gpt", "value": "[SEG]"}]), "message 0 from \"human\", got 'gpt'"),
    (item(dialogue=item()["dialogue"][:3]), "a reply to the last message"),
    (item(dialogue=[{"from": "human", "value": " "}, {"from": "gpt", "value": "[SEG]"}]), "words in message 0"),
    (item(name="../a.jpg"), "a file name inside"),
    (item(score=1), "also ['score']"),
    ([], 'a record with "img_id"'),
]


@pytest.mark.parametrize(("bad", "said"), BAD, ids=[said for _, said in BAD])
def test_a_faulty_dialogue_is_named_and_the_rest_goes_on(tmp_path: Path, bad: Any, said: str) -> None:
    file = write(tmp_path, [item(), bad, item()])
    told: list[str] = []
    assert [record["id"] for record in prist.read(file, told.append)] == ["test-0", "test-2"]
    assert len(told) == 1
    assert told[0].startswith("test.json: record 1: ")
    assert said in told[0]
    with pytest.raises(InputError, match=r"1 fault: test\.json: record 1"):
        list(prist.read(file))


@pytest.mark.parametrize(
    ("shapes", "size", "said"),
    [
        ([shape("red cup", [[1, 1], [5, 5]])], SIZE, "a.json, shape 0: a polygon of at least 3 points, got 2"),
        ([shape("red cups", square(1, 1, 3))], SIZE, "a shape labelled 'red cup' in a.json, got 'red cups'"),
        ([], SIZE, "a shape labelled 'red cup' in a.json, got none"),
        ([shape("red cup", square(90, 90, 3))], SIZE, "a shape with pixels of the photo"),
        ([shape("red cup", square(1, 1, 3), shape_type="line")], SIZE, "a shape of polygon, rectangle"),
        ([shape("red cup", square(1, 1, 3))], (9, 9), "a LabelMe file (a.json) of 32 x 24 pixels, got 9 x 9"),
    ],
)
def test_a_faulty_mask_is_named(tmp_path: Path, shapes: Any, size: tuple[int, int], said: str) -> None:
    file = write(tmp_path, [item()])
    photo(tmp_path / "images" / "a.jpg")
    polygons(tmp_path / "masks", shapes, size)
    told: list[str] = []
    assert list(prist.read(file, told.append)) == []
    assert len(told) == 1
    assert said in told[0]


def test_a_folder_that_was_named_must_hold_everything(tmp_path: Path) -> None:
    file = write(tmp_path, [item(), item(name="b.jpg")])
    photo(tmp_path / "jpg" / "a.jpg")
    polygons(tmp_path / "shapes", [shape("red cup", square(1, 1, 3))])
    told: list[str] = []
    (record,) = prist.read(file, told.append, photos=tmp_path / "jpg", masks=tmp_path / "shapes")
    assert (record["id"], len(record["turns"][-1]["regions"]), len(told)) == ("test-0", 1, 1)
    assert "record 1: expected the photo, got no file" in told[0]
    photo(tmp_path / "jpg" / "b.jpg")
    assert len(list(prist.read(file, told.append, photos=tmp_path / "jpg"))) == 2
    list(prist.read(file, told.append, photos=tmp_path / "jpg", masks=tmp_path / "shapes"))
    assert "record 1: expected the mask, got no file" in told[1]
    with pytest.raises(InputError, match="a folder of images, got no folder"):
        list(prist.read(file, photos=tmp_path / "gone"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[{]", b'[{"img_id": "caf\x81"}]'], ids=str)
def test_a_file_that_is_no_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test.json").write_bytes(content)
    with pytest.raises(InputError, match=r"JSON|UTF-8"):
        list(prist.read(tmp_path))


def test_a_file_with_another_name_and_last_words(tmp_path: Path) -> None:
    file = write(tmp_path, [item("cup", "cup: [SEG] cup")], "mine.json")
    (record,) = prist.read(file)
    assert (record["id"], record["split"]) == ("mine-0", "")
    prist.write([record], tmp_path / "back.json")
    assert (tmp_path / "back.json").read_bytes() == file.read_bytes()
    assert {piece["type"] for piece in record["turns"][-1]["content"]} == {"words"}
