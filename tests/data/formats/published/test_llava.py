"""LLaVA's instructions: conversations in words, faults in a line, and a step of training on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.data.formats.guess import guess_format
from miras.data.formats.published import llava
from miras.data.formats.records import read_records
from miras.data.inspect.validate import validate
from miras.data.io import stream
from miras.data.io.left_out import LeftOut

TALK = [
    ("human", "<image>\nWhat is on the table?"), ("gpt", "A cup and a plate."),
    ("human", "Which is larger?"), ("gpt", "The plate."),
]  # fmt: skip


def item(talk=TALK, image: str = "000000033471.jpg", **more):
    return {"id": "000000033471", "image": image, "conversations": [{"from": a, "value": b} for a, b in talk], **more}


def dataset(root: Path, items: list, folder: str = "images", name: str = "llava_instruct_150k.json") -> Path:
    root.mkdir(parents=True)
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number, one in enumerate({entry["image"] for entry in items if "image" in entry}):
        Image.new("RGB", (96, 64), (40 * number, 90, 120)).save(root / folder / Path(one).name)
    (root / name).write_text(json.dumps(items))
    return root


@pytest.mark.parametrize(
    ("folder", "image"),
    [("images", "000000033471.jpg"), ("train2017", "000000033471.jpg"), ("coco/train2017", "coco/train2017/a.jpg")],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_conversations_are_read_as_turns(tmp_path, monkeypatch, folder, image, streamed):
    if streamed:
        monkeypatch.setattr(stream, "STREAM_FROM", 10)
    root = dataset(tmp_path / "llava", [item(image=image), {"id": "text", "conversations": []}], folder)
    assert guess_format(root) == guess_format(root / "llava_instruct_150k.json") == "llava"
    tally = LeftOut(lambda line: None)
    (record,) = read_records(root, "llava", tally)
    assert [(turn["role"], turn["text"]) for turn in record["turns"]] == [
        ("user", "What is on the table?"), ("assistant", "A cup and a plate."), ("user", "Which is larger?"),
        ("assistant", "The plate."),
    ]  # fmt: skip
    assert (record["height"], record["width"], record["focus"]) == (64, 96, "")
    assert not list(validate([record])) and "conversations without a photo: 1" in tally.line()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (item(TALK[:3]), "expected questions, each with its answer, got 3 utterances"),
        (item(TALK[1:3]), '"from" of human in utterance 0'),
        (item([("human", "<image>"), ("gpt", "A cup.")]), "words in utterance 0"),
        (item(image="gone.jpg"), "no file"),
        (item(image="../x.jpg"), "a file name inside"),
        ([], 'a record with "image"'),
        ({"image": "000000033471.jpg"}, 'a record with "conversations"'),
    ],
)
def test_faults_are_told_in_one_line(tmp_path, wrong, said):
    root = dataset(tmp_path / "llava", [item()])
    (root / "llava_instruct_150k.json").write_text(json.dumps([item(), wrong]))
    told: list[str] = []
    assert len(list(read_records(root, "llava", told.append))) == 1
    assert len(told) == 1 and said in told[0] and "conversation 1" in told[0]
    with pytest.raises(InputError, match="1 fault"):
        list(read_records(root, "llava"))


def test_no_file_with_conversations(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match="a JSON with conversations in"):
        list(llava.read(tmp_path))
