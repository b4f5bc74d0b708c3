"""`miras compare`: tables, one JSON object, a folder, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts
import pytest

from miras.cli import main
from miras.cli.evaluation.compare import FILES, compare
from tests.eval.compare.test_runs import ONE, TWO, rows_of, write_run


@pytest.fixture(autouse=True)
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command by itself, called as the door calls it."""
    app = cyclopts.App(name="miras", result_action="return_value")
    app.command(compare)
    monkeypatch.setattr(main, "app", app)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    folders = [write_run(tmp_path / "one", rows_of(ONE)), write_run(tmp_path / "two", rows_of(TWO)[:-1])]
    return [str(folder) for folder in folders]


def test_tables_for_a_person(capsys, runs):
    assert main.call(["compare", *runs, "--draws", "200"]) == 0
    out, err = capsys.readouterr()
    assert "A - B" in out and "gIoU" in out and "p (Holm)" in out
    assert "not in B, left out: r5, turn 1" in err


def test_one_object_and_a_folder(capsys, tmp_path, runs):
    third = str(write_run(tmp_path / "three", rows_of(ONE)))
    out = tmp_path / "new" / "compared"
    assert main.call(["compare", *runs, third, "--draws", "200", "--json", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert len(told["pairs"]) == 3
    assert sorted(file.name for file in out.iterdir()) == sorted(FILES)
    kept = json.loads((out / "compare.json").read_text())
    assert {**kept, "out": str(out)} == told
    assert (out / "compare.html").read_text().startswith("<!doctype html>")
    assert "| A - C | gIoU |" in (out / "compare.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--draws", "5"], "--draws of at least 100"),
        (["--seed", "-1"], "--seed of at least 0"),
        (["--out", "FILE"], "a folder to write into"),
    ],
)
def test_bad_options(capsys, tmp_path, runs, words, said):
    (tmp_path / "file").write_text("")
    words = [str(tmp_path / "file") if word == "FILE" else word for word in words]
    assert main.call(["compare", *runs, *words]) == 2
    assert said in capsys.readouterr().err


def test_bad_runs(capsys, tmp_path, runs):
    other = str(write_run(tmp_path / "other", rows_of(TWO), data="d2"))
    for words, said in (([runs[0], other], "data d1"), ([runs[0], runs[0]], "twice"), ([runs[0], "gone"], "run.json")):
        assert main.call(["compare", *words]) == 2
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err
