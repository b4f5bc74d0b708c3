"""`miras eval` over recorded conversations; its other ways are in test_commands.py."""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts
import numpy as np
import pytest
from PIL import Image

from miras.cli import main
from miras.cli.evaluation.evaluate import evaluate
from miras.core.masks import encode_rle
from miras.data.formats.records import write_records
from miras.eval.systems.predictions_format import write
from tests.cli.test_main import TINY, complaint
from tests.data.formats.test_labelme import SQUARE, shape
from tests.data.formats.test_labelme import write as labelled
from tests.data.made import MASKS, photo, singles, talk
from tests.eval.runs.test_run import progressive
from tests.eval.tasks.test_instructpart import make_folder
from tests.servers import serve

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


def make_sets(tmp_path: Path) -> Path:
    """One set of two photos with a bottle each, in the layout of the training sets."""
    folder = tmp_path / "sets" / "bottles"
    (folder / "images").mkdir(parents=True)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in range(2)]
    box = [[8, 8, 40, 8, 40, 40, 8, 40]]
    notes = [{"id": n, "image_id": n, "category_id": 1, "segmentation": box, "iscrowd": 0} for n in range(2)]
    for image in images:
        Image.new("RGB", (64, 64), (120, 90, 60)).save(folder / "images" / image["file_name"])
    content = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "bottle"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return tmp_path / "sets"


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
    assert {file.name for file in out.iterdir()} == {"samples.jsonl", "run.json", "summary.json", "report.html"}
    assert Path(result["report"]) == out / "report.html"
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


def test_what_is_left_out_is_told(capsys, tmp_path):
    labelled(tmp_path, shape(), shape(SQUARE[:2], "line"))
    assert main.call(["eval", str(tmp_path), *TINY]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("left out: shapes of the kind line: 1 (first: ")
    assert main.call(["eval", str(tmp_path), "--json", *TINY]) == 0
    found = last(capsys)
    assert [(entry["reason"], entry["count"]) for entry in found["left_out"]] == [("shapes of the kind line", 1)]
    assert found["read"]["shapes"] == 1
    labelled(tmp_path, shape(SQUARE[:2], "line"))
    assert main.call(["eval", str(tmp_path), *TINY]) == 2
    assert "left out: shapes of the kind line: 1" in complaint(capsys)


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
        (["--model", "baseline:elipse"], "did you mean 'baseline:ellipse'"),
        (["--model", "predictions:nowhere"], "nowhere"),
        (["--model", "openai:m", "--base-url", "host/v1"], "--base-url"),
        (["--model", "composed"], "a talker for a composed model"),
        (["--model", "miras-tiny", "--talker", "miras-tiny"], "--model composed beside --talker"),
        (["--preset", "best"], "a preset: "),
        (["--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--ray"], "leave --ray out"),
        (["--jobs", "2"], "--ray beside --jobs"),
        (["--ray", "--jobs", "0"], "--jobs"),
    ],
)
def test_bad_input(capsys, data, arguments, says):
    assert main.call(["eval", str(data), *arguments, *(() if "--model" in arguments else TINY)]) == 2
    assert says in complaint(capsys).lower()


@pytest.mark.parametrize("name", ["ellipse", "photo", "salient", "phrase", "gold-box"])
def test_baselines(capsys, data, tmp_path, name):
    out = ["--out", str(tmp_path / "run"), "--decoder", "miras-tiny", "--threads", "1"]
    assert main.call(["eval", str(data), "--split", "val", "--json", "--model", f"baseline:{name}", *out]) == 0
    result = last(capsys)
    assert (result["model"], result["turns"], result["n"]) == (f"baseline:{name}", 5, 4)
    assert result["facts"].get("sees_the_data", False) is (name == "gold-box")
    assert result["faults"]["system"] == 0 and set(result) >= KEYS


@pytest.mark.parametrize(
    ("task", "told"), [("dialogues", "giou_by_move"), ("behaviours", "kinds"), ("phrases", "phrases")]
)
def test_every_baseline_on_every_task(capsys, tmp_path, task, told):
    """One engine: a run's folder, its summary with the task's figures, and the same figures again without a folder."""
    sets = make_sets(tmp_path)
    arguments = ["eval", str(sets), "--format", task, "--limit", "2", "--json", "--model", "baseline:photo"]
    assert main.call([*arguments, "--samples", str(tmp_path / "lines.jsonl"), "--out", str(tmp_path / "run")]) == 0
    kept = last(capsys)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert kept["model"] == summary["model"] == "baseline:photo" and told in kept
    assert (summary["phrases"] if task == "phrases" else summary[task]) and (tmp_path / "run" / "report.html").is_file()
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) >= 2
    assert main.call(arguments) == 0
    alone = last(capsys)
    assert all(alone[key] == kept[key] for key in (told, "n", "turns" if task == "dialogues" else "n"))


def test_a_baseline_on_instructpart_needs_no_folder(capsys, tmp_path):
    arguments = ["eval", str(make_folder(tmp_path)), "--instruction", "4", "--json", "--model", "baseline:photo"]
    assert main.call(arguments) == 0
    result = last(capsys)
    assert result["model"] == "baseline:photo" and result["instruction"] == 4 and result["n"] > 0


def answered(questions: Path, folder: Path) -> list[dict]:
    """What other software makes of the questions: the same small mask for each."""
    mask = MASKS["block"]
    asked = [json.loads(line) for line in questions.read_text().splitlines()]
    assert all(Path(line["photo"]).is_file() or (questions.parent / line["photo"]).is_file() for line in asked)
    return [{"record": line["record"], "turn": line["turn"], "history": line["history"],
             "masks": [{"phrase": "it", "rle": encode_rle(mask), "score": 0.5}]} for line in asked]  # fmt: skip


def test_questions_out_predictions_in(capsys, data, tmp_path):
    """Another system's whole way: its questions, its answers in a folder, its figures."""
    common = ["eval", str(data), "--split", "val", "--json"]
    assert main.call([*common, "--questions", str(tmp_path / "q")]) == 0
    told = last(capsys)
    assert (told["turns"], told["conversations"], told["history"]) == (6, 2, "own")
    write(tmp_path / "p", answered(Path(told["questions"]), tmp_path), name="theirs")
    out = tmp_path / "run"
    assert main.call([*common, "--model", f"predictions:{tmp_path / 'p'}", "--out", str(out)]) == 0
    result = last(capsys)
    assert (result["model"], result["turns"], result["n"]) == ("theirs", 5, 4)
    assert result["predictions"]["answered"] == result["predictions"]["asked"] == 6
    assert result["predictions"]["unknown"]["n"] == result["predictions"]["not_asked"] == 0
    assert 0 < result["giou"] < 100 and (out / "report.html").is_file()
    assert not (out / "answers.jsonl").exists()


def test_predictions_at_fault_are_counted_and_named(capsys, data, tmp_path):
    """Missing, of an unknown record, of another split, of another size, of a score that is no number: none is averaged
    away, and none is a traceback.
    """
    common = ["eval", str(data), "--split", "val", "--json"]
    assert main.call([*common, "--questions", str(tmp_path / "q.jsonl")]) == 0
    lines = answered(Path(last(capsys)["questions"]), tmp_path)
    lines = [line for line in lines if line["history"] != "alone"]
    (tmp_path / "p").mkdir()
    lines[0]["masks"][0]["rle"] = encode_rle(np.ones((5, 7), np.bool_))
    lines[1]["masks"][0]["score"] = float("nan")
    lines[2] = {**lines[2], "record": "ghost"}
    lines.append({**lines[1], "record": "made/0"})
    (tmp_path / "p" / "predictions.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert main.call([*common, "--model", f"predictions:{tmp_path / 'p'}"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.strip().splitlines()[-1])
    report = result["predictions"]
    assert {name: report[name]["n"] for name in ("missing", "unknown", "other_size", "bad_scores")} == {
        "missing": 1, "unknown": 1, "other_size": 1, "bad_scores": 1
    }  # fmt: skip
    assert (report["asked"], report["answered"], report["not_asked"]) == (5, 3, 1)
    assert report["unknown"]["named"] == ["ghost, turn 1"] or "ghost" in report["unknown"]["named"][0]
    assert result["faults"]["system"] == 3 and result["turns"] == 5 and result["n"] == 4
    assert "(5, 7)" in captured.err and "Traceback" not in captured.err
    assert report["missing"]["named"][0] in captured.err


def test_a_vision_model_behind_an_address(capsys, data, tmp_path, monkeypatch):
    """Every answer is in the run's folder: the second time nothing is paid."""
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-key")
    box = {"id": 0, "phrase": "it", "box": [0, 0, 500, 500], "points": []}
    content = json.dumps({"text": "There.", "steps": [{"do": "replace", "regions": [box]}]})
    out = tmp_path / "run"
    arguments = ["eval", str(data), "--split", "val", "--json", "--model", "openai:see", "--decoder", "miras-tiny",
                 "--threads", "1", "--out", str(out), "--price-in", "1", "--price-out", "2"]  # fmt: skip
    with serve(content=content) as server:
        assert main.call([*arguments, "--base-url", server.url]) == 0
        result = last(capsys)
        asked = len(server.asked)
        assert asked == 5  # of six: two talks begin with the same words about the same pixels
        assert result["spent"]["questions"] == 6 and result["spent"]["prompt_tokens"] == 5 * 11
        assert result["spent"]["cost"] == pytest.approx(5 * (11 + 2 * 5) / 1e6, abs=1e-6)
        assert (result["model"], result["turns"], result["faults"]["system"]) == ("openai:see", 5, 0)
        (out / "samples.jsonl").write_text("")
        assert main.call([*arguments, "--base-url", server.url]) == 0
        assert last(capsys)["giou"] == result["giou"] and len(server.asked) == asked
    assert all("sk-secret" not in file.read_text() for file in out.iterdir())


def test_a_pair_is_measured_with_one_command(capsys, data, tmp_path):
    box = {"id": 0, "phrase": "it", "box": [0, 0, 500, 500], "points": []}
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join([json.dumps({"text": "There.", "steps": [{"do": "replace", "regions": [box]}]})] * 9))
    arguments = ["eval", str(data), "--split", "val", "--json", "--model", "composed", "--talker", f"scripted:{script}",
                 "--segmenter", "miras-tiny", "--threads", "1"]  # fmt: skip
    assert main.call([*arguments, "--no-look"]) == 0
    result = last(capsys)
    assert result["model"].startswith("composed:scripted:") and result["turns"] == 5
    assert result["faults"]["system"] == 0 and result["facts"]["looks"] is False
    assert result["spent"]["questions"] == 6 and result["spent"]["calls"] == 5


def test_a_server_that_is_not_there_is_one_line(capsys, data):
    pytest.importorskip("openai")
    with serve() as server:
        url = server.url
    more = ["--decoder", "miras-tiny", "--retries", "0", "--timeout", "2"]
    assert main.call(["eval", str(data), "--model", "openai:m", "--base-url", url, *more]) == 2
    assert "an answer from" in complaint(capsys)


def test_no_dataset(capsys, tmp_path):
    photo(tmp_path / "p.png")
    assert main.call(["eval", str(tmp_path), *TINY]) == 2
    assert "--format" in complaint(capsys)


def test_names_on_the_photos_of_the_training_sets(capsys, tmp_path):
    make_sets(tmp_path)
    arguments = ["eval", str(tmp_path / "sets"), "--format", "phrases", "--json", *TINY]
    kept = ["--out", str(tmp_path / "run")]
    assert main.call([*arguments, *kept]) == 0
    first = last(capsys)
    assert first["phrases"]["there"]["things"]["n"] == 2
    assert first["phrases"]["absent"]["unlikely"]["n"] == 2
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["phrases"] == first["phrases"]
    lines = (tmp_path / "run" / "samples.jsonl").read_bytes()
    assert main.call([*arguments, *kept]) == 0  # goes on: nothing is asked again
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == lines
    assert main.call([*arguments, "--split", "test"]) == 2
    assert "--split all, train, calibration, val for phrases" in complaint(capsys)
