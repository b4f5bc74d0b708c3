"""Whatever a model would say: what it says fits the schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miras.chat.composed.answers import look_schema, read_look, talk_schema
from miras.chat.composed.asking import Question
from miras.chat.composed.families import Grid
from miras.chat.composed.held import Holder, bounded
from miras.chat.composed.local import Local
from miras.core.llm.answers import Message
from miras.core.llm.completions import data_url
from miras.core.llm.structured import read_json
from tests.chat.composed.checkpoints import MODELS, tokenizer
from tests.chat.composed.pairs import answer, new, old, step

pytest.importorskip("llguidance")

WORDS = tokenizer("<image>", {"image_token": "<image>"})
ROWS, END = 320, WORDS.convert_tokens_to_ids("<|im_end|>")
SCHEMA = talk_schema(Grid())


@pytest.fixture(scope="module")
def holder() -> Holder:
    return Holder(WORDS, ROWS, [END])


def said(holder: Holder, schema: dict[str, Any], seed: int, most: int) -> tuple[str, bool]:
    """What a model with random logits says, and whether it came to its end."""
    held, ids, start = holder.hold(schema), [], [1, 2, 3]
    random = torch.Generator().manual_seed(seed)
    while len(ids) < most:
        scores = held(torch.tensor([start + ids]), 4 * torch.randn(1, ROWS, generator=random))
        token = int(scores[0].softmax(0).multinomial(1, generator=random))
        if token == END:
            return WORDS.decode(ids), True
        ids.append(token)
    return WORDS.decode([*ids, *held.ending(ids)]), False


@pytest.mark.parametrize("schema", [SCHEMA, look_schema(Grid(640, 480))], ids=["talk", "look"])
@pytest.mark.parametrize("most", [1, 2, 7, 40, 200, 1500])
def test_random_logits_give_answers_that_parse(holder: Holder, schema: dict[str, Any], most: int) -> None:
    """However early they are cut off, and at the end of a whole one."""
    for seed in range(12):
        text, _ = said(holder, schema, seed, most)
        value, faults = read_json(text, schema)
        assert value is not None and not faults, text


@pytest.mark.parametrize(
    "text",
    [
        answer("Here is the cup.", step("replace", new("cup", (10, 20.5, True)))),
        answer("Ohne die Tasse, ohne „Löffel“.", step("cut", old(1)), step("add", old(2), new("lid"))),
        answer('A "quoted" \\ text.'),
    ],
)
def test_what_fits_is_let_through(holder: Holder, text: str) -> None:
    """Token by token, and then the end; no other."""
    held, start = holder.hold(SCHEMA), [5]
    ids = WORDS.encode(json.dumps(json.loads(text), ensure_ascii=False), add_special_tokens=False)
    for index in range(len(ids) + 1):
        scores = held(torch.tensor([start + ids[:index]]), torch.zeros(1, ROWS))
        wanted = ids[index] if index < len(ids) else END
        assert torch.isfinite(scores[0, wanted])
    assert torch.isfinite(scores[0]).nonzero().flatten().tolist() == [END]
    assert held.ending(ids) == held.ending([*ids, END]) == []


def test_what_does_not_fit_cannot_be_said(holder: Holder) -> None:
    held, start = holder.hold(SCHEMA), [5]
    ids = WORDS.encode('{"text": "x", "steps": [{"do": "', add_special_tokens=False)
    held(torch.tensor([start]), torch.zeros(1, ROWS))
    scores = held(torch.tensor([start + ids]), torch.zeros(1, ROWS))
    allowed = torch.isfinite(scores[0]).nonzero().flatten().tolist()
    assert sorted(WORDS.decode([token]) for token in allowed) == sorted({"r", "a", "c", "u"})


def test_every_string_has_an_end() -> None:
    assert bounded(SCHEMA)["properties"]["text"]["maxLength"] == 600
    assert "maxLength" not in SCHEMA["properties"]["text"]
    region = bounded(SCHEMA)["properties"]["steps"]["items"]["properties"]["regions"]["items"]["properties"]
    assert region["phrase"]["maxLength"] == 600 and "maxLength" not in region["id"]


def asked(schema: dict[str, Any], most: int) -> Question:
    picture = np.zeros((40, 60, 3), np.uint8)
    messages = (Message("system", "Rules."), Message("user", "Where?", (data_url(picture, 60),)))
    return Question(messages, schema, most=most)


@pytest.mark.parametrize("family", MODELS)
def test_a_random_checkpoint_always_answers_in_json(family: str, tmp_path: Path) -> None:
    import asyncio

    model = Local(str(MODELS[family](tmp_path)), torch.device("cpu"), None)
    for schema, most in ((SCHEMA, 24), (SCHEMA, 120), (look_schema(Grid()), 60)):
        got = asyncio.run(model.answer(asked(schema, most)))
        value, faults = read_json(got.text, schema)
        assert value is not None and not faults, got.text
        assert got.usage.completion <= most
    assert read_look(Grid())(got.text)[1] == [] or "needs" in read_look(Grid())(got.text)[1][0]


def test_without_the_package_it_answers_as_it_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setitem(sys.modules, "llguidance.hf", None)
    model = Local(str(MODELS["qwen3-vl"](tmp_path)), torch.device("cpu"), None)
    got = asyncio.run(model.answer(asked(SCHEMA, 12)))
    assert read_json(got.text, SCHEMA)[0] is None
