"""Guesses change the number of passes and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.generation.speculation import Continuations, Phrase, draft_tokens
from miras.chat.session import ChatSession
from miras.core.grammar import OBJ, SEG
from miras.model.miras import Miras
from tests.chat.generation.test_engine import SCRIPT, Says

PHRASE = Phrase(opens=49, closes=50)


def ways(ids: list[int], known: Continuations | None = None, most: int = 5) -> list[list[int]]:
    found = draft_tokens(ids, PHRASE, {60}, known, most)
    assert all(draft.parent < number for number, draft in enumerate(found))
    told: list[list[int]] = []
    for draft in found:
        told.append([*(told[draft.parent] if draft.parent >= 0 else []), draft.token_id])
    return told


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], []),
        ([5], []),
        ([1, 2, 3], []),
        ([1, 2, 3, 4, 1], []),  # one id alone says too little
        ([1, 2, 8, 7, 1, 2], [[8], [8, 7], [8, 7, 1]]),
        ([1, 2, 9, 1, 2, 8, 7, 3, 1, 2], [[8], [8, 7], [8, 7, 3], [8, 7, 3, 1]]),  # the newest time
        ([6, 1, 2, 9, 7, 1, 2, 8, 6, 1, 2], [[9], [9, 7], [9, 7, 1]]),  # the longer order wins over the newer one
        ([1, 2, 50, 3, 4, 1, 2], [[50]]),  # 50 closes
        ([1, 2, 60, 3, 4, 1, 2], []),  # 60 may not be guessed
    ],
)
def test_guesses_what_followed_before(ids: list[int], expected: list[list[int]]) -> None:
    assert ways(ids)[: len(expected)] == expected
    assert bool(expected) == bool(ways(ids))


def test_what_is_known_branches() -> None:
    known: Continuations = {(3,): [(4, 0.6), (7, 0.3), (9, 0.01)], (3, 4): [(5, 0.9)], (7,): [(60, 1.0)]}
    assert ways([1, 3], known) == [[4], [4, 5], [7]]  # 9 is too rare, 60 forbidden
    assert ways([1, 3], known, most=2) == [[4], [4, 5]]


def test_a_phrase_may_begin_with_a_rare_word_of_the_message_and_ends() -> None:
    known: Continuations = {(): [(1, 0.9), (2, 0.5), (49, 1.0)], (49,): [(8, 0.5)]}
    assert ways([1, 30, 2, 49], known) == [[30], [30, 50], [8], [8, 50]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_same_replies_with_and_without(model: Miras, photo: NDArray[np.uint8], temperature: float) -> None:
    drafted, plain = (ChatSession(model, photo, max_new_tokens=24, temperature=temperature) for _ in range(2))
    plain.backend.engine.past.lookahead = False
    for text in ("the cup", "the cup again", "no, the other cup", "the cup"):
        one, other = drafted.ask(text), plain.ask(text)
        assert one.ids == other.ids
        assert (one.selection.mask != other.selection.mask).mean() < 0.001


def test_fewer_passes_when_words_come_again(
    model: Miras, photo: NDArray[np.uint8], says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passes(lookahead: bool) -> int:
        session = ChatSession(model, photo)
        session.backend.engine.past.lookahead = lookahead
        count = 0
        comprehend = Miras.comprehend

        def spy(self: Miras, *args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            return comprehend(self, *args, **kwargs)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(Miras, "comprehend", spy)
            for text, pieces in SCRIPT:
                session.ask(text, forced=says(*pieces))
            session.ask("the cup", forced=says("Here: ", OBJ, " cup", SEG, "."))
        return count

    assert passes(True) < 0.8 * passes(False)
