"""Guesses change the number of passes and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.lookahead import guess
from miras.chat.session import ChatSession
from miras.core.grammar import OBJ, SEG
from miras.model.miras import Miras
from tests.chat.test_engine import SCRIPT, Says


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], []),
        ([5], []),
        ([1, 2, 3], []),
        ([1, 2, 3, 4, 1], [2, 3, 4, 1, 2]),
        ([1, 2, 9, 1, 2, 8, 7, 3, 1, 2], [8, 7, 3, 1, 2]),
        ([6, 1, 2, 9, 7, 1, 2, 8, 6, 1, 2], [9, 7, 1, 2, 8]),  # the longer order wins over the newer one
        ([1, 2, 50, 3, 4, 1], [2, 50]),  # 50 closes
        ([1, 2, 60, 3, 4, 1], [2]),  # 60 may not be guessed
        ([1, 60, 3, 4, 1], []),
    ],
)
def test_guesses_what_followed_before(ids: list[int], expected: list[int]) -> None:
    assert guess(ids, {50}, {60}) == expected


def test_what_is_known_fills_in_where_nothing_was_said() -> None:
    known = {(3,): 4, (3, 4): 5, (9, 3): 8, (5,): 60}
    assert guess([1, 3], {50}, {60}, known) == [4, 5]
    assert guess([9, 3], {50}, {60}, known) == [8]
    assert guess([3, 7, 3], {50}, {60}, known) == [7, 3, 7, 3, 7]  # what was said goes before what is known
    assert guess([3, 7, 2, 9, 3], {50}, {60}, known) == [8]  # unless more ids are known


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_same_replies_with_and_without(model: Miras, photo: NDArray[np.uint8], temperature: float) -> None:
    ahead, plain = (ChatSession(model, photo, max_new_tokens=24, temperature=temperature) for _ in range(2))
    plain._engine.lookahead = False
    for text in ("the cup", "the cup again", "no, the other cup", "the cup"):
        one, other = ahead.ask(text), plain.ask(text)
        assert one.ids == other.ids
        assert (one.selection.mask != other.selection.mask).mean() < 0.001


def test_fewer_passes_when_words_come_again(
    model: Miras, photo: NDArray[np.uint8], says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passes(lookahead: bool) -> int:
        session = ChatSession(model, photo)
        session._engine.lookahead = lookahead
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
