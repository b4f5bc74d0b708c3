"""What people corrected comes out as training data, by the API and by the command, and training reads it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.cli.main import call
from miras.client import Client, Refused
from miras.core.masks import decode_rle, encode_rle
from miras.data.formats.records import read_records
from miras.model.miras import Miras
from miras.serve.corrections import Correction, latest
from tests.serve.site import Script, Site


@pytest.fixture
def site(model: Miras, tmp_path: Path) -> Iterator[Site]:
    running = Site(Script(model, "small", 0.0), tmp_path / "data")
    yield running
    running.stop()


def drawn(height: int, width: int, x1: int, y1: int, x2: int, y2: int) -> Any:
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def found(folder: Path) -> dict[tuple[str, str], Any]:
    """(photo's file, phrase) -> mask of each record."""
    records = read_records(folder, "labelme")
    return {
        (Path(record["image"]).name, record["focus"]): decode_rle(record["turns"][1]["regions"][0]["rle"])
        for record in records
    }


def unpacked(content: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    return folder


def corrected(client: Client, assets: Path) -> dict[tuple[str, str], Any]:
    """Two photos with corrections and a conversation without; what should come out."""
    coffee, astronaut = (client.upload(assets / f"{name}.jpg") for name in ("coffee", "astronaut"))
    expected = {}
    talk = client.start(coffee)
    client.ask(talk, "Where is the cup?")
    client.ask(talk, "Also the spoon.")
    cup = drawn(400, 600, 160, 40, 400, 320)
    cup[150:180, 250:300] = False  # a hole
    client.refine(talk, region=1, box=[10, 10, 90, 80])
    client.refine(talk, region=1, mask=encode_rle(cup))
    expected[f"coffee-{coffee.id[2:]}.jpg", "cup"] = cup
    client.refine(talk, region=2, mask=encode_rle(~cup))
    client.undo(talk)  # that was wrong: the spoon stays as the model drew it
    later = client.start(astronaut)
    client.refine(later, points=[(100, 100)])  # no words: nothing to learn
    client.ask(later, "Where is the cup?")
    face = drawn(512, 512, 180, 60, 280, 200)
    client.refine(later, region=2, mask=encode_rle(face))
    expected[f"astronaut-{astronaut.id[2:]}.jpg", "cup"] = face
    plain = client.start(client.upload(assets / "rocket.jpg"))
    client.ask(plain, "Where is the cup?")
    with pytest.raises(Refused, match="expected something that was corrected by hand, got nothing"):
        client.export(plain, "corrections")
    return expected


def test_from_the_page_back_into_training(site: Site, photo_path: Path, tmp_path: Path, capsys: Any) -> None:
    with Client(site.address) as client:
        with pytest.raises(Refused, match="take another name for it, first"):
            client.corrections()
        expected = corrected(client, photo_path.parent)
        everything = client.corrections()
        assert everything.name == "corrections.zip"
        folder = unpacked(everything.content, tmp_path / "all")
        masks = found(folder)
        assert masks.keys() == expected.keys()
        for name, mask in expected.items():
            assert (masks[name] == mask).all(), name
        talk = client.conversations().items[-1]
        one = client.export(talk, "corrections")
        assert one.name == "coffee.corrections.zip"
        assert {name for name, _ in found(unpacked(one.content, tmp_path / "one"))} == {next(iter(expected))[0]}
        assert call(["collect", str(tmp_path / "asked"), "--server", site.address]) == 0
        assert call(["collect", str(tmp_path / "asked"), "--server", site.address]) == 2  # never written over
        assert call(["collect", str(tmp_path / "locked"), "--data", str(tmp_path / "data")]) == 2
        assert "another miras serve uses" in capsys.readouterr().err
    site.stop()
    assert call(["collect", str(tmp_path / "kept"), "--data", str(tmp_path / "data"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["photos"] == 2
    names = {path.name: path.read_bytes() for path in folder.iterdir()}
    for other in ("asked", "kept"):
        assert {path.name: path.read_bytes() for path in (tmp_path / other).iterdir()} == names

    assert call(["data", "validate", str(folder), "--format", "labelme"]) == 0
    small = ["steps=2", "log_every=1", "batch.photos=1", "device=cpu", "start.weights=", "start.preset=miras-tiny"]
    out = tmp_path / "run"
    assert call(["train", "own", "--data", str(folder), "--set", *small, "--out", str(out)]) == 0
    assert "1 photos, 0 conversations, 1 held out" in capsys.readouterr().err
    assert (out / "model" / "model.safetensors").is_file()


def test_a_name_that_was_taken(site: Site, photo_path: Path, tmp_path: Path) -> None:
    with Client(site.address) as client:
        talk = client.start(client.upload(photo_path))
        for text in ("the thing", "what is it", "something", "the round one", "please"):
            regions = client.ask(talk, text).regions
            if offers := [(one.id, one.alternatives[0].phrase) for one in regions if one.alternatives]:
                break
        region, phrase = offers[0]
        turn = client.alternative(talk, region, phrase)
        folder = unpacked(client.export(talk, "corrections").content, tmp_path / "set")
        (mask,) = found(folder).values()
        ours = next(one for one in turn.regions if one.id == region)
        assert (mask == decode_rle(vars(ours.rle))).all()  # type: ignore[arg-type]
        (file,) = folder.glob("*.json")
        shapes = json.loads(file.read_text(encoding="utf-8"))["shapes"]
        assert {(shape["label"], shape["description"]) for shape in shapes} == {(phrase.strip(), "corrected: name")}
        fork = client.fork(talk)
        client.refine(fork, region=region, mask=encode_rle(drawn(*mask.shape, 0, 0, 9, 9)))
        labels = json.loads(unpacked(client.export(fork, "corrections").content, tmp_path / "fork").joinpath(file.name)
                            .read_text(encoding="utf-8"))["shapes"]  # fmt: skip
        assert labels[0]["description"] == "corrected: mask, name"
        client.undo(talk)
        with pytest.raises(Refused, match="corrected by hand"):
            client.export(talk, "corrections")


def test_the_later_of_two_counts() -> None:
    first, shifted, other = (drawn(20, 20, x, 2, x + 8, 10) for x in (2, 4, 11))
    rows = [
        Correction("Cup", first, "mask", 1.0), Correction("cup", shifted, "mask", 2.0),
        Correction("cup", other, "mask", 3.0), Correction("rim", first, "mask", 0.0),
    ]  # fmt: skip
    assert [(one.phrase, one.at) for one in latest(rows)] == [("rim", 0.0), ("cup", 2.0), ("cup", 3.0)]
