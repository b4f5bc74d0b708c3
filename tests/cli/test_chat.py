from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from miras.cli import main
from miras.cli.chat import blocks, inline
from tests.cli.test_main import PHOTO, TINY


def talk(monkeypatch, capsys, tmp_path: Path, *lines: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    code = main.call(["chat", PHOTO, "--out", str(tmp_path / "out"), *TINY])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_talk_point_undo_save(monkeypatch, capsys, tmp_path):
    saved = tmp_path / "talk.json"
    code, out, err = talk(
        monkeypatch, capsys, tmp_path,
        "the cup", "/point 300 200", "/box 10 10 200 200", "/undo", "/fork", "the spoon", "/back",
        f"/save {saved}", f"/export {tmp_path / 'masks'}", "/help", "/quit",
    )  # fmt: skip
    assert code == 0
    assert err == ""
    assert json.loads(saved.read_text())
    assert (tmp_path / "out" / "turn-1.png").is_file()
    assert "back; selected" in out
    assert "/point X Y" in out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/undo", "earlier turn"),
        ("/point 9000 9000", "photo"),
        ("/point here", "/point X Y"),
        ("/box 1 2", "/box X1 Y1 X2 Y2"),
        ("/frob", "/frob"),
        ("/save", "/save FILE"),
        ("/back", "/fork"),
    ],
)
def test_a_bad_line_is_one_line_and_the_talk_goes_on(monkeypatch, capsys, tmp_path, line, says):
    code, out, err = talk(monkeypatch, capsys, tmp_path, line, "/help")
    assert code == 0
    assert len(err.strip().splitlines()) == 1
    assert says in err
    assert "/point X Y" in out


def test_pictures_in_terminals_that_show_them():
    picture = Path(PHOTO).read_bytes()
    assert inline(picture, {"TERM_PROGRAM": "iTerm.app"}).startswith("\033]1337;File=inline=1")
    assert inline(picture, {"TERM": "xterm-kitty"}).startswith("\033_Ga=T")
    assert inline(picture, {"TERM": "xterm"}) == ""
    assert len(blocks(picture, 30).splitlines()) == 10


@pytest.mark.parametrize("size", [(30_000, 16), (16, 30_000), (8, 12_000)])
def test_a_strip_fits_the_terminal(size):
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    lines = blocks(buffer.getvalue()).splitlines()
    assert 1 <= len(lines) <= 200 and all(1 <= line.count("\u2580") <= 72 for line in lines)
