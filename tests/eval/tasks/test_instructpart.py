from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.chat.load import load
from miras.core.errors import InputError
from miras.data.formats.instructpart import read
from miras.eval.tasks import instructpart
from miras.eval.tasks.photos import side_of


def make_folder(tmp_path: Path) -> Path:
    """Two parts of one photograph, in the layout of InstructPart."""
    folder = tmp_path / "instructpart"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    records = []
    for part in ("handle", "body"):
        mask = np.zeros((60, 80), np.uint8)
        mask[10:40, 10:40] = 255
        Image.fromarray(pixels).save(folder / "images" / f"photo-cup-{part}.jpg")
        Image.fromarray(mask).save(folder / "masks" / f"photo-cup-{part}.png")
        record = {"object": "cup", "part": part, "affordance": "hold", "action": "hold"}
        texts = [
            f"What {part}?",
            f"Show {part}.",
            f"Where is the {part}?",
            "Where?",
            f"{part} of the cup",
            f"the {part}",
        ]
        records.append({"image_path": "photo.jpg", "part_list": [{**record, "instruction": texts}]})
    (folder / "data_dev.json").write_text(json.dumps(records))
    return folder


def test_each_item_is_asked_in_a_session_of_its_own_and_the_photo_is_encoded_once(tmp_path):
    loaded = load("miras-tiny", threads=1)
    items = read(make_folder(tmp_path))
    before = loaded.model.encoded_photos
    samples = list(instructpart.evaluate(loaded, items, 4))
    assert loaded.model.encoded_photos - before == 1
    assert [sample.instruction for sample in samples] == ["handle of the cup", "body of the cup"]
    figures = instructpart.figures(samples)
    assert figures["n"] == 2
    again = instructpart.figures(list(instructpart.evaluate(loaded, items, 4)))
    assert again["giou"] == figures["giou"]


def test_an_instruction_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="0 to 5"):
        instructpart.evaluate(load("miras-tiny"), read(make_folder(tmp_path)), 6)


def test_sides_share_no_photograph(shared_data):
    items = read(shared_data / "instructpart" / "dev")
    sides = [{item.id for item in side_of(items, side)} for side in ("train", "calibration", "val")]
    assert all(sides)
    assert sum(map(len, sides)) == len({item.id for item in items}) == len(set().union(*sides))
