"""Written text: what was read is what a reply shows, and what was not read is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miras.chat.generation.writing import SEEN, UNSEEN, written
from miras.chat.session import ChatSession
from miras.core.grammar import OBJ, SEG
from miras.core.text_regions import TextRegion
from miras.model import presets, reading
from miras.model.miras import Miras

Says = Callable[..., tuple[int, ...]]


def line(text: str, x: float, y: float) -> TextRegion:
    return TextRegion(text, ((x, y), (x + 20, y), (x + 20, y + 8), (x, y + 8)), 0.9)


OAK, OPEN = line("Yonder Oak", 4, 4), line("OPEN", 40, 30)
SIZE = (48, 64)
NOWHERE = np.zeros(SIZE, np.bool_)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The photo says two things. Counts how often it is read."""
    count: list[int] = []

    def read(_: NDArray[np.uint8]) -> tuple[TextRegion, ...]:
        count.append(1)
        return OAK, OPEN

    monkeypatch.setattr(reading, "read", read)
    return count


@pytest.fixture(scope="module")
def reader() -> Miras:
    model = presets.build("miras-tiny", seed=1)
    model.config.reads = True
    return model


def test_a_quotation_is_the_line_that_says_it() -> None:
    found = written("brand name 'yonder oak'", NOWHERE, (OAK, OPEN))
    assert found is not None and found.mask is not None
    np.testing.assert_array_equal(found.mask, OAK.mask(SIZE))
    assert found.presence == SEEN and 0 < found.score < 1


def test_a_quotation_that_was_not_read_is_not_there() -> None:
    found = written("word 'dragon'", NOWHERE, (OAK, OPEN))
    assert found is not None and found.mask is None and found.presence == UNSEEN


def test_text_on_a_thing_is_what_the_decoder_means_or_all_of_it() -> None:
    drawn = NOWHERE.copy()
    drawn[28:, 36:] = True
    there, everywhere = written("text on the door", drawn, (OAK, OPEN)), written("the lettering", NOWHERE, (OAK, OPEN))
    assert there is not None and there.mask is not None and everywhere is not None and everywhere.mask is not None
    np.testing.assert_array_equal(there.mask, OPEN.mask(SIZE))
    np.testing.assert_array_equal(everywhere.mask, OAK.mask(SIZE) | OPEN.mask(SIZE))


def test_other_phrases_are_the_decoder_s() -> None:
    assert written("door", NOWHERE, (OAK, OPEN)) is None and written("text on the door", NOWHERE, ()) is None


def test_a_session_reads_when_it_must_and_once(
    model: Miras, photo: NDArray[np.uint8], says: Says, page: list[int]
) -> None:
    session = ChatSession(model, photo)
    session.ask("the cup", forced=says(OBJ, " cup", SEG))
    assert not page
    reply = session.ask("open?", forced=says("It is ", OBJ, " word 'OPEN'", SEG))
    np.testing.assert_array_equal(reply.regions[0].mask, OPEN.mask(SIZE))
    session.fork().ask("the other", forced=says(OBJ, " name 'Yonder Oak'", SEG))
    assert session.text_regions == (OAK, OPEN) and len(page) == 1


def test_what_is_written_stands_in_the_opening(
    reader: Miras, photo: NDArray[np.uint8], says: Says, page: list[int]
) -> None:
    """As regions that are nobody's: the same ids with and without a cache, after saving, and after undo."""
    plain = presets.build("miras-tiny", seed=1)
    session, bare = ChatSession(reader, photo), ChatSession(plain, photo)
    prefix = session.backend.context.prefix
    assert prefix.count(reader.grammar.id(SEG)) == 2 and len(prefix) > len(bare.backend.context.prefix)
    assert "'Yonder Oak'" in reader.tokenizer.decode([i for i in prefix if i < reader.tokenizer.vocab_size])
    again = ChatSession(reader, photo, recompute="turn")
    for talk in (session, again):
        first = talk.ask("the cup", forced=says(OBJ, " cup", SEG))
        assert [region.id for region in first.regions] == [1] and [region.id for region in talk.regions] == [1]
        talk.ask("also the lid", forced=says(OBJ, " lid", SEG))
    assert [reply.ids for reply in session.history] == [reply.ids for reply in again.history]
    for ours, theirs in zip(session.regions, again.regions, strict=True):
        assert (ours.mask != theirs.mask).mean() < 0.001
    assert len(page) == 2
    restored = ChatSession.from_json(reader, session.to_json(), photo)
    torch.testing.assert_close(
        restored.backend.engine.past.slots[0].tokens_KD, session.backend.engine.past.slots[0].tokens_KD
    )
    assert restored.backend.engine.past.ids == session.backend.engine.past.ids
    memory = session.backend.engine.past.memory()
    assert memory is not None and len(memory) == 2 * reader.config.mask_tokens
    session.undo()
    session.undo()
    assert (
        session.backend.engine.past.ids == []
        and session.ask("the cup", forced=says(OBJ, " cup", SEG)).regions[0].id == 1
    )


def test_a_page_of_text_does_not_fill_the_context(
    reader: Miras, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = replace(OAK, text="word " * 60)
    monkeypatch.setattr(reading, "read", lambda _: (long,) * 12)
    context = ChatSession(reader, photo).backend.context
    assert len(context.prefix) <= reader.config.max_tokens // 4 and 0 < len(context.written) < 12
