"""Conversations of an assistant: what it is told, what it may read and write."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError, MirasError
from miras.model.miras import Miras
from miras.serve.assistant.talks import MOST, Talks
from tests.serve.site import Script

CUP, SPOON = "Where is the cup?", "Also the spoon."


@pytest.fixture
def folder(jpeg: bytes, tmp_path: Path) -> Path:
    place = tmp_path / "photos"
    place.mkdir()
    (place / "cup.jpg").write_bytes(jpeg)
    (tmp_path / "secret.jpg").write_bytes(jpeg)
    return place


def talks(model: Miras, folder: Path, memory: int = 2**30) -> Talks:
    return Talks(lambda: Script(model, "small", 0.0), folder, memory)


def test_select_and_go_on(model: Miras, folder: Path) -> None:
    here = talks(model, folder)
    first = here.select("cup.jpg", CUP)
    assert first.text.splitlines()[0] == "Here is the cup."
    assert first.facts["selection"]["expression"] == "1" and first.facts["selection"]["area"] > 0
    assert f"conversation: {first.facts['conversation']}" in first.text
    assert Image.open(io.BytesIO(first.picture)).size == (64, 48)
    name = first.facts["conversation"]
    second = here.follow_up(name, SPOON)
    assert second.facts["selection"]["expression"] == "1 + 2"
    assert [region["phrase"] for region in second.facts["regions"]] == ["cup", "spoon"]
    mended = here.refine(name, 2, [[50, 40, 0]], [8, 8, 40, 30])
    assert mended.facts["regions"][1]["box"] != second.facts["regions"][1]["box"]
    assert here.undo(name).facts["regions"] == second.facts["regions"]
    back = here.undo(name)
    assert back.facts["selection"] == first.facts["selection"] and back.text.startswith("Done.")
    assert here.select(str(folder / "cup.jpg"), CUP).facts["conversation"] != name


def test_a_conversation_put_aside_goes_on_as_one_that_stayed(model: Miras, folder: Path) -> None:
    kept, aside = talks(model, folder), talks(model, folder, 0)
    names = {}
    for here in (kept, aside):
        names[here] = here.select("cup.jpg", CUP).facts["conversation"]
        here.select("cup.jpg", CUP)  # puts the first one aside where there is no memory
    assert aside._ready.put_aside >= 1
    found = [here.follow_up(names[here], SPOON) for here in (kept, aside)]
    assert found[0].facts["regions"] == found[1].facts["regions"]
    assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(one.picture))) for one in found))


def test_masks_are_new_files_of_its_folder(model: Miras, folder: Path) -> None:
    here = talks(model, folder)
    name = here.select("cup.jpg", CUP).facts["conversation"]
    area = here.follow_up(name, SPOON).facts["selection"]["area"]
    first = here.export(name, ["png", "rle"], False)
    again = here.export(name, ["png"], True)
    assert {path.name for path in first} == {"cup.mask.png", "cup.rle.json"} and len(again) == 2
    assert len({*first, *again}) == 4 and all(path.is_relative_to(folder / "miras-masks") for path in [*first, *again])
    picture = next(path for path in first if path.suffix == ".png")
    assert int((np.asarray(Image.open(picture)) > 0).sum()) == area
    assert json.loads(next(path for path in first if path.suffix == ".json").read_text())["masks"]


@pytest.mark.parametrize(
    ("photo", "request_", "line"),
    [
        ("../secret.jpg", CUP, "--folder"),
        ("/etc/passwd", CUP, "--folder"),
        ("link.jpg", CUP, "--folder"),
        ("gone.jpg", CUP, "gone.jpg"),
        ("notes.txt", CUP, "notes.txt"),
        ("cup.jpg", " ", "a message with words"),
    ],
)
def test_what_is_refused(model: Miras, folder: Path, photo: str, request_: str, line: str) -> None:
    (folder / "notes.txt").write_text("no photo")
    (folder / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    here = talks(model, folder)
    with pytest.raises(InputError) as refused:
        here.select(photo, request_)
    assert line in str(refused.value)
    assert len(here._kept) == 0


def test_conversations_that_are_not_there(model: Miras, folder: Path) -> None:
    here = talks(model, folder)
    with pytest.raises(InputError, match="begin with select"):
        here.follow_up("00000000", CUP)
    name = here.select("cup.jpg", CUP).facts["conversation"]
    here.undo(name)
    with pytest.raises(MirasError, match="an earlier turn"):
        here.undo(name)
    with pytest.raises(InputError, match="label 1 or 0"):
        here.refine(name, None, [[1, 2]], None)
    with pytest.raises(InputError, match="something selected"):
        here.export(name, ["png"], False)
    for _ in range(MOST):
        here._kept[name + str(len(here._kept))] = here._kept[name]
    here.select("cup.jpg", CUP)
    with pytest.raises(InputError, match="begin with select"):
        here.follow_up(name, CUP)
    shutil.rmtree(folder)
