"""Vision-language models of every family through `transformers`, as tiny random checkpoints in the hub's formats."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miras.chat.composed.asking import Question
from miras.chat.composed.compose import compose
from miras.chat.composed.local import Local
from miras.core.errors import WeightsError
from miras.core.llm.answers import Message, NoAnswer
from miras.core.llm.completions import data_url
from tests.chat.composed.checkpoints import MODELS
from tests.chat.composed.pairs import Painter, answer, filled, new, photo, step

SCHEMA = {"type": "object"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


def made(folders: Path, family: str) -> Path:
    folder = folders / family
    return folder if folder.is_dir() else MODELS[family](folder)


def asked(*pictures: np.ndarray, text: str = "Where is it?") -> Question:
    urls = tuple(data_url(picture, 64) for picture in pictures)
    return Question((Message("system", "Rules."), Message("user", text, urls)), SCHEMA, most=5)


@pytest.mark.parametrize("family", MODELS)
def test_a_model_answers(folders: Path, family: str) -> None:
    """Two pictures cost more tokens than one, another picture another answer or the same, the same the same."""
    local = Local(str(made(folders, family)), torch.device("cpu"), torch.float32)
    assert len(list(made(folders, family).glob("model-*.safetensors"))) > 1
    one, both = (asyncio.run(local.answer(asked(*[photo()] * count))) for count in (1, 2))
    words = asyncio.run(local.answer(asked()))
    assert words.usage.prompt < one.usage.prompt < both.usage.prompt
    assert one.usage.prompt - words.usage.prompt == pytest.approx(both.usage.prompt - one.usage.prompt, abs=2)
    assert 1 <= one.usage.completion <= 5 and one.finish in ("stop", "length")
    assert asyncio.run(local.answer(asked(photo()))) == one


@pytest.mark.parametrize("family", MODELS)
def test_what_a_model_sees_decides(folders: Path, family: str) -> None:
    """The pixels reach the language model: the logits after the prompt differ with them."""
    local = Local(str(made(folders, family)), torch.device("cpu"), torch.float32)
    black, white = (np.full((40, 60, 3), value, np.uint8) for value in (0, 255))
    with torch.inference_mode():
        first, second = (local._model(**local._inputs(asked(each))).logits[0, -1] for each in (black, white))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("family", MODELS)
def test_a_conversation(folders: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes is random, so the ids are put into its mouth; all the rest is as it is."""
    model = compose(f"hf:{made(folders, family)}", Painter(), look=False)
    session = model.chat(photo(), max_new_tokens=6)
    local = model.talker.asking._paid._inner  # type: ignore[union-attr]
    with monkeypatch.context() as free:
        free.setattr(local, "_holder", None)  # as without llguidance
        with pytest.raises(NoAnswer, match="that fits") as error:
            session.ask("the cup")
    assert "\n" not in str(error.value) and not session.history
    sides = {"qwen2.5-vl": [9, 7, 19, 14]}.get(family)
    texts = [answer("Here is the cup.", step("replace", {**new("cup"), **({"box": sides} if sides else {})})),
             answer("All but it.", step("all_but"))]  # fmt: skip

    def write(**inputs: Any) -> torch.Tensor:
        ids = local._tokenizer(texts.pop(0), add_special_tokens=False).input_ids
        return torch.cat([inputs["input_ids"], torch.tensor([ids])], 1)

    monkeypatch.setattr(local._model, "generate", write)
    session = model.chat(photo())
    reply = session.ask("the cup")
    assert reply.spent is not None and reply.spent.read > 500
    assert abs(int(reply.selection.mask.sum()) - 100) < 30
    if not sides:
        np.testing.assert_array_equal(reply.selection.mask, filled("cup"))
    assert session.ask("all but it").selection.expression == "~1"
    assert model.restore(session.to_json(), photo()).selection.expression == "~1"


def test_bfloat16(folders: Path) -> None:
    local = Local(str(made(folders, "qwen3-vl")), torch.device("cpu"), torch.bfloat16)
    assert asyncio.run(local.answer(asked(photo()))).usage.completion >= 1


def test_what_is_no_such_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(WeightsError, match="a vision-language model at") as error:
        Local(str(tmp_path), torch.device("cpu"), None)
    assert "\n" not in str(error.value)
