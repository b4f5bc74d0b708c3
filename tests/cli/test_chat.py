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
        ("/select", "/select EXPRESSION"),
        ("/select 1 +", "its end"),
    ],
)
def test_a_bad_line_is_one_line_and_the_talk_goes_on(monkeypatch, capsys, tmp_path, line, says):
    code, out, err = talk(monkeypatch, capsys, tmp_path, line, "/help")
    assert code == 0
    assert len(err.strip().splitlines()) == 1
    assert says in err
    assert "/point X Y" in out


SCRIPT = """
{"text": "Here is the cup.", "steps": [{"do": "replace", "regions": [{"id": 0, "phrase": "cup", "box": [190, 200, 780, 700], "points": []}]}]}
{"text": "All but the cup.", "steps": [{"do": "all_but", "regions": [{"id": 1, "phrase": "", "box": [], "points": []}]}]}
"""  # noqa: E501


def test_a_pair_talks_in_the_terminal(monkeypatch, capsys, tmp_path):
    """Everything that the session has, and a message without an answer is one line."""
    (tmp_path / "script").write_text(SCRIPT)
    pair = ["--model", "composed", "--talker", f"scripted:{tmp_path / 'script'}", "--segmenter", "miras-tiny"]
    lines = [
        "the cup",
        "/box 100 100 300 300",
        "all but it",
        "more",
        "/undo",
        "/select ~ (1)",
        "/undo",
        "/fork",
        "/back",
        f"/save {tmp_path / 's'}",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    assert main.call(["chat", PHOTO, "--out", str(tmp_path / "out"), *pair, "--threads", "1"]) == 0
    captured = capsys.readouterr()
    assert "Here is the cup." in captured.out and "selected: 1" in captured.out and "selected: ~1" in captured.out
    assert captured.err.strip() == "miras: expected an answer to message 3, got 2 lines; add a line to the script"
    saved = json.loads((tmp_path / "s").read_text())
    assert saved["model"]["backend"] == "composed" and len(saved["events"]) == 2


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
