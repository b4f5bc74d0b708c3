"""Indexed PNG: labels by line, null names, specks, unlabelled masks, faults, and the real sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.core.types import AnnotatedPhoto
from miras.data.formats import indexed_png
from miras.data.formats.records import read_records
from miras.data.io.left_out import LeftOut
from miras.data.language.vocabulary import NULL_NAMES, coco_words, looked_for

LABELS = "null\nhair\nleft_shoe\nhat\n"


def save(folder: Path, stem: str, indices: np.ndarray, mode: str = "L", photo: tuple[int, int] | None = None) -> None:
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    height, width = photo or indices.shape[:2]
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / "images" / f"{stem}.jpg")
    mask = Image.fromarray(indices)
    if mode == "P":
        mask.putpalette(list(range(255, -1, -1)) * 3)  # colours that are not the indices
    mask.save(folder / "masks" / f"{stem}.png")


def grid(*rows: str, dtype: str = "uint8") -> np.ndarray:
    """One digit a cell, each 8 x 8 pixels."""
    return np.kron(np.array([[int(c) for c in row] for row in rows]), np.ones((8, 8))).astype(dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "labels.txt").write_text(LABELS)
    return tmp_path


@pytest.mark.parametrize(("mode", "dtype"), [("L", "uint8"), ("P", "uint8"), ("I;16", "uint16")])
def test_one_annotation_for_each_label_present(folder: Path, mode: str, dtype: str) -> None:
    indices = grid("0110", "0220", dtype=dtype)
    save(folder, "a", indices, mode)
    (photo,) = indexed_png.read(folder)
    assert (photo.id, photo.path, photo.size) == ("a", folder / "images" / "a.jpg", (16, 32))
    assert photo.source == folder.name
    assert [(a.label, a.phrase) for a in photo.annotations] == [("hair", "hair"), ("left shoe", "left shoe")]
    for number, note in enumerate(photo.annotations, start=1):
        assert np.array_equal(decode_rle(note.rle), indices == number)
    assert photo.vocabulary == {"hair", "left shoe", "hat"}


@given(st.lists(st.integers(0, 3), min_size=64, max_size=64))
@settings(max_examples=20)
def test_masks_tile_what_is_labelled(tmp_path_factory: pytest.TempPathFactory, cells: list[int]) -> None:
    root = tmp_path_factory.mktemp("tile")
    (root / "labels.txt").write_text(LABELS)
    indices = np.array(cells, np.uint8).reshape(8, 8)
    save(root, "a", indices)
    (photo,) = indexed_png.read(root)
    masks = [decode_rle(note.rle) for note in photo.annotations]
    assert np.array_equal(sum((m.astype(int) for m in masks), np.zeros((8, 8), int)), (indices > 0).astype(int))


def test_index_0_is_a_label_unless_its_name_is_null(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("sky\nroad\nUnlabelled\n")
    save(tmp_path, "a", grid("02"))
    (photo,) = indexed_png.read(tmp_path, source="street")
    assert [a.label for a in photo.annotations] == ["sky"]
    assert (photo.vocabulary, photo.source) == ({"sky", "road"}, "street")


def test_a_speck_is_left_out_and_not_called_absent(folder: Path) -> None:
    indices = np.ones((100, 100), np.uint8)
    indices[0, 0] = 3
    save(folder, "a", indices)
    (photo,) = indexed_png.read(folder)
    assert [a.label for a in photo.annotations] == ["hair"]
    assert photo.vocabulary == {"hair", "left shoe"}
    (whole,) = indexed_png.read(folder, min_share=0.0)
    assert [a.label for a in whole.annotations] == ["hair", "hat"]


@pytest.mark.parametrize("names", ["__ignore__\n_background_\ncup\nspoon\n", "_background_\ncup\nspoon\n"])
def test_labels_as_labelme_writes_them(tmp_path: Path, names: str) -> None:
    (tmp_path / "labels.txt").write_text(names)
    indices = grid("0120", "0200")
    indices[0, 0] = 255
    save(tmp_path, "a", indices)
    (photo,) = indexed_png.read(tmp_path)
    assert [(a.label, int(decode_rle(a.rle).sum())) for a in photo.annotations] == [("cup", 64), ("spoon", 128)]


def test_an_index_of_labels_as_labelme_writes_them_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncup\nspoon\n")
    save(tmp_path, "a", grid("0230"))
    with pytest.raises(InputError, match=r"indices 0 to 2 .*got \[3\]"):
        indexed_png.read(tmp_path)


VOID: dict[str, tuple[int, str, set[str]]] = {
    "a seam": (4, "uint8", {"hair", "hat"}), "an area": (20, "uint8", {"hair"}),
    "16 bits": (4, "uint16", {"hair", "hat"}),
}  # fmt: skip


@pytest.mark.parametrize(("wide", "dtype", "vocabulary"), VOID.values(), ids=VOID)
def test_void_is_neither_a_label_nor_background(tmp_path: Path, wide: int, dtype: str, vocabulary: set[str]) -> None:
    (tmp_path / "labels.txt").write_text("background\nhair\nhat\n")
    indices = np.zeros((40, 40), dtype)
    indices[:20, :20] = 1
    indices[20 : 20 + wide, :20] = np.iinfo(dtype).max
    save(tmp_path, "a", indices, "I;16" if dtype == "uint16" else "L")
    left = LeftOut()
    ((photo, void),) = indexed_png.photos(tmp_path, on_fault=left)
    assert [(a.label, int(decode_rle(a.rle).sum())) for a in photo.annotations] == [("hair", 400)]
    assert void is not None and int(decode_rle(void).sum()) == wide * 20
    assert photo.vocabulary == vocabulary
    assert (left.faults, left.line().split(":")[1]) == (0, " labels that are void (255 without a name)")
    (record,) = read_records(tmp_path, "indexed-png")
    assert record["meta"]["ignore"] == void


def test_255_is_a_label_where_it_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("background\n" + "\n".join(f"thing {n}" for n in range(1, 256)))
    save(tmp_path, "a", np.full((8, 8), 255, np.uint8))
    assert [a.label for a in indexed_png.read(tmp_path)[0].annotations] == ["thing 255"]


def test_two_photos_of_one_mask_are_a_fault(folder: Path) -> None:
    save(folder, "a", grid("11"))
    Image.fromarray(np.ones((8, 16, 3), np.uint8)).save(folder / "images" / "a.png")
    with pytest.raises(InputError, match=r"one photo for masks/a\.png, got a\.jpg and a\.png, which differ"):
        indexed_png.read(folder)


def test_the_words_of_the_file_stay(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("background\nMouse\nwall-brick\n", encoding="utf-16")
    save(tmp_path, "a", grid("12"))
    for name in ("._a.png", "notes.txt"):
        (tmp_path / "masks" / name).write_bytes(b"\x00")
    left = LeftOut()
    (photo,) = indexed_png.read(tmp_path, on_fault=left)
    assert [a.label for a in photo.annotations] == ["mouse", "wall-brick"]
    assert [(entry["reason"], entry["count"]) for entry in left.to_list()] == [
        ("hidden files", 1), ("files in masks/ that are no PNG", 1)
    ]  # fmt: skip


def test_a_mask_that_nobody_drew_says_nothing_of_the_photo(folder: Path) -> None:
    save(folder, "a", grid("00"))
    (photo,) = indexed_png.read(folder)
    assert (photo.annotations, photo.vocabulary) == ((), frozenset())


@pytest.mark.parametrize(
    ("indices", "photo", "said"),
    [
        (grid("19"), None, "indices 0 to 3 .*got .9."),
        (grid("11"), (16, 8), "8 x 16 pixels, got 16 x 8"),
        (np.zeros((8, 8, 3), np.uint8), None, "one index a pixel.*mode RGB"),
    ],
    ids=["index without label", "another size", "colours"],
)
def test_faults_of_a_mask(folder: Path, indices: np.ndarray, photo: tuple[int, int] | None, said: str) -> None:
    save(folder, "a", grid("12"))
    save(folder, "b", indices, photo=photo)
    with pytest.raises(InputError, match=f"1 fault: .*masks/b.png: .*{said}"):
        indexed_png.read(folder)
    heard: list[str] = []
    assert [p.id for p in indexed_png.read(folder, on_fault=heard.append)] == ["a"]
    assert len(heard) == 1


def test_photos_and_masks_without_counterpart(folder: Path) -> None:
    for stem in "abc":
        save(folder, stem, grid("12"))
    (folder / "images" / "a.jpg").unlink()
    (folder / "masks" / "b.png").unlink()
    with pytest.raises(InputError, match=r"2 faults: .*masks/a.png: .*images/b.jpg: .*masks/b.png"):
        indexed_png.read(folder)


def test_files_that_are_no_images(folder: Path) -> None:
    for stem in "ab":
        save(folder, stem, grid("12"))
    (folder / "images" / "a.jpg").write_bytes(b"not a photo")
    mask = folder / "masks" / "b.png"
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(InputError, match=r"2 faults: .*a photo .*, got .*a.jpg.*a mask image, got .*b.png"):
        indexed_png.read(folder)


@pytest.mark.parametrize("text", [None, "", "null\n\n", "null\nhat\nHat\n"], ids=["missing", "empty", "null", "twice"])
def test_labels_that_cannot_be_used(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(InputError, match=r"label"):
        indexed_png.read(tmp_path)


def test_no_masks(folder: Path) -> None:
    with pytest.raises(InputError, match=r"PNG masks"):
        indexed_png.read(folder)


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("wall-brick", "brick wall"), ("floor-wood", "wooden floor"), ("tree-merged", "tree"),
        ("sky-other-merged", "sky"), ("door-stuff", "door"), ("water-other", "water"),
        ("playingfield", "playing field"), ("back_left_door", "back left door"), ("t-shirt", "t-shirt"),
        (" Traffic  Light ", "traffic light"), ("person", "person"), ("mouse", "computer mouse"),
    ],
)  # fmt: skip
def test_words_of_a_name_of_coco(name: str, spoken: str) -> None:
    assert coco_words(name) == spoken
    assert coco_words(spoken) == spoken


SIDES = {"left mirror", "right mirror"}
ABSENT_CASES = {
    "present stays, far absent stays": ({"dog", "kite"}, {"dog"}, set(), {"dog", "kite"}),
    "a crowd is not absent": ({"dog", "sheep"}, set(), {"sheep"}, {"dog"}),
    "a purse is a bag": ({"purse", "bag", "hat"}, {"purse"}, set(), {"purse", "hat"}),
    "so is one too small to keep": ({"purse", "bag", "hat"}, set(), {"purse"}, {"hat"}),
    "a brick wall is a wall": ({"wall", "brick wall", "dog"}, {"brick wall"}, set(), {"brick wall", "dog"}),
    "a wall may be a brick wall": ({"wall", "brick wall"}, {"wall"}, set(), {"wall"}),
    "one side is not the other": (SIDES, {"left mirror"}, set(), SIDES),
}


@pytest.mark.parametrize("case", ABSENT_CASES.values(), ids=ABSENT_CASES.keys())
def test_what_is_surely_absent(case: tuple[set[str], set[str], set[str], set[str]]) -> None:
    vocabulary, present, unsure, expected = case
    assert looked_for(vocabulary, present, unsure) == expected


@pytest.fixture
def some_ccp(shared_data: Path, tmp_path: Path) -> Path:
    """Every fifteenth photo of CCP, and the one whose mask nobody drew; reading all takes seconds."""
    whole = shared_data / "ccp"
    (tmp_path / "labels.txt").write_text((whole / "labels.txt").read_text())
    masks = sorted((whole / "masks").iterdir())
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for stem in {mask.stem for mask in masks[::15]} | {"0536"}:
        for name in (f"images/{stem}.jpg", f"masks/{stem}.png"):
            (tmp_path / name).symlink_to((whole / name).resolve())
    return tmp_path


def test_real_photos_of_ccp(some_ccp: Path) -> None:
    found = indexed_png.read(some_ccp)
    assert [p.id for p in found if not p.annotations] == ["0536"]
    check_labels(found)


def test_all_of_camvid(shared_data: Path) -> None:
    found = indexed_png.read(shared_data / "camvid")
    assert (len(found), sum(len(p.annotations) for p in found)) == (235, 2312)
    assert len({a.label for p in found for a in p.annotations}) == 11
    check_labels(found)


def check_labels(photos: list[AnnotatedPhoto]) -> None:
    """No null name, and everything present is in the photo's vocabulary."""
    assert not {a.label for p in photos for a in p.annotations} & NULL_NAMES
    assert all(a.label in p.vocabulary for p in photos for a in p.annotations)


OBJECTS = "Idx\tRatio\tTrain\tVal\tName\n1\t0.15\t11664\t1172\twall\n2\t0.11\t6046\t612\tbuilding, edifice\n"
STUFF = "0: unlabeled\n1: person\n2: bicycle\n"
VISTAS = {"labels": [{"readable": "Bird"}, {"readable": "Curb Cut"}]}
LAYOUTS = {
    "ADE20K": (
        "annotations/training", "images/training", [0, 1, 2],
        ["unlabelled", *(line.split("\t")[4].split(",")[0] for line in OBJECTS.splitlines()[1:])], {"wall", "building"},
    ),
    "COCO-Stuff": (
        "stuffthingmaps/train2017", "train2017", [0, 1, 255], [line.split(": ")[1] for line in STUFF.splitlines()[1:]],
        {"person", "bicycle"},
    ),
    "Mapillary Vistas": (
        "training/v2.0/labels", "training/images", [0, 1, 1], [one["readable"] for one in VISTAS["labels"]],
        {"bird", "curb cut"},
    ),
}  # fmt: skip
"""Data set -> where masks and photos lie as unpacked, indices, labels as docs/full_size.md makes them, what is read."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_sets_with_links_and_a_list_of_labels(tmp_path: Path, name: str) -> None:
    masks, photos, indices, labels, wanted = LAYOUTS[name]
    for place in (masks, photos):
        (tmp_path / place).mkdir(parents=True)
    mask = np.kron(np.array([indices]), np.ones((30, 10))).astype(np.uint8)
    picture = Image.fromarray(mask)
    if name == "Mapillary Vistas":
        picture.putpalette([200, 10, 10] * 256)
    picture.save(tmp_path / masks / "a.png")
    Image.new("RGB", (30, 30)).save(tmp_path / photos / "a.jpg")
    root = tmp_path / "set"
    root.mkdir()
    (root / "masks").symlink_to(tmp_path / masks.split("/training")[0] if name == "ADE20K" else tmp_path / masks)
    (root / "images").symlink_to(tmp_path / photos.split("/training")[0] if name == "ADE20K" else tmp_path / photos)
    (root / "labels.txt").write_text("\n".join(labels) + "\n")
    (photo,) = indexed_png.read(root)
    assert {note.label for note in photo.annotations} == wanted
    assert len(list(read_records(root, "indexed-png"))) == 2
