"""`miras predict`: exit codes, one line of complaint, one JSON object, how far it is."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from miras.cli import main
from miras.cli import predict as command
from miras.predict import work
from miras.predict.work import Outcome
from tests.predict.made import CUP, DRAGON, draw, loaded


@pytest.fixture(autouse=True)
def _written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(work, "_loaded", loaded)
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        draw(tmp_path / "photos" / f"{number}.jpg", number)


def call(*arguments: str) -> int:
    return main.call(["predict", *arguments, "--model", "miras-tiny", "--jobs", "1", "--threads", "1"])


def last(capsys) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_run_and_the_same_run_again(capsys):
    assert call("photos", "--ask", CUP, "--ask", DRAGON, "--out", "out", "--json") == 0
    first = last(capsys)
    assert {"photos": 3, "asked": 3, "answers": 6, "masks": 3, "refused": 3, "failed": 0, "out": "out"}.items() <= (
        first.items()
    )
    assert call("photos", "--ask", CUP, "--ask", DRAGON, "--out", "out", "--json", "--resume") == 0
    again = last(capsys)
    assert (again["asked"], again["kept"], again["photos_per_second"]) == (0, 3, None)


def test_a_bad_photo_is_told_by_the_exit_code(capsys):
    Path("photos/bad.jpg").write_text("none")
    assert call("photos/0.jpg", "photos/bad.jpg", "--ask", CUP, "--out", "out") == 1
    assert "out/index.html" in capsys.readouterr().out


def test_paths_on_standard_input(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("photos/2.jpg\nphotos/0.jpg\n"))
    assert call("-", "--ask", CUP, "--out", "out", "--to", "png", "--json") == 0
    assert last(capsys)["photos"] == 2
    assert sorted(path.name for path in Path("out/masks").iterdir()) == ["0.png", "2.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["photos", "--out", "out"], "--ask"),
        (["photos", "--ask", "", "--out", "out"], "empty"),
        (["photos", "--ask", CUP, "--out", "out", "--resume"], "a job to resume"),
        (["photos", "--ask", CUP, "--out", "out", "--to", "coca"], "coco, png"),
        (["photos", "--ask", CUP, "--out", "photos"], "other files"),
        (["*.png", "--ask", CUP, "--out", "out"], "none in *.png"),
        (["photos", "--script", "gone.txt", "--out", "out"], "gone.txt"),
        (["photos", "--ask", CUP, "--out", "out", "--format", "coca"], "coco"),
        (["photos", "--ask", CUP], "--out"),
        (["photos", "--ask", CUP, "--out", "out", "--colour", "red"], "--colour"),
    ],
)
def test_bad_input_is_one_line_and_two(capsys, arguments, says):
    assert call(*arguments) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert says in told
    assert not Path("out").exists()


def test_warnings_are_lines_each_once(capsys):
    import numpy as np
    from PIL import Image

    values = np.linspace(0, 4095, 48 * 64).reshape(48, 64).astype(np.uint16)
    Image.fromarray(values).save("photos/twelve.png")
    assert call("photos/twelve.png", "--ask", CUP, "--out", "out") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "12 bits" in line]
    assert len(told) == 1
    assert told[0].startswith(f"miras: {Path('photos/twelve.png').absolute()}")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (3599, "1 h 00 min"), (11_100, "3 h 05 min")]
)
def test_the_time_left(seconds, said):
    assert command.time_left(seconds) == said


def test_lines_about_how_far_it_is(capsys, monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 20.0, 40.0, 60.0, 100.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    outcomes = [Outcome(), Outcome(({"question": 0, "error": "e"},)), Outcome(), Outcome()]
    assert list(command.watch(iter(outcomes), 4, 6)) == outcomes
    assert capsys.readouterr().err.splitlines() == [
        "miras: 2 of 6 photos are answered already",
        "miras: 2 of 4 photos, 1 failed, 0.05 photos/s, 40 s left",
    ]
