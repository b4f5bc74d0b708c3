"""A run from its beginning, again, after changes, after a kill, in processes and over Ray; its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.records import read_records
from miras.data.inspect.validate import validate
from miras.predict import run as running
from miras.predict.outputs import FORMATS
from miras.predict.questions import questions_of
from miras.predict.run import Settings, Summary, predict
from tests.predict import made
from tests.predict.made import CUP, DRAGON, HELLO, LONG, SPOON, contents, draw, install, loaded

ROOT = Path(__file__).parents[2]
KILLS = (1, 4, 9)
"""Photos that are answered when a run is killed."""


@pytest.fixture(autouse=True)
def _written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "cores", lambda: 1)
    monkeypatch.setattr(made.work, "_loaded", loaded)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos in two folders, with the same names; one more that is none, and one that is gone."""
    for number in range(12):
        draw(tmp_path / "photos" / f"cam{number % 2}" / f"{number // 2}.jpg", number)
    (tmp_path / "photos" / "cam0" / "bad.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


def asked(photos: Path | str, out: Path, *asks: str, script: Path | None = None, **settings) -> Summary:
    given = Settings(**{"formats": FORMATS, "model": "miras-tiny", "jobs": 1, **settings})
    return predict([str(photos)], questions_of(asks or ([] if script else [CUP]), script), out, given)


def test_files_of_a_run(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    summary = asked(photos, out, CUP, DRAGON, HELLO)
    assert (summary.photos, summary.asked, summary.kept, summary.failed) == (13, 13, 0, 1)
    assert (summary.answers, summary.masks, summary.refused) == (36, 12, 12)
    coco = json.loads((out / "instances.json").read_text())
    assert [image["file_name"] for image in coco["images"][:3]] == ["cam0/0.jpg", "cam0/1.jpg", "cam0/2.jpg"]
    assert [one["name"] for one in coco["categories"]] == ["cup"]
    assert {(note["image_id"], note["question"]) for note in coco["annotations"]} == {(n, 1) for n in range(1, 13)}
    names = {image["id"]: image["file_name"][:-4] for image in coco["images"]}
    for note in coco["annotations"]:
        mask = np.asarray(Image.open(out / "masks" / "1" / f"{names[note['image_id']]}.png"))
        assert np.array_equal(mask > 0, decode_rle(note["segmentation"]))
        assert 0 < note["score"] < 1
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["1"]
    (failure,) = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert failure["photo"] == str(photos / "cam0" / "bad.jpg")
    assert failure["question"] == 0
    assert "bad.jpg" in failure["error"]


@pytest.mark.parametrize(("kind", "place"), [("jsonl", "records.jsonl"), ("miras", "parquet"), ("labelme", "labelme")])
def test_what_is_written_is_read_again(photos: Path, tmp_path: Path, kind, place):
    out = tmp_path / "out"
    asked(photos, out, CUP, DRAGON)
    read = list(read_records(out / place, kind))
    assert len(read) == (12 if kind == "labelme" else 24)
    assert all(Path(record["image"]).is_file() for record in read)
    held = {record["image"]: record for record in read if record["kind"] == "single"}
    coco = json.loads((out / "instances.json").read_text())
    for note in coco["annotations"]:
        record = held[coco["images"][note["image_id"] - 1]["path"]]
        (region,) = record["turns"][1]["regions"]
        assert np.array_equal(decode_rle(region["rle"]), decode_rle(note["segmentation"]))
        assert region["phrase"] == "cup"
    if kind != "labelme":
        assert [record["meta"]["refused"] for record in read] == [False, True] * 12
        assert read[0]["meta"]["score"] == coco["annotations"][0]["score"]
        assert [str(fault) for fault in validate(read)] == []


def test_a_script_selects_what_its_last_turn_leaves(photos: Path, tmp_path: Path):
    script = tmp_path / "script.txt"
    script.write_text(f"{CUP}\n{SPOON}\n\n{CUP}\n{SPOON}\nWithout the spoon.\n")
    summary = asked(photos / "cam1", tmp_path / "out", script=script, formats=("png", "jsonl"))
    assert summary.answers == 12
    records = list(read_records(tmp_path / "out" / "records.jsonl", "jsonl"))
    assert [len(record["turns"]) for record in records] == [4, 6] * 6
    both, cut = records[0]["meta"], records[1]["meta"]
    assert (both["label"], both["selection"]["expression"]) == ("cup + spoon", "1 + 2")
    assert cut["selection"]["expression"] == "(1 + 2) - 3"
    assert both["score"] == min(region["score"] for region in both["regions"])
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "1" / "0.png"))
    assert np.array_equal(mask > 0, decode_rle(both["selection"]["rle"]))


def test_the_photo_is_encoded_once(photos: Path, tmp_path: Path):
    model = loaded().model
    before = model.encoded_photos
    asked(photos / "cam1", tmp_path / "out", CUP, DRAGON, HELLO)
    assert model.encoded_photos - before == 6


def test_nothing_is_asked_twice_and_failures_again(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    asked(photos, out)
    first = contents(out)
    loaded().opened.clear()
    summary = asked(photos, out)
    assert (summary.asked, summary.kept, summary.failed) == (1, 12, 1)
    assert loaded().opened == [str(photos / "cam0" / "bad.jpg")]
    assert contents(out) == first
    draw(photos / "cam0" / "bad.jpg", 99)
    assert asked(photos, out).failed == 0
    assert (out / "failures.jsonl").read_text() == ""


def test_photos_that_came_or_changed_are_asked_about(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    asked(photos / "cam1", out)
    draw(photos / "cam1" / "9.jpg", 9)
    draw(photos / "cam1" / "2.jpg", 88, (64, 48))
    (photos / "cam1" / "5.jpg").unlink()
    loaded().opened.clear()
    summary = asked(photos / "cam1", out)
    assert [Path(path).name for path in loaded().opened] == ["2.jpg", "9.jpg"]
    assert (summary.photos, summary.kept, summary.masks) == (6, 4, 6)
    images = json.loads((out / "instances.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "9.jpg"]
    assert images[2]["height"] == 64


def test_other_formats_of_what_is_answered_need_no_model(photos: Path, tmp_path: Path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    asked(photos / "cam1", out, formats=("coco",))
    assert not (out / "masks").exists()
    loaded().opened.clear()
    assert asked(photos / "cam1", out).asked == 0
    assert loaded().opened == []
    asked(photos / "cam1", whole)
    assert contents(out) == contents(whole)


def test_a_question_that_fails_is_told_and_the_others_are_answered(photos: Path, tmp_path: Path):
    summary = asked(photos / "cam1", tmp_path / "out", LONG, CUP)
    assert (summary.answers, summary.failed) == (6, 6)
    lines = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert [(line["question"], "shorter" in line["error"]) for line in lines] == [(1, True)] * 6


def test_a_photo_that_breaks_the_model_is_told(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a tensor\nof another shape")

    monkeypatch.setattr(loaded(), "chat", broken)
    assert asked(photos / "cam1", tmp_path / "out").failed == 6
    line = json.loads((tmp_path / "out" / "failures.jsonl").read_text().splitlines()[0])
    assert line["error"] == "RuntimeError: a tensor of another shape"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"asks": (DRAGON,)}, "with questions"),
        ({"seed": 1}, "with seed 0, got 1"),
        ({"photos": "other"}, "with sources"),
        ({"dtype": "bfloat16"}, "with dtype"),
    ],
)
def test_another_job_is_one_line(photos: Path, tmp_path: Path, changes, says):
    out = tmp_path / "out"
    asked(photos / "cam1", out)
    first = contents(out)
    draw(tmp_path / "other" / "1.jpg")
    changes = dict(changes)
    source, asks = changes.pop("photos", photos / "cam1"), changes.pop("asks", (CUP,))
    with pytest.raises(InputError, match=says) as error:
        asked(tmp_path / source, out, *asks, **changes)
    assert "another --out" in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(out) == first


def test_a_folder_of_other_files_is_left_alone(photos: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        asked(photos, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"index.html": b"mine"}


def test_nothing_is_left_of_a_job_without_photos(tmp_path: Path):
    with pytest.raises(InputError, match="none in"):
        asked(tmp_path / "*.jpg", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"formats": ("coca",)}, "coco, png"),
        ({"formats": ()}, "none"),
        ({"jobs": 0}, "--jobs"),
        ({"threads": 0}, "thread"),
        ({"model": "miras-min"}, "miras-mini"),
        ({"device": "cuda:77"}, "cuda:77"),
    ],
)
def test_settings_that_cannot_be_are_one_line(photos: Path, tmp_path: Path, settings, says):
    with pytest.raises(InputError, match=says):
        asked(photos, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("threads", "jobs", "memory", "device", "expected"),
    [
        (None, None, 100, "cpu", (8, 1)), (None, None, 5, "cpu", (2, 4)), (None, None, 1, "cpu", (1, 8)),
        (None, 3, 1, "cpu", (3, 2)), (2, None, 100, "cpu", (2, 1)), (4, 2, 100, "cpu", (2, 2)),
        (1, 4, 100, "cpu", (4, 1)), (None, None, 100, "cuda", (1, 8)),
    ],
)  # fmt: skip
def test_threads_are_divided(monkeypatch: pytest.MonkeyPatch, threads, jobs, memory, device, expected):
    monkeypatch.setattr(running, "cores", lambda: 8)
    monkeypatch.setattr(running, "free_memory", lambda: memory * 2**30)
    assert running.spread(Settings(threads=threads, jobs=jobs, device=device)) == expected


# Stopped


def test_a_full_disk_is_one_line_and_the_rest_is_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    out, whole = tmp_path / "out", tmp_path / "whole"
    real = Path.write_bytes
    room = [20]

    def full(path: Path, content: bytes) -> int:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        return real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match="No space left") as error:
            asked(photos, out)
    assert "\n" not in str(error.value)
    kept = len(list((out / ".miras" / "parts").rglob("*.json")))
    assert 0 < kept < 12
    assert asked(photos, out).kept == kept
    asked(photos, whole)
    assert contents(out) == contents(whole)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_run_repeats_nothing_and_ends_with_the_same_bytes(photos: Path, tmp_path: Path, jobs: int):
    whole, out = tmp_path / "whole", tmp_path / "out"
    asked(photos, whole)
    parts = out / ".miras" / "parts"
    for kill in KILLS[1:2] if jobs > 1 else KILLS:
        begun = begin(photos, out, jobs)
        while len(list(parts.rglob("*.json"))) < kill and begun.poll() is None:
            time.sleep(0.002)
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    wait_for_children(out)
    kept = {path: path.stat().st_ino for path in parts.rglob("*.json") if b'"failures": []' in path.read_bytes()}
    assert kept
    summary = asked(photos, out)
    assert summary.kept == len(kept)
    assert {path: path.stat().st_ino for path in kept} == kept
    assert contents(out) == contents(whole)


def begin(photos: Path, out: Path, jobs: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.predict.command", "predict", str(photos), "--ask", CUP, "--out", str(out)]
    command += ["--to", *FORMATS, "--model", "miras-tiny", "--threads", "1", "--jobs", str(jobs)]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)


def wait_for_children(out: Path) -> None:
    """Until nothing changes any more: processes of a pool end with their parent, of themselves."""
    before = None
    for _ in range(100):
        now = sorted(contents(out))
        if now == before:
            return
        before = now
        time.sleep(0.5)
    pytest.fail("something still writes")


def test_two_runs_at_once_are_told_apart(photos: Path, tmp_path: Path):
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    asked(photos / "cam1", out)
    with (out / ".miras" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another run"):
            asked(photos / "cam1", out)
    assert asked(photos / "cam1", out).kept == 6


# Processes


def test_processes_give_the_same_bytes(photos: Path, tmp_path: Path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    asked(photos, whole)
    done = begin(photos, out, 2)
    assert done.wait() == 1
    assert contents(out) == contents(whole)


def test_a_process_that_dies_is_one_line(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def dies(*_: object, **__: object):
        raise running.BrokenProcessPool
        yield

    monkeypatch.setattr(running, "mapped", dies)
    with pytest.raises(InputError, match="fewer --jobs"):
        asked(photos, tmp_path / "out", jobs=2)


def test_memory_holds_one_photo_at_a_time(photos: Path, tmp_path: Path):
    """What is yielded is small: an outcome holds no mask and no picture."""
    import pickle

    install()
    seen: list[int] = []

    def watch(outcomes, total, of):
        for outcome in outcomes:
            seen.append(len(pickle.dumps(outcome)))
            yield outcome

    predict([str(photos / "cam1")], questions_of([CUP]), tmp_path / "out",
            Settings(model="miras-tiny", jobs=1), watch=watch)  # fmt: skip
    assert len(seen) == 6
    assert max(seen) < 1000
