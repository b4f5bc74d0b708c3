"""A session that is put aside comes back as it was, bit by bit, or not at all."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miras.chat.composed.compose import compose
from miras.chat.load import load
from miras.chat.session import ChatSession
from miras.model.loading.place import placed
from miras.model.miras import Miras
from miras.serve.desk.aside import Aside
from miras.serve.desk.sessions import Sessions, give_back, weigh

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def begun(model: Miras) -> ChatSession:
    session = ChatSession(model, PHOTO, max_new_tokens=16, temperature=1.0, seed=1)
    session.ask("Where is the cup?")
    session.refine(box=(8, 8, 40, 32), region=1)
    session.ask("Also the spoon.")
    return session


def said(reply: Any) -> Any:
    regions = [(one.id, one.phrase, one.score, one.mask.tobytes()) for one in reply.regions]
    return reply.text, regions, reply.certainty, reply.selection.expression, reply.selection.mask.tobytes()


@pytest.fixture(scope="module")
def half(model: Miras) -> Miras:
    """In bfloat16, where one pass over the same ids is not what several were."""
    return placed(copy.deepcopy(model), torch.device("cpu"), torch.bfloat16)


def test_so_does_a_session_of_the_engine_that_answers_by_default(tmp_path: Path) -> None:
    """In 8 bits, too, other passes over the same ids give other scores."""
    stayed = load("miras-mini").chat(PHOTO)
    assert type(stayed.backend.runtime).__name__ == "OnnxRuntime"  # type: ignore[attr-defined]
    stayed.ask("Where is the cup?")
    twin = stayed.fork()
    sessions = Sessions(0, Aside(tmp_path / "aside", 2**30))
    sessions.put("one", stayed)
    sessions.put("two", twin)  # there is room for one
    assert sessions.put_aside == 1 and 0 < sessions.bytes_aside < 1.2 * weigh(stayed)
    back = sessions.get("one")
    assert back is not None and back is not stayed and sessions.brought_back == 1
    for text in ("Also the spoon.", "Without the cup."):
        assert said(back.ask(text)) == said(stayed.ask(text))


def test_it_goes_on_as_the_one_that_stayed(half: Miras, tmp_path: Path) -> None:
    stayed = begun(half)
    aside = Aside(tmp_path / "aside", 2**30)
    aside.put("one", stayed, ("a", "b"))
    assert aside.keys("one") == ("a", "b") and 0 < aside.bytes < 1.2 * weigh(stayed)
    assert list((tmp_path / "aside").iterdir()) == []  # nothing has a name
    found = aside.take("one")
    assert found is not None and found[1] == ("a", "b") and aside.take("one") is None and aside.bytes == 0
    back = found[0]
    assert back.model is half and weigh(back) == weigh(stayed)
    assert all(ours is theirs for ours, theirs in zip(back.regions, back.turns[1].regions, strict=False))
    assert back.to_json() == stayed.to_json()
    for text in ("Now the table.", "Without the table."):
        assert said(back.ask(text)) == said(stayed.ask(text)) and back.evidence == stayed.evidence
    for session in (back, stayed):
        session.undo()
        session.undo()
    assert said(back.ask("Also the cup.")) == said(stayed.ask("Also the cup."))


def test_the_eldest_goes_when_there_is_no_room(model: Miras, tmp_path: Path) -> None:
    session = begun(model)
    aside = Aside(tmp_path, 2**30)
    aside.put("one", session)
    room = int(2.5 * aside.bytes)
    sessions = Sessions(0, Aside(tmp_path, room))
    for name in ("one", "two", "three", "four"):
        sessions.put(name, session.fork(), (name,))
    assert len(sessions) == 1 and sessions.put_aside == 3 and 0 < sessions.bytes_aside <= room
    assert [sessions.keys(name) for name in ("one", "two", "four")] == [None, ("two",), ("four",)]
    assert sessions.get("one") is None and sessions.get("two") is not None and sessions.brought_back == 1
    sessions.drop("three")
    assert sessions.get("three") is None and sessions.keys("two") == ("two",)
    sessions.close()
    assert len(sessions) == sessions.bytes_aside == sessions.bytes == 0
    give_back()


def test_what_cannot_be_written_is_not_there(model: Miras, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    session = begun(model)
    for aside in (Aside(tmp_path / "file", 2**30), Aside(tmp_path, 0), Aside(tmp_path, 1000)):
        aside.put("one", session)
        assert aside.take("one") is None and aside.bytes == len(aside) == 0
    (tmp_path / "script").write_text('{"text": "Bye.", "steps": []}\n')
    pair = compose(f"scripted:{tmp_path / 'script'}", "miras-tiny")
    aside = Aside(tmp_path, 2**30)
    aside.put("pair", pair.chat(PHOTO))
    assert aside.take("pair") is None
