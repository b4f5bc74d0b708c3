"""`miras segment`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.cli.main import call
from miras.cli.segment import prompt_of
from miras.core.masks import decode_rle
from miras.core.segmenter import Prompt
from miras.segmenters.registry import segmenter_of
from tests import checkpoints


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sam2:{checkpoints.sam2(tmp_path_factory.mktemp('sam2'))}"


@pytest.fixture(scope="module")
def pair(spec: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"gdino:{checkpoints.gdino(tmp_path_factory.mktemp('gdino'))}+{spec}"


def test_different_readings_of_a_click(
    spec: str, photo_path: Path, photo: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All are told, the surest first; the surest is written."""
    assert (
        call(["segment", str(photo_path), "--segmenter", spec, "--points", "300,100", "--out", str(tmp_path), "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    segmenter = segmenter_of(spec)
    found = segmenter.segment(segmenter.encode(photo), Prompt(points=np.array([[300, 100, 1]], np.float32)))
    assert (told["segmenter"], told["instances"], told["presence"]) == (spec, False, None)
    scores = [one["score"] for one in told["candidates"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert (decode_rle(told["candidates"][0]["rle"]) == found.mask).all()
    assert told["candidates"][0]["area"] == found.mask.sum()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(Path(path).name for path in told["files"])
    assert {"coffee-overlay.png", "coffee.mask.png", "coffee.coco.json", "coffee.svg"} <= set(names)
    assert not (tmp_path / "coffee.mask-2.png").exists()
    assert ((np.asarray(Image.open(tmp_path / "coffee.mask.png")) == 255) == found.mask).all()


def test_the_instances_of_a_phrase(
    pair: str, photo_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["segment", str(photo_path), "--segmenter", pair, "--phrase", "the cup", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    count = said.count("] the cup: ")
    assert count > 1 and "presence 0." in said and "encode " in said
    assert (tmp_path / f"coffee.mask-{count}.png").exists()
    assert len(json.loads((tmp_path / "coffee.coco.json").read_text())["annotations"]) == count


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--phrase", "cup"], "got phrase; for words take sam3:REPO"),
        (["--points", "300"], "expected a point X,Y or X,Y,LABEL, in pixels of the photo, got '300'"),
        (["--points", "300,100,7"], "label 1 (inside) or 0 (outside)"),
        (["--points", "900,100"], "points inside the photo, 600 x 400 pixels"),
        (["--box", "1,2,x,4"], "expected a box X1,Y1,X2,Y2"),
        ([], "expected a prompt: a phrase, points, a box"),
    ],
)
def test_what_is_refused(
    spec: str, photo_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["segment", str(photo_path), "--segmenter", spec, *arguments]) == 2
    out, err = capsys.readouterr()
    assert says in err and out == ""


def test_a_segmenter_that_is_none(photo_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["segment", str(photo_path), "--segmenter", "sma:x", "--box", "1,2,3,4"]) == 2
    assert "did you mean sam:REPO? there are: miras-mini" in capsys.readouterr().err


def test_points_without_a_label_are_inside() -> None:
    prompt = prompt_of("cup", ["1,2", "3,4,0"], "0,0,5,6")
    assert prompt.points is not None and prompt.points.tolist() == [[1, 2, 1], [3, 4, 0]]
    assert (prompt.phrase, prompt.box) == ("cup", (0, 0, 5, 6))
