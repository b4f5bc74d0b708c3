"""The formats by name: each declares itself, and one that is not among them needs nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.data.formats import annotated
from miras.data.formats.format import Format, Signs
from miras.data.formats.guess import guess_format
from miras.data.formats.records import read_records, write_records
from miras.data.formats.registry import FORMATS, WHERE
from miras.data.io.checks import OnFault
from miras.data.io.single import single
from miras.data.record import Record


def read_halves(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """The left half of each photo."""
    for photo in sorted(path.glob("*.half.png")):
        mask = np.zeros((4, 6), bool)
        mask[:, :3] = True
        yield single(photo, (4, 6), "left", encode_rle(mask), id=photo.stem, image_id=photo.stem, source="halves")


@pytest.fixture
def halves(tmp_path: Path) -> Iterator[Path]:
    FORMATS["halves"] = Format(
        "photos of which the left half is meant", read_halves, signs=Signs(folder=lambda p: any(p.glob("*.half.png")))
    )
    Image.new("RGB", (6, 4)).save(tmp_path / "a.half.png")
    yield tmp_path
    del FORMATS["halves"]


def test_a_format_needs_nothing_but_its_declaration(halves: Path, tmp_path: Path) -> None:
    assert guess_format(halves) == "halves"
    (record,) = read_records(halves, "halves")
    assert record["focus"] == "left"
    with pytest.raises(InputError, match="a format that can be written"):
        write_records(iter([record]), tmp_path / "out", "halves")
    with pytest.raises(InputError, match="did you mean 'halves'"):
        read_records(halves, "halfes")


def test_every_format_says_what_it_is_and_is_told_by_something() -> None:
    for name in list(WHERE):
        about = FORMATS[name]
        assert about.what and about.reads and about.signs != Signs(), name
        assert about.talk is None or about.write is None, name
        assert not about.whole or about.annotations is not None, name
    assert set(annotated.FORMATS) == {name for name, about in FORMATS.items() if about.annotations is not None}


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"shapes"}, "labelme"), ({"shapes", "text"}, "reasonseg"), ({"images", "annotations"}, "coco"),
        ({"images", "annotations", "segments_info"}, "coco-panoptic"), ({"data", "annotations"}, "label-studio"),
        ({"dialogue"}, "prist"), ({"sentences"}, "refcoco"), ({"part_list"}, "instructpart"),
        ({"conversations"}, "llava"), ({"x"}, None),
    ],
)  # fmt: skip
def test_the_first_whose_keys_fit_counts(keys: set[str], name: str | None) -> None:
    assert next((name for name, about in FORMATS.items() if about.signs.keys(keys)), None) == name


def test_a_format_is_imported_when_it_is_looked_up() -> None:
    code = (
        "import sys\nfrom miras.data.formats.records import FORMATS\n"
        "assert 'labelme' in FORMATS and len(FORMATS) > 10\n"
        "assert 'miras.data.formats.labelme' not in sys.modules\n"
        "FORMATS['labelme']\nassert 'miras.data.formats.coco.records' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
