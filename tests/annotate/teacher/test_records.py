"""A draft becomes a record: masks where a name is known exactly, words elsewhere, and it reads as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from miras.annotate.teacher.photos import read_photos
from miras.annotate.teacher.reasoning import paths_of
from miras.annotate.teacher.records import CLOSING_REPLIES, CLOSING_REQUESTS, record_from
from miras.annotate.teacher.schemas import DialogueDraft, Elements, Reasoning
from miras.data.record import Record, example_of
from tests.annotate.made import dialogue, elements, photos_file, reasoning, turn


def made(tmp_path: Path, seed: int = 0, **changes: Any) -> Record:
    photo = next(read_photos(photos_file(tmp_path)))
    listed = Elements.model_validate_json(json.dumps(elements()))
    path = paths_of(Reasoning.model_validate_json(json.dumps(reasoning())))[0]
    draft = DialogueDraft.model_validate_json(json.dumps(dialogue(**changes)))
    return record_from(photo, listed, path, draft, seed=seed, teacher="fake:x", prompts={"elements": "abc"})


def test_the_record_and_its_masks(tmp_path: Path) -> None:
    record = made(tmp_path)
    assert (record["id"], record["image_id"], record["kind"], record["hops"]) == ("p0-1", "p0", "progressive", 2)
    assert (record["focus"], record["source"]) == ("handle of the red mug", "annotate:fake")
    assert [turn["role"] for turn in record["turns"]] == ["user", "assistant"] * 3
    assert record["turns"][1]["text"] == "From the red mug, which is full."
    assert [piece["type"] for piece in record["turns"][1]["content"]] == ["words", "name", "words"]
    regions = [region for turn in record["turns"] for region in turn["regions"]]
    assert [region["id"] for region in regions] == [1, 2, 3]
    assert [region["phrase"] for region in regions] == ["red mug", "handle of the red mug", "handle of the red mug"]
    example = example_of(record, tmp_path)
    assert [int(region.mask.sum()) for region in example.conversation.regions] == [64, 6, 6]
    assert [target["region"] for target in record["meta"]["targets"]] == [1, 2, 3]
    assert [step["shared"] for step in record["meta"]["path"]] == [True, False]


def test_a_target_without_a_mask_stays_words(tmp_path: Path) -> None:
    rounds = [
        turn("What lies by the cup?", "I see it, beside the cup.", 3, None),
        turn("What stirs?", "The Spoon does: it is long.", 3, "spoon"),
    ]
    record = made(tmp_path, rounds=rounds, focus=3)
    assert [turn["regions"] for turn in record["turns"]] == [[]] * 6
    assert record["turns"][3]["text"] == "The Spoon does: it is long."
    assert record["focus"] == "spoon"
    assert [(target["turn"], target["phrase"], target["region"]) for target in record["meta"]["targets"]] == [
        (3, "Spoon", 0), (5, "spoon", 0),
    ]  # fmt: skip
    example_of(record, tmp_path)


def test_the_closing_turn_follows_the_seed_and_names_nothing(tmp_path: Path) -> None:
    closings = {made(tmp_path, seed)["turns"][4]["text"] for seed in range(12)}
    assert len(closings) > 2 and closings <= set(CLOSING_REQUESTS)
    assert made(tmp_path, 3) == made(tmp_path, 3)
    for before, after in CLOSING_REPLIES:
        assert before[0].isupper() and after.endswith(".")
