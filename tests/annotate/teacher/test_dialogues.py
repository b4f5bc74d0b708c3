"""Step 3: one dialogue a path, checked against the elements."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from miras.annotate.teacher import dialogues as step
from miras.annotate.teacher.photos import read_photos
from miras.annotate.teacher.reasoning import paths_of
from miras.annotate.teacher.schemas import Elements, Reasoning
from miras.core.llm.answers import NoAnswer
from tests.annotate.made import GOOD, Fake, dialogue, elements, photos_file, reasoning, turn


def test_each_path_has_a_request_of_its_own(tmp_path: Path) -> None:
    photo = next(read_photos(photos_file(tmp_path)))
    listed = Elements.model_validate_json(json.dumps(elements()))
    paths = paths_of(Reasoning.model_validate_json(json.dumps(reasoning())))
    requests = [step.request_of(photo, listed, path, 0) for path in paths]
    assert len({request.key for request in requests}) == len({request.seed for request in requests}) == 3
    assert "1. thought n0\n2. thought n1\n3. thought n3" in requests[1].messages[1].text
    assert "case 2?" in requests[1].messages[1].text
    draft = asyncio.run(step.write_dialogue(Fake(), photo, listed, paths[0])).value
    assert draft.focus_phrase == "handle of the red mug"


def test_a_focus_that_is_no_element_is_sent_back(tmp_path: Path) -> None:
    photo = next(read_photos(photos_file(tmp_path)))
    listed = Elements.model_validate_json(json.dumps(elements()))
    path = paths_of(Reasoning.model_validate_json(json.dumps(reasoning())))[0]
    stranger = dialogue(rounds=[dialogue()["rounds"][0], turn("And?", "The fork.", 7, "fork")], focus=7)
    teacher = Fake(GOOD | {"dialogues": stranger})
    with pytest.raises(NoAnswer, match="there is no element 7"):
        asyncio.run(step.write_dialogue(teacher, photo, listed, path))
    assert len(teacher.requests) == 3
