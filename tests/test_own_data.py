"""docs/own_data.md, run as it is written: its commands in order, in one folder, with the real `miras-mini`.

What is put in place of what the page says: 200 steps of four photos become two of one, and the second training starts
from `miras-tiny`. The folder holds what the page speaks of: photos/, coco/ and photo.jpg.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miras.cli import train as train_command
from miras.cli.main import app, call
from miras.data.formats.records import read_records, write_records
from miras.train.data.augment import Strength
from tests.own_photos import write

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
SMALL = "steps=2 log_every=1 batch.photos=1 device=cpu"
TINY = f"{SMALL} start.weights= start.preset=miras-tiny"
REPORTS = "out" in inspect.signature(app["eval"].default_command).parameters
"""Whether this `miras eval` writes a report."""


def blocks() -> list[tuple[str, str]]:
    """(language, text) of the commands and programs of the page, in their order; installing is not among them."""
    found = re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.DOTALL)
    return [(kind, text) for kind, text in found if not text.startswith("pip ")]


def shortened(text: str) -> str:
    """The block with a training that takes seconds."""
    return re.sub(r"steps=200(?=.*runs/(\S+))", lambda found: SMALL if found[1] == "mugs" else TINY, text)


class Walk:
    """The page walked through. said: what each block printed, by its first line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, dict[str, str]()
        write(folder / "photos")
        shutil.copy(folder / "photos" / "coffee.jpg", folder / "photo.jpg")
        write_records(read_records(folder / "photos", "labelme"), folder / "coco", "coco")
        programs = folder / "bin"
        programs.mkdir()
        (programs / "miras").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m miras "$@"\n')
        (programs / "miras").chmod(0o755)
        search = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": search, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}
        for kind, text in blocks():
            if "miras eval" in text and not REPORTS:
                continue
            self.said[text.splitlines()[0]] = self.run(kind, shortened(text))

    def run(self, kind: str, text: str) -> str:
        program = ["bash", "-euc", text] if kind == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(
            program, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def after(self, start: str) -> str:
        """What the block printed whose first line begins so."""
        return next(said for first, said in self.said.items() if first.startswith(start))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return Walk(tmp_path_factory.mktemp("own"))


# The page as written


def test_the_data_is_looked_at(walk: Walk) -> None:
    for start in ("miras data validate photos", "miras data validate coco"):
        assert "12 records, no faults" in walk.after(start)
    sheet = Image.open(walk.folder / "sheets" / "sheet-01.png")
    assert min(sheet.size) > 300
    assert (walk.folder / "sheets-coco" / "sheet-01.png").is_file()


def test_training_leaves_what_the_page_says(walk: Walk) -> None:
    said, run = walk.after("miras train own --data photos"), walk.folder / "runs" / "mugs"
    assert "own 2/2  loss" in said
    assert "validation at 2: giou" in said
    assert "13,967,404 parameters learn, 3 photos, 0 conversations, 1 held out" in said
    table = PAGE[PAGE.index("| in `runs/mugs`") :].split("\n\n")[0]
    named = re.findall(r"`([\w./-]+)`", table.replace("checkpoint-N", "checkpoint-2").replace("--resume", ""))
    assert {"model/", "held_out.jsonl", "overlays/", "checkpoint-2/"} <= set(named)
    assert all((run / name).exists() for name in named if name != "runs/mugs"), named
    assert "steps: 2" in (run / "recipe.yaml").read_text()


def test_what_is_kept_out_was_not_trained_on(walk: Walk) -> None:
    kept = list(read_records(walk.folder / "runs" / "mugs" / "held_out.jsonl", "jsonl"))
    assert {(record["image_id"], record["focus"]) for record in kept} == {
        ("chelsea", "eyes"), ("chelsea", "nose of the cat"),
    }  # fmt: skip
    assert call(["data", "validate", str(walk.folder / "runs" / "mugs" / "held_out.jsonl")]) == 0


def test_the_tuned_model_talks(walk: Walk) -> None:
    said = walk.after("miras ask photo.jpg")
    assert said.count("miras: ") == 2
    first = json.loads((walk.folder / "out" / "turn-1.json").read_text())
    assert "cup" in first["text"]
    with Image.open(walk.folder / "out" / "turn-1-mask.png") as mask:
        assert mask.size == (600, 400)
    assert (walk.folder / "out" / "turn-1-overlay.png").is_file()


@pytest.mark.skipif(not REPORTS, reason="miras eval writes no report yet")
def test_the_report_is_of_the_photos_kept_out(walk: Walk) -> None:
    for name in ("before", "after"):
        rows = (walk.folder / "runs" / "mugs" / name / "samples.jsonl").read_text().splitlines()
        assert {json.loads(row)["photo"] for row in rows} == {"chelsea"}
        assert len(rows) == 2


def test_conversations_of_ones_own(walk: Walk) -> None:
    assert "2 records, no faults" in walk.after("miras data validate talks.jsonl")
    assert re.search(r"[23] photos, [12] conversations, [12] held out", walk.after("miras data validate talks.jsonl"))
    assert (walk.folder / "runs" / "mugs-talks" / "model" / "config.json").is_file()


# What the page says besides


def test_the_page_installs_what_training_needs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "pip install 'miras[train]'" in PAGE
    named = {re.split(r"[^\w-]", need)[0] for need in extras["train"]}
    assert set(train_command.NEEDED) <= named


@pytest.mark.parametrize("package", sorted(train_command.NEEDED))
def test_a_missing_package_is_named(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == package else find(name, *more))
    assert call(["train", "own", "--data", "photos"]) == 2
    error = capsys.readouterr().err
    assert f"no {package}; pip install 'miras[train]'" in error
    assert error.count("\n") == 1


KEYS = {
    "steps", "augment.flip", "optimiser.factor", "batch.photos", "batch.accumulate", "gradient_checkpointing",
    "data.val",
}  # fmt: skip
"""Settings that the page names."""


def test_options_of_the_page_exist(capsys: pytest.CaptureFixture[str]) -> None:
    settings = sorted(set(re.findall(r"\b[\w.]+=[\w.]+", PAGE)))
    assert {text.split("=")[0] for text in settings} == KEYS
    assert call(["train", "own", "--set", *settings, *re.findall(r"--set '(.+?)'", PAGE), "--show"]) == 0
    shown = capsys.readouterr().out
    assert "weights: miras-mini" in shown
    assert "_tower\\.: 0.0" in shown
    assert {name.partition(".")[2] for name in KEYS if name.startswith("augment.")} <= {
        f.name for f in fields(Strength)
    }


# When data is refused


def edited(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "coffee.json") -> Path:
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))
    return folder


def photo_missing(folder: Path) -> Path:
    (write(folder) / "coffee.jpg").unlink()
    return folder


def outline_outside(folder: Path) -> Path:
    return edited(write(folder), lambda d: d["shapes"][1].update(points=[[900, 900], [950, 900], [950, 950]]))


def label_empty(folder: Path) -> Path:
    return edited(write(folder), lambda d: d["shapes"][1].update(label=" "))


def nothing_there(folder: Path) -> Path:
    folder.mkdir()
    return folder


def photos_alone(folder: Path) -> Path:
    for file in write(folder).glob("*.json"):
        file.unlink()
    return folder


def one_photo(folder: Path) -> Path:
    return write(folder, ["coffee"])


def coco(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    write_records(read_records(write(folder / "photos"), "labelme"), folder / "coco", "coco")
    return edited(folder / "coco", change, "instances.json") / "instances.json"


def boxes_only(folder: Path) -> Path:
    return coco(folder, lambda d: [note.pop("segmentation") for note in d["annotations"]])


def coco_photo_missing(folder: Path) -> Path:
    return coco(folder, lambda d: d["images"][0].update(file_name="gone.jpg"))


def two_photos_for_one_file(folder: Path) -> Path:
    write(folder, ["coffee", "rocket"])
    for name, new in (("coffee.jpg", "a.jpg"), ("rocket.jpg", "a.png"), ("coffee.json", "a.json")):
        (folder / name).rename(folder / new)
    (folder / "rocket.json").unlink()
    return edited(folder, lambda d: d.pop("imagePath"), "a.json")


def one_photo_in_two_splits(folder: Path) -> Path:
    write(folder / "train", ["coffee", "rocket"])
    return write(folder / "valid", ["coffee"]).parent


REFUSED: list[tuple[Callable[[Path], Path], str, str, bool]] = [
    (photo_missing, "expected the photo, got no file", "coffee.json", True),
    (coco_photo_missing, "expected the photo, got no file", "image 1", True),
    (outline_outside, "expected a shape with pixels of the photo, got none", "shape 1 (spoon)", True),
    (label_empty, "expected a label", "coffee.json, shape 1", True),
    (boxes_only, "expected polygons or RLE, got None", "annotation 1", True),
    (nothing_there, "expected photos with masks in", "LabelMe leaves a JSON beside each photo", False),
    (photos_alone, "expected photos with masks in", "LabelMe leaves a JSON beside each photo", False),
    (two_photos_for_one_file, "expected one photo for a.json, got a.jpg and a.png", "which differ", True),
    (one_photo_in_two_splits, "expected each photograph in one split", "'coffee' in 'val' and before in 'train'", True),
    (one_photo, "expected two photos at least", "--set data.val=0", False),
]
"""Data, what is said, what else stands in that line, whether `miras data validate` says it as well."""


@pytest.mark.parametrize(("make", "said", "also", "validated"), REFUSED, ids=[row[0].__name__ for row in REFUSED])
def test_bad_data_is_refused_in_one_line(
    make: Callable[[Path], Path], said: str, also: str, validated: bool, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = make(tmp_path / "data")
    assert call(["train", "own", "--data", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert also in error
    assert error.count("\n") == 1
    assert error.startswith("miras: expected ")
    assert {file.name for file in (tmp_path / "run").glob("*")} <= {"faults.txt"}  # every fault; nothing was begun
    if validated:
        assert "mend or delete what is named" in error
        assert "miras data validate" in error
        assert call(["data", "validate", str(path)]) == 1
        assert said in capsys.readouterr().out


def test_the_table_of_the_page_holds_every_row() -> None:
    table = PAGE[PAGE.index("| it says | what to do |") :]
    assert set(re.findall(r"^\| `(expected [^`]+)` \|", table, re.MULTILINE)) == {row[1] for row in REFUSED}
