from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.chat.load import load
from miras.core.errors import InputError
from miras.data.formats.instructpart import read
from miras.data.io.left_out import LeftOut
from miras.eval.protocol import Ours
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.systems.baselines import baseline
from miras.eval.tasks import instructpart
from miras.eval.tasks.photos import side_of
from miras.eval.tasks.task import Options


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


def test_each_part_is_asked_by_itself_and_the_photo_is_encoded_once(tmp_path):
    loaded = load("miras-tiny", threads=1)
    records = instructpart.asked(make_folder(tmp_path), Options(instruction=4), LeftOut())
    before = loaded.model.encoded_photos
    evaluate(records, Ours(loaded), out=tmp_path / "run")
    assert loaded.model.encoded_photos - before == 1
    rows = samples.read(tmp_path / "run" / samples.FILE)
    lines = list(instructpart.lines(records, rows))
    assert [line["instruction"] for line in lines] == ["handle of the cup", "body of the cup"]
    assert [line["index"] for line in lines] == [0, 1]
    figures = instructpart.figures(records, rows)
    assert figures["n"] == 2 and figures["giou"] == pytest.approx(50 * sum(line["iou"] for line in lines))


def test_another_system_is_asked_the_same(tmp_path):
    records = instructpart.asked(make_folder(tmp_path), Options(instruction=4, limit=1), LeftOut())
    evaluate(records, baseline("photo", lambda: pytest.fail("loads nothing")), out=tmp_path / "run")
    figures = instructpart.figures(records, samples.read(tmp_path / "run" / samples.FILE))
    assert figures["n"] == 1 and figures["giou"] == pytest.approx(100 * 900 / 4800)  # 30 x 30 of 60 x 80
    assert figures["rejected_rate"] == 0


@pytest.mark.parametrize("instruction", [-1, 6])
def test_an_instruction_that_is_not_there(tmp_path, instruction):
    with pytest.raises(InputError, match="0 to 5"):
        instructpart.asked(make_folder(tmp_path), Options(instruction=instruction), LeftOut())


def test_sides_share_no_photograph(shared_data):
    items = read(shared_data / "instructpart" / "dev")
    sides = [{item.id for item in side_of(items, side)} for side in ("train", "calibration", "val")]
    assert all(sides)
    assert sum(map(len, sides)) == len({item.id for item in items}) == len(set().union(*sides))
