"""A session survives as text; a text that is no session is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from miras.chat.load import load
from miras.chat.native.backend import Native
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.grammar import ADD, OBJ, SEG
from miras.core.types import Name, Region, Turn
from miras.model import presets
from miras.model.miras import Miras

Says = Callable[..., tuple[int, ...]]


@pytest.fixture
def path(photo: NDArray[np.uint8], tmp_path: Path) -> Path:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def talked(model: Miras, path: Path, says: Says) -> ChatSession:
    """An exchange, a refinement, another selection, an addition; options that are not the defaults."""
    session = ChatSession(model, path, seed=5, max_new_tokens=14, temperature=1.5)
    session.ask("the cup, 把手", forced=says("Here ", OBJ, " cup", SEG, OBJ, " lid", SEG, "."))
    session.refine(points=[(5, 5, 1)], region=1)
    session.select("2 & 1")
    session.ask("also the pan", forced=says(ADD, OBJ, " pan", SEG))
    return session


def test_a_restored_session_goes_on_the_same(talked: ChatSession, model: Miras) -> None:
    twin = ChatSession.from_json(model, talked.to_json())
    assert twin.options == talked.options
    assert [r.to_dict() for r in twin.history] == [r.to_dict() for r in talked.history]
    assert twin.backend.engine.past.ids == talked.backend.engine.past.ids
    assert twin.to_json() == talked.to_json()
    ours, theirs = talked.ask("and now?"), twin.ask("and now?")
    assert (ours.ids, ours.selection.expression) == (theirs.ids, theirs.selection.expression)
    np.testing.assert_array_equal(ours.selection.mask, theirs.selection.mask)
    assert ours.new_tokens == theirs.new_tokens
    for session in (talked, twin):
        for _ in range(4):
            session.undo()
    assert [r.to_dict() for r in twin.history] == [r.to_dict() for r in talked.history]
    np.testing.assert_array_equal(twin.regions[0].mask, talked.regions[0].mask)


@pytest.mark.parametrize("since", [0, 1, 2, 3, 4])
def test_the_last_events_alone(talked: ChatSession, since: int) -> None:
    whole, rest = json.loads(talked.to_json()), json.loads(talked.to_json(since=since))
    assert rest == {**whole, "events": whole["events"][since:]} and len(whole["events"]) == 4


def test_pointed_regions_survive(model: Miras, photo: NDArray[np.uint8]) -> None:
    session = ChatSession(model, photo)
    session.refine(box=(2, 2, 20, 20))
    twin = ChatSession.from_json(model, session.to_json(), photo)
    first, second = (s.refine(points=[(9, 9, 1)]).regions[0] for s in (session, twin))
    np.testing.assert_array_equal(first.mask, second.mask)


def test_what_was_told_survives(model: Miras, photo: NDArray[np.uint8]) -> None:
    """Whatever turn the regions of a told reply say they are of: they are of the one that they stand in."""
    session = ChatSession(model, photo)
    for number, turn in ((1, 1), (2, 1), (3, 9)):
        mask = np.eye(*session.size, k=number, dtype=np.bool_)
        told = Turn("assistant", (Name("cup", number),), (Region(number, "cup", mask, turn),))
        session.append_exchange("and", told)
    twin = ChatSession.from_json(model, session.to_json(), photo)
    assert [region.turn for region in twin.regions] == [1, 3, 5]
    assert [r.to_dict() for r in twin.history] == [r.to_dict() for r in session.history]


def test_an_empty_session_survives(model: Miras, photo: NDArray[np.uint8]) -> None:
    assert ChatSession.from_json(model, ChatSession(model, photo).to_json(), photo).history == ()


def test_the_photo_must_be_the_same(talked: ChatSession, model: Miras, path: Path, photo: NDArray[np.uint8]) -> None:
    text = talked.to_json()
    changed = photo.copy()
    changed[0, 0] ^= 1
    Image.fromarray(changed).save(path)
    with pytest.raises(InputError, match="other pixels"):
        ChatSession.from_json(model, text)
    with pytest.raises(InputError, match="another size"):
        ChatSession.from_json(model, text, photo[:40])
    path.unlink()
    with pytest.raises(InputError):
        ChatSession.from_json(model, text)
    assert len(ChatSession.from_json(model, text, photo).history) == 4


def test_a_photo_that_came_as_pixels_must_come_again(model: Miras, photo: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="photo"):
        ChatSession.from_json(model, ChatSession(model, photo).to_json())


def _set(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(document: dict[str, Any]) -> None:
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to(place[keys[-1]]) if callable(to) else to

    return spoil


def restored_by(other: Miras, text: str, photo: NDArray[np.uint8]) -> str:
    """The line that refuses a session."""
    with pytest.raises(InputError) as error:
        ChatSession.from_json(other, text, photo)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["instruction.special", "decoder.output_tokens", "alignment.verdict"])
def test_other_weights_are_refused(talked: ChatSession, model: Miras, photo: NDArray[np.uint8], name: str) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.state_dict()[name].view(-1)[0] += 1
    text, own, theirs = talked.to_json(), Native(other).facts()["weights"], Native(model).facts()["weights"]
    assert own != theirs
    line = restored_by(other, text, photo)
    assert own[:12] in line and theirs[:12] in line and "load the weights" in line
    assert len(ChatSession.from_json(model, text, photo).history) == 4


def test_weights_are_known_by_what_is_saved(model: Miras, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    """In memory, on the disk, loaded for answering (LoRA merged, another precision): the same weights."""
    tuned = presets.build("miras-tiny", seed=4)
    with torch.no_grad():
        for p in tuned.parameters():
            p.copy_(p.half())
    tuned.save_pretrained(tmp_path / "tuned")
    text = ChatSession(tuned, photo).to_json()
    for dtype in ("float32", "bfloat16"):
        loaded = load(tmp_path / "tuned", dtype=dtype)
        assert loaded.restore(text, photo).history == ()
        assert loaded.chat(photo).to_json() == text
    assert ChatSession.from_json(Miras.from_pretrained(tmp_path / "tuned"), text, photo).history == ()
    before = (load("miras-tiny").model.weights, presets.build("miras-tiny"))
    assert before[0] == Native(before[1]).facts()["weights"] != Native(tuned).facts()["weights"]


def test_a_text_of_before_has_no_digests(talked: ChatSession, model: Miras, photo: NDArray[np.uint8]) -> None:
    document = json.loads(talked.to_json())
    del document["model"]["weights"], document["opening"]
    for other in (model, presets.build("miras-tiny", seed=9)):
        twin = ChatSession.from_json(other, json.dumps(document), photo)
        assert [turn.text for turn in twin.turns] == [turn.text for turn in talked.turns]


def test_another_opening_is_refused(model: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the reader of text is not installed: the lines that stood before every turn are not there."""
    sees = {"tags": ("cup", "pan")}
    monkeypatch.setattr(Miras, "tags", lambda self, features, index: sees["tags"])
    text = ChatSession(model, photo).to_json()
    assert ChatSession.from_json(model, text, photo).tags == ("cup", "pan")
    sees["tags"] = ("cup",)
    line = restored_by(model, text, photo)
    assert "opening" in line and json.loads(text)["opening"][:12] in line


BROKEN = {
    "weights": _set("model", "weights", to="0" * 64),
    "weights are no text": _set("model", "weights", to=[1]),
    "opening": _set("opening", to="0" * 64),
    "opening is no text": _set("opening", to={}),
    "schema": _set("schema", to=99),
    "no image": lambda document: document.pop("image"),
    "image is no object": _set("image", to=3),
    "model": _set("model", "mask_tokens", to=7),
    "model is no object": _set("model", to=None),
    "events": _set("events", to={"a": 1}),
    "kind": _set("events", 0, "kind", to="poem"),
    "no ids": lambda document: document["events"][0].pop("reply_ids"),
    "unknown id": _set("events", 0, "reply_ids", to=lambda ids: [*ids, 10**6]),
    "lost slot": _set("events", 0, "reply_ids", to=lambda ids: [i for n, i in enumerate(ids) if n != 11]),
    "lost region": _set("events", 0, "regions", to=lambda regions: regions[:1]),
    "other phrase": _set("events", 0, "regions", 0, "phrase", to="hat"),
    "other turn": _set("events", 0, "regions", 0, "turn", to=3),
    "operator": _set("events", 0, "regions", 0, "operator", to="explode"),
    "mask size": _set("events", 0, "regions", 0, "rle", "size", to=[4, 4]),
    "mask runs": _set("events", 0, "regions", 0, "rle", "counts", to="0"),
    "refined stranger": _set("events", 1, "region", "id", to=9),
    "other words": _set("events", 3, "user", to="hello"),
    "window": _set("events", 3, "window", to=5),
    "expression": _set("events", 2, "expression", to="1 +"),
    "region of an expression": _set("events", 2, "expression", to="3"),
    "options": _set("options", "seed", to="x"),
    "seconds": _set("events", 0, "seconds", to=[]),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN.keys())
def test_broken_text_is_refused(talked: ChatSession, model: Miras, spoil: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(talked.to_json())
    spoil(document)
    with pytest.raises(InputError) as error:
        ChatSession.from_json(model, json.dumps(document))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "null", "{}", '"x"', "[" * 100_000])
def test_text_that_is_no_session(model: Miras, text: str) -> None:
    with pytest.raises(InputError):
        ChatSession.from_json(model, text)
