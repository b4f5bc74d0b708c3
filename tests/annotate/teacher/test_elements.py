"""Step 1."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from miras.annotate.teacher import elements as step
from miras.annotate.teacher.photos import read_photos
from miras.annotate.teacher.schemas import Elements, parse
from tests.annotate.made import Fake, elements, photos_file


def test_the_request_shows_caption_and_known_names(tmp_path: Path) -> None:
    photo = next(read_photos(photos_file(tmp_path)))
    request = step.request_of(photo, 0)
    user = request.messages[1].text
    assert "A mug." in user
    assert "the red mug; handle of the red mug; plate" in user
    assert (request.image, request.digest) == (photo.image, photo.digest)
    assert "bottom centre" in request.notes
    assert step.request_of(photo, 1).key != request.key == step.request_of(photo, 0).key
    assert step.request_of(replace(photo, id="other"), 0).key != request.key


def test_listed_and_written(tmp_path: Path) -> None:
    photo = next(read_photos(photos_file(tmp_path)))
    asked = asyncio.run(step.list_elements(Fake(), photo))
    assert [element.text for element in asked.value.elements][:2] == ["red mug", "handle of the red mug"]
    many, _ = parse(json.dumps({"elements": [e | {"number": 3} for e in elements()["elements"]]}), Elements)
    assert many is not None
    assert step.written(many).splitlines()[2] == "3. spoon (x 3): The spoon lies on the table."
    assert step.caption_of(photo, many) == "A mug."
    assert step.caption_of(replace(photo, caption=""), many).startswith("The red mug lies on the table. The handle")
