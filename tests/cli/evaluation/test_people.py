"""`miras people`: sheets, answers and sizes from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from miras.cli import main
from miras.cli.evaluation.people import people_app
from miras.eval.rating.sheets import read_people
from miras.eval.rating.transcripts import read_runs
from tests.eval.judged import make_run

pytest.importorskip("scipy")


@pytest.fixture(autouse=True)
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command by itself, called as the door calls it."""
    app = cyclopts.App(name="miras", result_action="return_value")
    app.command(people_app)
    monkeypatch.setattr(main, "app", app)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [str(make_run(tmp_path / name, 6, name, target_share=0.2)) for name in ("one", "two")]


def last(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def fill(study: Path, careless: str = "") -> list[str]:
    """Everybody prefers run "two" and gives it a 5, the other a 3; checks are passed."""
    key = json.loads((study / "key.json").read_text())
    cards = {card["id"]: card for card in key["cards"]}
    files = sorted((study / "sheets").glob("*.csv"))
    for file in files:
        rows = list(csv.DictReader(file.open(newline="")))
        for line in rows:
            card = cards[line["record"]]
            if line["criterion"] == "asked":
                line["score"] = "yes"
            elif key["kind"] == "rating":
                line["score"] = {"A": "3", "B": "5", "whole": "1"}[card["shown"][0]]
            else:
                better = "gold" if card["role"] == "check" else "B"
                line["score"] = ("left", "right")[card["shown"].index(better)]
            if careless and careless in file.name:
                line["score"] = "left" if key["kind"] == "pairwise" else "yes" if line["criterion"] == "asked" else "4"
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    return [str(file) for file in files]


@pytest.mark.parametrize("kind", ["pairwise", "rating"])
def test_from_start_to_end(capsys, tmp_path, runs, kind):
    study = tmp_path / "study"
    words = ["--out", str(study), "--items", "4", "--raters", "3", "--each", "2", "--kind", kind]
    assert main.call(["people", "sheets", *runs, *words, "--json"]) == 0
    made = last(capsys)
    assert made["checks_missing"] == 0 and set(made["cards"]) == {"01", "02", "03"}
    assert main.call(["people", "sheets", *runs, *words]) == 2
    assert "never written over" in capsys.readouterr().err
    assert main.call(["people", "read", str(study), "--answers", *fill(study), "--json"]) == 0
    result = last(capsys)
    assert result["left_out_raters"] == [] and result["faults"]["n"] == 0
    if kind == "pairwise":
        pair = result["figures"]["overall"]["pairs"]["A against B"]
        assert (pair["wins"], pair["losses"], pair["share"]["value"]) == (0, 8, 0)
        assert result["figures"]["overall"]["self"]["same"] == 1
        assert not (study / "people.csv").exists()
    else:
        assert result["figures"]["relevance"]["differences"]["A - B"]["value"] == -2
        scores = read_people([study / "people.csv"], read_runs([Path(run) for run in runs]))
        assert {(score.run, score.score) for score in scores} == {("A", 3), ("B", 5)} and len(scores) == 2 * 2 * 4 * 4
    assert f"# People, study {made['study']}" in (study / "report.md").read_text()


def test_a_careless_rater(capsys, tmp_path, runs):
    study = tmp_path / "study"
    assert main.call(["people", "sheets", *runs, "--out", str(study), "--items", "4", "--raters", "3", "--each", "2",
                      "--kind", "rating"]) == 0  # fmt: skip
    answers = fill(study, "02")
    assert main.call(["people", "read", str(study / "key.json"), "--answers", *answers]) == 1
    shown = capsys.readouterr()
    assert "rater 02 left out: 3 of 3 attention checks missed" in shown.err
    assert "| relevance | 3.00" in shown.out


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        (["--difference", "0.5", "--sd", "1"], "items", 32),
        (["--share", "0.65"], "items", 85),
        (["--width", "0.1", "--sd", "0.5"], "photos", 97),
        (["--width", "0.1", "--sd", "0.5", "--per-photo", "2", "--rho", "1"], "items", 194),
    ],
)
def test_size(capsys, words, key, expected):
    assert main.call(["people", "size", *words, "--json"]) == 0
    assert last(capsys)[key] == expected
    assert main.call(["people", "size", *words]) == 0
    assert "design effect" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["size"], "two runs with --giou, or no run"),
        (["size", "--share", "0.6", "--width", "0.1"], "--share, --width"),
        (["size", "one", "--giou", "2"], "two runs"),
        (["size", "one", "two", "--giou", "2"], "the rows of a run"),
        (["sheets", "one", "--out", "x"], "2 to 26 runs"),
        (["read", "none", "--answers", "x.csv"], "the key of a study"),
    ],
)
def test_bad_input(capsys, monkeypatch, tmp_path, words, says):
    monkeypatch.chdir(tmp_path)
    assert main.call(["people", *words]) == 2
    assert says in capsys.readouterr().err
