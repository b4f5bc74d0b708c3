"""Which photo a file shows: photos of one name, copies, versions; and no mask ever on another photo."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from miras.core.masks import encode_rle
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.formats import parquet, prist
from miras.data.formats.annotated import read
from miras.data.formats.records import FORMATS, guess_format, read_records, write_records
from miras.data.inspect.stats import statistics
from miras.data.inspect.validate import validate
from miras.data.io.gather import Losses, gather
from miras.data.io.single import single
from miras.data.photos.contents import Contents, File, Parted, copies, same_file
from miras.data.photos.identity import FileNames, Known, Names, named, told_apart, united
from miras.data.record import Record, regions_of

SIZE = (24, 32)
BOXES = {"cup": (2, 3), "spoon": (2, 14), "lid": (13, 3), "pot": (13, 14)}
"""Words -> row and column of a mask of 8 x 8 pixels; none of them overlap."""


def drawn(path: Path, shade: int, data: bytes | None = None) -> Path:
    """A photo of one grey: 0 to 15 can be told apart after any conversion."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIZE[1], SIZE[0]), (shade * 16,) * 3).save(path, quality=95)
    return path


def shade_of(record: Record) -> int:
    """The grey of a record's photo, by its pixels."""
    pixels = read_photo(record.get("image_bytes") or record["image"])
    return round(float(pixels.mean()) / 16)


def box(word: str) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    row, column = BOXES[word]
    mask[row : row + 8, column : column + 8] = True
    return mask


def annotation(path: Path, word: str, split: str = "", **changes: Any) -> Record:
    record = single(
        path, SIZE, word, encode_rle(box(word)), id=f"made/{path.as_posix()}/{word}", image_id=path.stem, source="made",
        split=split,
    )  # fmt: skip
    return {**record, **changes}  # type: ignore[typeddict-item]


def placed(records: Any) -> Counter[tuple[int, str, str]]:
    """(grey of the photo, words, mask) of every region."""
    return Counter((shade_of(r), g["phrase"], g["rle"]["counts"]) for r in records for _, g in regions_of(r))


# Names


PATHS: list[tuple[str, list[tuple[str, int]], list[str]]] = [
    ("one name in two folders", [("cam1/1.png", 1), ("cam2/1.png", 2)], ["1", "cam2/1"]),
    ("the same bytes", [("cam1/1.png", 1), ("cam2/1.png", 1)], ["1", "1"]),
    ("bytes that come again", [("a/1.png", 1), ("b/1.png", 2), ("c/1.png", 1), ("d/1.png", 2)],
     ["1", "b/1", "1", "b/1"]),
    ("folders of splits", [("train/images/1.png", 1), ("val/images/1.png", 2)], ["1", "val/1"]),
    ("deeper folders", [("1.png", 1), ("a/b/1.png", 2)], ["1", "a/b/1"]),
    ("from below", [("a/b/1.png", 1), ("1.png", 2)], ["1", "TOP/1"]),
    ("endings", [("1.jpg", 1), ("1.png", 2)], ["1", "1.png"]),
    ("different names", [("a.png", 1), ("b.png", 1), ("A.png", 2)], ["a", "b", "A"]),
    ("a name that was made", [("a/1.png", 1), ("b/1.png", 2), ("c/b/1.png", 3)], ["1", "b/1", "c/b/1"]),
]  # fmt: skip


@pytest.mark.parametrize(("files", "ids"), [row[1:] for row in PATHS], ids=[row[0] for row in PATHS])
def test_ids(tmp_path: Path, files: list[tuple[str, int]], ids: list[str]) -> None:
    top = tmp_path / "TOP"
    paths = [drawn(top / name, shade) for name, shade in files]
    names = Names()
    for _ in range(2):
        assert [names("s", path.stem, path).id for path in paths] == ids
    assert [names("other", path.stem, path).id for path in paths] == ids
    assert [Names()("s", path.stem, path).id for path in paths] == [path.stem for path in paths]
    again = Names()
    assert [again("s", id, path).id for id, path in zip(ids, paths, strict=True)] == ids


def test_what_is_added_changes_no_id(tmp_path: Path) -> None:
    """Recipes divide photos by their ids: a photo of another name, or a later one of the same, moves nobody."""
    before = [drawn(tmp_path / name, n) for n, name in enumerate(("cam1/1.png", "cam1/2.png", "cam2/1.png"))]
    more = [*before, *(drawn(tmp_path / name, n + 5) for n, name in enumerate(("cam2/2.png", "cam2/3.png")))]
    first, second = Names(), Names()
    ids = [first("s", path.stem, path).id for path in before]
    assert [second("s", path.stem, path).id for path in more][:3] == ids == ["1", "2", "cam2/1"]


def test_a_photo_of_many_folders_costs_no_comparison_with_each(tmp_path: Path) -> None:
    paths = [drawn(tmp_path / f"case{n:03}" / "image.bmp", n % 16) for n in range(64)]
    names = Names()
    assert len({names("s", path.stem, path) for path in paths}) == 16


@pytest.mark.parametrize("link", [shutil.copyfile, os.link, os.symlink])
def test_one_file_under_two_paths(tmp_path: Path, link: Callable[[Path, Path], Any]) -> None:
    first, second = drawn(tmp_path / "a" / "1.png", 3), tmp_path / "b" / "1.png"
    second.parent.mkdir()
    link(first, second)
    assert same_file(File(first), File(second))
    assert copies([File(first), File(second), File(second, b"else"), File(tmp_path / "c", first.read_bytes())]) == [
        0,
        0,
        2,
        0,
    ]
    pictures, _ = gather([annotation(first, "cup"), annotation(second, "spoon")], Losses())
    assert [[shown.phrase for shown in picture.shown] for picture in pictures] == [["cup", "spoon"]]


def test_versions_of_a_photograph_have_its_id(tmp_path: Path) -> None:
    """Text was written onto a copy, whose name says more than the photograph's id: one photograph, two files."""
    own, written = drawn(tmp_path / "ccp" / "0001.jpg", 3), drawn(tmp_path / "ccp" / "ccp-0001.jpg", 9)
    for first, second in ((own, written), (written, own)):
        names = Names()
        assert [names("ccp", "ccp/0001", path) for path in (first, second)] == [("ccp/0001", 0), ("ccp/0001", 1)]
    records = [annotation(path, word, image_id="ccp/0001") for path, word in ((own, "cup"), (written, "lid"))]
    assert placed(records) == Counter({(3, "cup", counts("cup")): 1, (9, "lid", counts("lid")): 1})
    assert statistics(records)["images"] == 1
    for format in ("coco", "labelme", "indexed-png", "miras", "jsonl"):
        out = tmp_path / format / "out.jsonl"
        write_records(records, out, format)
        assert placed(read_records(out, format)) == placed(records)


def counts(word: str) -> str:
    return str(encode_rle(box(word))["counts"])


def test_embedded_photos_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    files = [drawn(tmp_path / f"{n}.png", n).read_bytes() for n in range(3)]
    names = Names()
    known = [names("s", "1", "1.png", files[n]) for n in (0, 1, 0, 2)]
    assert [one.id for one in known] == ["1", "1-2", "1", "1-3"]
    on_disk = tmp_path / "1.png"
    assert names("s", "1", on_disk).id == "1-2"  # its bytes decide, not that it bears the name


def test_a_missing_file_is_known_by_its_path(tmp_path: Path) -> None:
    names = Names()
    paths = [tmp_path / name for name in ("a/1.png", "b/1.png", "a/1.png")]
    assert [names("s", "1", path).id for path in paths] == ["1", "b/1", "1"]


def test_files_need_not_be_opened(tmp_path: Path) -> None:
    names = Names(opened=False)
    assert {names("s", "1", drawn(tmp_path / name / "1.png", n)) for n, name in enumerate("ab")} == {Known("1")}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_contents_are_numbered_by_their_bytes(made: list[tuple[int, int]]) -> None:
    """Against the plain rule, with files and bytes of few lengths, ends and beginnings."""
    contents, seen = Contents(), list[bytes]()
    with tempfile.TemporaryDirectory() as folder:
        for number, (start, end) in enumerate(made):
            data = bytes([start]) * 5000 + bytes([end])
            seen += [data] if data not in seen else []
            path = Path(folder, str(number))
            path.write_bytes(data)
            assert contents(File(path)) == contents(File(Path("x"), data)) == seen.index(data)
    assert contents.count == len(seen)


@pytest.mark.parametrize(
    ("path", "other", "folders"),
    [
        ("/d/cam2/1.png", "/d/cam1/1.png", ("cam2",)), ("/d/val/images/1.png", "/d/train/images/1.png", ("val",)),
        ("/d/1.png", "/d/1.jpg", ()), ("/d/1.png", "/d/a/1.png", ("d",)), ("/d/a/b/1.png", "/d/1.png", ("a", "b")),
        ("a/1.png", "1.png", ("a",)), ("1.png", "a/1.png", ()),
    ],
)  # fmt: skip
def test_the_folders_that_tell_apart(path: str, other: str, folders: tuple[str, ...]) -> None:
    assert told_apart(Path(path), Path(other)) == folders


def test_names_of_files() -> None:
    names = FileNames()
    given = [("a", "1.png", "1"), ("b", "1.png", "cam2/1"), ("c", "1.PNG", "x"), ("d", "1.jpg", "1.jpg"), ("a", "", "")]
    assert [names(*row) for row in given] == ["1.png", "cam2-1.png", "1-2.PNG", "1.jpg", "1.png"]
    stems = FileNames(stems=True)
    assert [stems(*row, "f/") for row in given[:4]] == ["f/1.png", "f/cam2-1.png", "f/1-2.PNG", "f/1-3.jpg"]


def test_annotations_of_one_photo_are_united(tmp_path: Path) -> None:
    def note(word: str) -> Annotation:
        return Annotation(word, word, encode_rle(box(word)))

    one, two = drawn(tmp_path / "a" / "1.png", 1), drawn(tmp_path / "b" / "1.png", 2)
    known = frozenset({"cup", "spoon", "lid"})
    photos = [
        AnnotatedPhoto("1", one, SIZE, (note("cup"),), "s", known),
        AnnotatedPhoto("1", two, SIZE, (note("lid"),), "s", known),
        AnnotatedPhoto("1", one, SIZE, (note("spoon"), note("cup")), "s", frozenset({"cup", "spoon"})),
    ]
    first, second = united(photos)
    assert ([n.label for n in first.annotations], first.vocabulary) == (["cup", "spoon"], {"cup", "spoon"})
    assert second == photos[1] or [n.label for n in second.annotations] == ["lid"]


# Through every format


def trees() -> st.SearchStrategy[list[tuple[str, int, str, str]]]:
    """(path, grey, words, split): few names and few greys, so that names collide and pixels repeat."""
    folder = st.sampled_from(["", "cam1", "cam2", "cam2/b", "b"])
    name = st.sampled_from(["1", "2", "A", "a", "1-2", "cam2-1"])
    ending = st.sampled_from([".png", ".jpg"])
    path = st.builds(lambda *parts: "/".join(filter(None, parts[:1])) + "/" + parts[1] + parts[2], folder, name, ending)
    row = st.tuples(path, st.integers(1, 4), st.sampled_from(list(BOXES)), st.sampled_from(["train", "val"]))
    return st.lists(row, min_size=1, max_size=7, unique_by=lambda row: (row[0], row[2]))


def grown(folder: Path, rows: list[tuple[str, int, str, str]], divided: bool) -> Iterator[Record]:
    """Records about the photos of a tree; the first row with a path decides its pixels and its split."""
    first: dict[str, tuple[int, str]] = {}
    for path, shade, word, split in rows:
        own, side = first.setdefault(path, (shade, split))
        yield annotation(drawn(folder / "photos" / path.lstrip("/"), own), word, side if divided else "")


WRITTEN = [name for name, format in FORMATS.items() if format.writes]


@pytest.mark.parametrize("format", [*WRITTEN, "embedded"])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=trees(), divided=st.booleans())
def test_every_mask_stays_on_its_photo(format: str, rows: list[tuple[str, int, str, str]], divided: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        records = list(grown(folder, rows, divided))
        out = folder / ("out.jsonl" if format == "jsonl" else "out")
        if format == "embedded":
            parquet.write(records, out, embed=True)
            parquet.write(parquet.read(out), folder / "copied", photos="copy")
            out = folder / "copied"
        else:
            write_records(records, out, format)
        back = list(read_records(out, "miras" if format == "embedded" else format))
        everything = [(Path(r["image"]).name, shade_of(r), r["focus"], r["split"]) for r in records]
        once = everything if format in ("miras", "jsonl", "prist", "embedded") else set(everything)
        expected = Counter((shade, counts(word)) for _, shade, word, _ in once)
        assert Counter((shade, mask) for shade, _, mask in placed(back).elements()) == expected
        assert len({record["id"] for record in back}) == len(back)
        by_id: dict[tuple[str, str], set[int]] = {}
        for record in back:
            by_id.setdefault((record["source"], record["image_id"]), set()).add(shade_of(record))
        assert all(len(shades) == 1 for shades in by_id.values())


# Faults that were found, each with an input of its own


def labelme(folder: Path, name: str, image: str | None, word: str, shade: int | None) -> Path:
    """A LabelMe file and, where a grey is given, its photo."""
    row, column = BOXES[word]
    points = [[column, row], [column + 8, row], [column + 8, row + 8], [column, row + 8]]
    shape = {"label": word, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}
    content = {"version": "5.4.1", "shapes": [shape], "imagePath": image, "imageData": None}
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    if shade is not None and image is not None:
        drawn(file.parent / image, shade)
    return file


def two_cameras(folder: Path) -> str:
    labelme(folder, "cam1_1.json", "cam1/1.png", "cup", 12)
    labelme(folder, "cam2_1.json", "cam2/1.png", "spoon", 2)
    return "labelme"


def two_folders(folder: Path) -> str:
    labelme(folder, "cam1/1.json", "1.png", "cup", 12)
    labelme(folder, "cam2/1.json", "1.png", "spoon", 2)
    return "labelme"


def two_folders_of_coco(folder: Path) -> str:
    coco(folder / "cam1" / "annotations.json", {"1.png": ("cup", 12)}, folder / "cam1" / "images")
    coco(folder / "cam2" / "annotations.json", {"1.png": ("spoon", 2)}, folder / "cam2" / "images")
    return "coco"


def two_folders_of_masks(folder: Path) -> str:
    indices(folder / "cam1", "1", "cup", 12)
    indices(folder / "cam2", "1", "spoon", 2)
    return "indexed-png"


def two_splits(folder: Path) -> str:
    labelme(folder, "train/1.json", "1.png", "cup", 12)
    labelme(folder, "val/1.json", "1.png", "spoon", 2)
    return "labelme"


def two_splits_of_labels(folder: Path) -> str:
    for split, word, shade in (("train", "cup", 12), ("valid", "spoon", 2)):
        labelme(folder, f"labels/{split}/1.json", f"../../images/{split}/1.png", word, shade)
    return "labelme"


def question(folder: Path, name: str, word: str, shade: int) -> None:
    row, column = BOXES[word]
    corners = [[column, row], [column + 7, row], [column + 7, row + 7], [column, row + 7]]
    content = {"text": [word], "is_sentence": False, "shapes": [{"label": "target", "points": corners}]}
    drawn(folder / f"{name}.png", shade)
    (folder / f"{name}.json").write_text(json.dumps(content))


def two_questions(folder: Path) -> str:
    question(folder, "train/1", "cup", 12)
    question(folder, "dev/1", "spoon", 2)
    return "reasonseg"


def indices(folder: Path, name: str, word: str, shade: int) -> None:
    drawn(folder / "images" / f"{name}.png", shade)
    mask = folder / "masks" / f"{name}.png"
    mask.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(box(word).astype(np.uint8) * (1 + ["cup", "spoon"].index(word))).save(mask)
    (folder / "labels.txt").write_text("background\ncup\nspoon\n")


def two_masks(folder: Path) -> str:
    indices(folder / "train", "1", "cup", 12)
    indices(folder / "validation", "1", "spoon", 2)
    return "indexed-png"


def masks_in_folders(folder: Path) -> str:
    indices(folder, "cam1/1", "cup", 12)
    indices(folder, "cam2/1", "spoon", 2)
    return "indexed-png"


def coco(file: Path, photos: dict[str, tuple[str, int]], root: Path) -> None:
    """photos: file name -> its word and grey."""
    images, notes = [], []
    for number, (name, (word, shade)) in enumerate(photos.items(), 1):
        drawn(root / name, shade)
        row, column = BOXES[word]
        corners = [column, row, column + 8, row, column + 8, row + 8, column, row + 8]
        images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        category = 1 + ["cup", "spoon"].index(word)
        notes.append({"id": number, "image_id": number, "category_id": category, "segmentation": [corners]})
    labels = [{"id": 1, "name": "cup"}, {"id": 2, "name": "spoon"}]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": notes, "categories": labels}))


def two_endings(folder: Path) -> str:
    coco(folder / "instances.json", {"1.png": ("cup", 12), "1.jpg": ("spoon", 2)}, folder / "images")
    return "coco"


def two_roots(folder: Path) -> str:
    for split, word, shade in (("train", "cup", 12), ("val", "spoon", 2)):
        coco(folder / "annotations" / f"instances_{split}.json", {"1.png": (word, shade)}, folder / "images" / split)
    return "coco"


def photos_of_the_split_come_first(folder: Path) -> str:
    coco(folder / "instances_train.json", {"1.png": ("cup", 12)}, folder / "images")
    coco(folder / "instances_valid.json", {"1.png": ("spoon", 2)}, folder / "valid")
    return "coco"


def roboflow(folder: Path) -> str:
    coco(folder / "train" / "_annotations.coco.json", {"1.png": ("cup", 12)}, folder / "train")
    coco(folder / "valid" / "_annotations.coco.json", {"1.png": ("spoon", 2)}, folder / "valid")
    return "coco"


def two_dialogues(folder: Path) -> str:
    """Official PRIST with its photos in folders, a LabelMe file in the same folders, and one beside them."""
    items = []
    for name, word, shade, image in (("cam1/1.jpg", "cup", 12, "1.jpg"), ("cam2/1.jpg", "spoon", 2, "cam2/1.jpg")):
        said = [("human", "Which one?"), ("gpt", f"The {word}."), ("human", "Segment it."), ("gpt", "Here: [SEG].")]
        items.append({"img_id": name, "dialogue": [{"from": a, "value": b} for a, b in said], "focus": word})
        drawn(folder / "images" / name, shade)
        labelme(folder / "masks", "cam1/1.json" if word == "cup" else "1.json", image, word, None)
    (folder / "test.json").write_text(json.dumps(items))
    return "prist"


def two_records(folder: Path) -> str:
    records = [
        annotation(drawn(folder / "a" / "1.png", 12), "cup"),
        annotation(drawn(folder / "b" / "1.png", 2), "spoon"),
    ]
    write_records(records, folder / "all.jsonl", "jsonl")
    lines = (folder / "all.jsonl").read_text()
    (folder / "all.jsonl").write_text(lines.replace('"image_id": "b/1"', '"image_id": "1"'))
    return "jsonl"


def two_parts(folder: Path) -> str:
    (folder / "masks").mkdir(parents=True)
    items = []
    for name, word, shade in (("cam1/1.jpg", "cup", 12), ("cam2/1.jpg", "spoon", 2)):
        drawn(folder / "images" / f"1-{word}-whole.jpg", shade)
        Image.fromarray(box(word).astype(np.uint8) * 255).save(folder / "masks" / f"1-{word}-whole.png")
        part = {"object": word, "part": "whole", "instruction": [word] * 6}
        items.append({"image_path": name, "part_list": [part]})
    (folder / "data_all.json").write_text(json.dumps(items))
    return "instructpart"


MADE = [
    two_cameras, two_folders, two_folders_of_coco, two_folders_of_masks, two_splits, two_splits_of_labels,
    two_questions, two_masks, masks_in_folders, two_endings, two_roots, photos_of_the_split_come_first, roboflow,
    two_dialogues, two_records, two_parts,
]  # fmt: skip
LIGHT = (12, counts("cup"))
DARK = (2, counts("spoon"))


@pytest.mark.parametrize("to", WRITTEN)
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_two_photos_of_one_name_are_two(tmp_path: Path, make: Callable[[Path], str], to: str) -> None:
    format = make(tmp_path / "in")
    if make is not two_splits_of_labels:
        assert guess_format(tmp_path / "in") == format
    records = list(read_records(tmp_path / "in", format))
    assert {(shade, counts) for shade, _, counts in placed(records)} == {LIGHT, DARK}
    assert len({record["image_id"] for record in records}) == len({record["id"] for record in records}) == 2
    assert statistics(records)["images"] == 2
    assert list(validate(records)) == []
    out = tmp_path / ("out.jsonl" if to == "jsonl" else "out")
    write_records(records, out, to)
    back = list(read_records(out, to))
    assert {(shade, counts) for shade, _, counts in placed(back)} == {LIGHT, DARK}
    assert (len(back), statistics(back)["images"]) == (2, 2)
    assert {r["split"] for r in back} in ({r["split"] for r in records}, {"test"}, {"train"})


def test_names_stay_readable(tmp_path: Path) -> None:
    two_cameras(tmp_path / "in")
    two_splits(tmp_path / "divided")
    for source, to, names in (
        ("in", "coco", {"images/cam1-1.png", "images/cam2-1.png"}),
        ("in", "labelme", {"cam1-1.png", "cam2-1.png"}),
        ("divided", "coco", {"images/train-1.png", "images/val-1.png"}),
        ("divided", "labelme", {"train/1.png", "val/1.png"}),
        ("divided", "indexed-png", {"train/images/1.png", "val/images/1.png"}),
        ("in", "miras", {"images/in/1.png", "images/in/cam2-1.png"}),
        ("in", "prist", {"images/1.png", "images/cam2-1.png"}),
    ):
        out = tmp_path / f"{source} {to}"
        write_records(read_records(tmp_path / source, "labelme"), out, to)
        found = {file.relative_to(out).as_posix() for file in out.rglob("*.png")}
        assert {name for name in found if "masks/" not in name} == names


@pytest.mark.parametrize("to", ["labelme", "miras", "jsonl"])
def test_photos_that_stay_where_they_are(tmp_path: Path, to: str) -> None:
    two_cameras(tmp_path / "in")
    out = tmp_path / ("out.jsonl" if to == "jsonl" else "out")
    write_records(read_records(tmp_path / "in", "labelme"), out, to, photos="reference")
    back = list(read_records(out, to))
    assert {(shade, mask) for shade, _, mask in placed(back)} == {LIGHT, DARK}
    assert {record["image_id"] for record in back} == {"1", "cam2/1"}


def test_the_files_of_two_parts_are_two(tmp_path: Path) -> None:
    """InstructPart joins photo, object and part by "-": photo "1-a" with part "lid" is not "1" with "a-lid"."""
    first = annotation(drawn(tmp_path / "1.png", 3), "cup", focus="b of the a-cup")
    second = annotation(drawn(tmp_path / "1-a.png", 9), "lid", focus="b of the cup")
    for record in (first, second):
        record["turns"][1]["regions"][0]["phrase"] = record["focus"]
    write_records([first, second], tmp_path / "out", "instructpart")
    back = list(read_records(tmp_path / "out", "instructpart"))
    assert {(s, c) for s, _, c in placed(back)} == {(3, counts("cup")), (9, counts("lid"))}


def test_one_photo_in_two_splits_is_told(tmp_path: Path) -> None:
    """The same name and bytes: a fault. A copy under another name: noted."""
    records = [annotation(drawn(tmp_path / split / "1.png", 3), "cup", split) for split in ("train", "val")]
    (fault,) = validate(list(named(records)))
    assert "photograph '1' in 'val' and before in 'train'" in fault.what
    other = annotation(drawn(tmp_path / "val" / "2.png", 3), "cup", "val")
    assert list(validate([records[0], other])) == []
    parted = Parted()
    for record in (records[0], other, annotation(drawn(tmp_path / "val" / "3.png", 4), "cup", "val")):
        parted.add(record["image_id"], record["split"], File(Path(record["image"])))
    assert parted.lines == ["2 (val) is a copy of 1 (train)"]


def test_photos_of_one_name_as_annotations(tmp_path: Path) -> None:
    two_endings(tmp_path)
    assert [(photo.id, photo.path.name) for photo in read(tmp_path, "coco")] == [("1", "1.png"), ("1.jpg", "1.jpg")]


# A mask with several photos


AMBIGUOUS: dict[str, Callable[[Path], str]] = {}


def ambiguous(make: Callable[[Path], str]) -> Callable[[Path], str]:
    AMBIGUOUS[make.__name__] = make
    return make


@ambiguous
def a_mask(folder: Path) -> str:
    indices(folder, "a", "cup", 12)
    drawn(folder / "images" / "a.jpg", 2)
    return "indexed-png"


@ambiguous
def a_json_without_a_path(folder: Path) -> str:
    labelme(folder, "a.json", None, "cup", None)
    drawn(folder / "a.png", 12)
    drawn(folder / "a.jpg", 2)
    return "labelme"


@ambiguous
def a_question(folder: Path) -> str:
    question(folder, "a", "cup", 12)
    drawn(folder / "a.jpg", 2)
    return "reasonseg"


@ambiguous
def a_dialogue(folder: Path) -> str:
    two_dialogues(folder)
    (item, _) = json.loads((folder / "test.json").read_text())
    (folder / "test.json").write_text(json.dumps([{**item, "img_id": "a.jpg"}]))
    drawn(folder / "images" / "a.jpg", 2)
    drawn(folder / "images" / "a.png", 12)
    labelme(folder / "masks", "a.json", None, "cup", None)
    return "prist"


@pytest.mark.parametrize("make", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_mask_with_two_photos_names_both(tmp_path: Path, make: Callable[[Path], str]) -> None:
    format = make(tmp_path)
    told: list[str] = []
    assert list(read_records(tmp_path, format, told.append)) == []
    (fault,) = told
    assert "a.jpg and a.png" in fault
    for png in tmp_path.rglob("a.png"):
        if png.parent.name != "masks":
            shutil.copyfile(png, png.with_suffix(".jpg"))  # copies: one photo after all
    told.clear()
    (record,) = read_records(tmp_path, format, told.append)
    assert (shade_of(record), told) == (12, [])


def test_a_mask_of_another_photo_is_a_fault(tmp_path: Path) -> None:
    """PRIST's masks are found by the stem: one that says `a.png` is none of `a.jpg`."""
    a_dialogue(tmp_path)
    labelme(tmp_path / "masks", "a.json", "a.png", "cup", None)
    told: list[str] = []
    assert list(prist.read(tmp_path, told.append)) == []
    assert "a mask of a.jpg, got a.json, which is of a.png" in told[0]


# Folders


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Valid"])
@pytest.mark.parametrize(
    "put",
    [
        lambda folder, shade: labelme(folder, "x.json", "x.png", "cup", shade) and "labelme",
        lambda folder, shade: question(folder, "x", "cup", shade) or "reasonseg",
        lambda folder, shade: indices(folder, "x", "cup", shade) or "indexed-png",
        lambda folder, shade: coco(folder / "_a.coco.json", {"x.png": ("cup", shade)}, folder) or "coco",
    ],
    ids=["labelme", "reasonseg", "indexed-png", "coco"],
)
def test_no_folder_of_a_split_is_passed_over(tmp_path: Path, put: Callable[[Path, int], str], val: str) -> None:
    splits = {"train": 3, val: 6, "test": 9, "more": 12}
    for name, shade in splits.items():
        (tmp_path / name).mkdir()
        format = put(tmp_path / name, shade)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.json").write_text('{"about": "nothing"}')
    (tmp_path / ".hidden").mkdir()
    put(tmp_path / ".hidden", 15)
    found = {shade_of(record): record["split"] for record in read_records(tmp_path, format)}
    assert found == {3: "train", 6: "val", 9: "test", 12: ""}


def test_folders_in_folders_are_read(tmp_path: Path) -> None:
    labelme(tmp_path, "1.json", "1.png", "cup", 1)
    labelme(tmp_path, "a/1.json", "1.png", "cup", 2)
    labelme(tmp_path, "a/b/1.json", "1.png", "cup", 3)
    records = list(read_records(tmp_path, "labelme"))
    assert sorted(placed(records).elements()) == [(n, "cup", counts("cup")) for n in (1, 2, 3)]
    assert [r["id"].partition("/")[2] for r in records] == ["1-1", "a/1-1", "a/b/1-1"]
    assert [r["image_id"] for r in records] == ["1", "a/1", "a/b/1"]
    assert list(validate(records)) == []
