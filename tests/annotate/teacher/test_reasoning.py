"""Step 2: weak questions fall, and sharing is counted among those that stay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from miras.annotate.teacher import reasoning as step
from miras.annotate.teacher.photos import read_photos
from miras.annotate.teacher.schemas import Elements, Reasoning, parse
from tests.annotate.made import Fake, elements, photos_file, reasoning


@pytest.mark.parametrize(
    ("scores", "kept", "shared"),
    [
        ((3, 2, 3), {1: 2, 2: 2, 3: 1}, {"n1"}),
        ((3, 1, 2), {1: 2, 3: 1}, set()),
        ((1, 1, 2), {3: 1}, set()),
        ((1, 1, 1), {}, set()),
    ],
)
def test_paths_of_the_questions_that_stay(scores: tuple[int, ...], kept: dict[int, int], shared: set[str]) -> None:
    parsed, _ = parse(json.dumps(reasoning(scores)), Reasoning)
    assert parsed is not None
    paths = step.paths_of(parsed)
    assert {path.number: path.hops for path in paths} == kept
    assert {node.id for path in paths for node in path.nodes if node.shared} == shared
    assert all(set(node.paths) <= set(kept) for path in paths for node in path.nodes)


def test_the_request_shows_the_elements(tmp_path: Path) -> None:
    photo = next(read_photos(photos_file(tmp_path)))
    listed, _ = parse(json.dumps(elements()), Elements)
    assert listed is not None
    request = step.request_of(photo, listed, 0)
    assert "2. handle of the red mug: The handle" in request.messages[1].text
    assert asyncio.run(step.reason(Fake(), photo, listed)).value.questions[0].score == 3
