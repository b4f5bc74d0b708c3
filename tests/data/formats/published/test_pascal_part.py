"""PASCAL-Part's .mat files, drawn as MATLAB writes them: things, parts by their words, splits of VOC."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.guess import guess_format
from miras.data.formats.published.pascal_part import part_words, photos
from miras.data.formats.records import read_records
from miras.data.inspect.validate import validate
from miras.data.io.left_out import LeftOut

SIZE = (12, 16)


def block(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def anno(name: str, *things: tuple[str, np.ndarray, list[tuple[str, np.ndarray]]]) -> dict:
    """A struct of 1 x N structs, names as arrays of one text, no parts as an empty array."""
    found = np.zeros((1, len(things)), [(key, object) for key in ("class", "class_ind", "mask", "parts")])
    for number, (word, mask, parts) in enumerate(things):
        held = np.zeros((1, len(parts)), [("part_name", object), ("mask", object)]) if parts else np.zeros((0, 0))
        for place, (code, own) in enumerate(parts):
            held[0, place] = (code, own)
        found[0, number] = (word, 12, mask, held)
    return {"anno": {"imname": name, "objects": found}}


def dataset(root: Path, voc: str = "") -> Path:
    (root / "Annotations_Part").mkdir(parents=True)
    images = root / voc / "JPEGImages"
    images.mkdir(parents=True)
    lists = root / voc / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2008_000002\n")
    (lists / "val.txt").write_text("2008_000003\n")
    dog = (
        "dog",
        block(1, 1, 8, 8),
        [("head", block(1, 1, 3, 3)), ("lfleg", block(6, 1, 3, 2)), ("nose", block(0, 0, 0, 0))],
    )
    bus = ("bus", block(0, 0, 12, 16), [("wheel_1", block(9, 1, 2, 2)), ("wheel_2", block(9, 9, 2, 2))])
    for name, things in (("2008_000002", (dog, ("tvmonitor", block(2, 10, 3, 3), []))), ("2008_000003", (bus,))):
        Image.new("RGB", SIZE[::-1]).save(images / f"{name}.jpg")
        savemat(root / "Annotations_Part" / f"{name}.mat", anno(name, *things))
    return root


@pytest.mark.parametrize("voc", ["", "VOCdevkit/VOC2010"])
def test_things_and_parts(tmp_path, voc):
    root = dataset(tmp_path / "pascal_part", voc)
    assert guess_format(root) == "pascal-part"
    tally = LeftOut(lambda line: None)
    first, second = photos(root, tally)
    assert [note.phrase for note in first.annotations] == [
        "dog", "head of the dog", "left front leg of the dog", "television"
    ]  # fmt: skip
    assert [note.phrase for note in second.annotations] == ["bus", "wheel of the bus", "wheel of the bus"]
    assert np.array_equal(decode_rle(first.annotations[2].rle), block(6, 1, 3, 2) > 0)
    assert (first.split, second.split) == ("train", "val") and not first.vocabulary
    assert (
        tally.line() == "left out: masks without pixels: 1 (first: Annotations_Part: 2008_000002.mat, nose of the dog)"
    )
    records = list(read_records(root, "pascal-part"))
    assert not list(validate(records)) and len({record["id"] for record in records}) == len(records) == 7


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("lfuleg", "left front upper leg"), ("rblleg", "right back lower leg"), ("llleg", "left lower leg"),
        ("lleg", "left leg"), ("llarm", "left lower arm"), ("ruarm", "right upper arm"), ("rear", "right ear"),
        ("lebrow", "left eyebrow"), ("lfpa", "left front paw"), ("rbho", "right back hoof"), ("lwing", "left wing"),
        ("fwheel", "front wheel"), ("fliplate", "front license plate"), ("window_12", "window"), ("beak", "beak"),
        ("hfrontside", "front of the head"), ("croofside_2", "roof of the coach"), ("leftmirror", "left mirror"),
        ("rfoot", "right foot"), ("lhorn", "left horn"), ("stern", "stern"), ("handlebar", "handlebar"),
    ],
)  # fmt: skip
def test_codes_as_words(code, said):
    assert part_words(code) == said


def test_without_scipy(tmp_path, monkeypatch):
    root = dataset(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InputError, match=r"scipy, to read \.mat files, got none; run pip install 'miras\[data\]'"):
        list(photos(root))


def test_faults_are_told_in_one_line(tmp_path):
    root = dataset(tmp_path / "set")
    (root / "Annotations_Part" / "2008_000003.mat").write_bytes(b"no mat")
    savemat(root / "Annotations_Part" / "2008_000004.mat", anno("x", ("dog", block(1, 1, 2, 2), [])))
    Image.new("RGB", (4, 4)).save(root / "JPEGImages" / "2008_000002.jpg")
    said: list[str] = []
    assert not list(photos(root, said.append))
    assert len(said) == 3 and "4 x 4" in said[0] and "anno.objects" in said[1] and "no file" in said[2]
    with pytest.raises(InputError, match=r"\.mat files in .*, got none; unpack trainval"):
        list(photos(tmp_path / "empty"))
