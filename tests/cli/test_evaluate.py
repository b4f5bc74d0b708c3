"""`miras eval` over recorded conversations; its other ways are in test_commands.py."""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts
import pytest

from miras.cli import main
from miras.cli.evaluate import evaluate
from miras.data.formats import write_records
from tests.cli.test_main import TINY, complaint
from tests.data.made import photo, singles, talk
from tests.eval.test_instructpart import make_folder
from tests.eval.test_run import progressive

KEYS = {"n", "giou", "ciou", "precision", "recall", "f1", "p50", "no_mask_rate", "model", "history", "seed"}


@pytest.fixture(autouse=True)
def door(monkeypatch):
    """The command by itself, called as the door calls it."""
    app = cyclopts.App(name="miras", result_action="return_value")
    app.command(evaluate, name="eval")
    monkeypatch.setattr(main, "app", app)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Parquet: two conversations of split val, eight annotations of split train."""
    records = [{**record, "split": "val"} for record in (talk(tmp_path / "one.png"), progressive(tmp_path / "b.png"))]
    write_records([*records, *singles(tmp_path, "train", ".png")], tmp_path / "data", "miras")  # type: ignore[list-item]
    return tmp_path / "data"


def last(capsys) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.parametrize("history", ["own", "gold"])
def test_a_run_and_its_folder(capsys, tmp_path, data, history):
    arguments = ["eval", str(data), "--split", "val", "--history", history, "--json", *TINY]
    out = tmp_path / "run"
    assert main.call([*arguments, "--out", str(out)]) == 0
    result = last(capsys)
    assert set(result) >= KEYS | {"commit", "versions", "command", "faults"}
    assert (result["format"], result["split"], result["history"], result["turns"]) == ("miras", "val", history, 5)
    assert {file.name for file in out.iterdir()} == {"samples.jsonl", "run.json", "summary.json"}
    written = json.loads((out / "summary.json").read_text())
    assert {key: result[key] for key in KEYS} == {key: written[key] for key in KEYS}
    assert main.call([*arguments, "--out", str(out)]) == 0
    assert last(capsys)["giou"] == result["giou"]


@pytest.mark.parametrize("format", ["jsonl", "prist", "coco", "indexed-png", "labelme", "reasonseg"])
def test_any_format_is_measured(capsys, tmp_path, format):
    records = singles(tmp_path, "", ".png")[:2]
    if format in ("jsonl", "prist"):
        records = [progressive(tmp_path / "b.png")]
        if format == "prist":  # one mask, in the last reply
            records[0]["turns"] = records[0]["turns"][:2]
            records[0]["focus"] = "block"
    out = tmp_path / ("d.jsonl" if format == "jsonl" else "d")
    write_records(records, out, format)
    assert main.call(["eval", str(out), "--json", *TINY]) == 0
    result = last(capsys)
    assert result["format"] == format and result["n"] > 0


def test_instructpart_as_records_equals_its_own_way(capsys, tmp_path):
    arguments = ["eval", str(make_folder(tmp_path)), "--instruction", "4", "--json", *TINY]
    assert main.call(arguments) == 0
    plain = last(capsys)
    assert main.call([*arguments, "--out", str(tmp_path / "run")]) == 0
    run = last(capsys)
    assert plain["instruction"] == run["instruction"] == 4
    assert {key: plain[key] for key in KEYS} == pytest.approx({key: run[key] for key in KEYS})


def test_for_a_person(capsys, data):
    assert main.call(["eval", str(data), "--limit", "3", *TINY]) == 0
    shown = capsys.readouterr().out
    assert "giou" in shown and "all turns" in shown and "final turn" in shown and "None" not in shown


def test_faults_are_said_and_the_exit_code_is_one(capsys, data):
    next((data / "images").glob("**/b*")).unlink()
    assert main.call(["eval", str(data), "--split", "val", "--json", *TINY]) == 1
    captured = capsys.readouterr()
    assert "no file" in captured.err and "step, turn 1" in captured.err
    assert json.loads(captured.out.strip().splitlines()[-1])["faults"]["data"] == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--split", "test"], "there are: train, val, all"),
        (["--limit", "0"], "--limit"),
        (["--format", "coca"], "did you mean 'coco'"),
        (["--format", "dialogues", "--split", "test"], "--split"),
        (["--samples", "s.jsonl"], "--out"),
        (["--history", "none"], "history"),
        (["--model", "miras-min"], "miras-mini"),
    ],
)
def test_bad_input(capsys, data, arguments, says):
    assert main.call(["eval", str(data), *arguments, *(() if "--model" in arguments else TINY)]) == 2
    assert says in complaint(capsys).lower()


def test_no_dataset(capsys, tmp_path):
    photo(tmp_path / "p.png")
    assert main.call(["eval", str(tmp_path), *TINY]) == 2
    assert "--format" in complaint(capsys)
