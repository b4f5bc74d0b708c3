"""What is unsure says so, to the person alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.session import ChatSession
from tests.chat.pointing import CUT, OBJ, REF, SEG, ids, made, say


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("Here is the", OBJ, " cup", SEG, "."), "Here is the cup, I think, but I am not sure."),
        ((OBJ, " shoes", SEG), "shoes I think, but I am not sure."),
        ((OBJ, " red block", REF, "and", OBJ, " lid", SEG, "."), "red block and lid. I am not sure about the lid."),
        ((OBJ, " a", SEG, OBJ, " b", SEG, OBJ, " c", SEG),
         "a b c I think, but I am not sure."),
        ((CUT, "Without the", OBJ, " lid", SEG, "."), "Without the lid. I am not sure about the lid."),
        ((OBJ, " red block", REF), "red block"),
        (("Hello.",), "Hello."),
    ],
)  # fmt: skip
def test_what_is_unsure_says_so(photo: NDArray[np.uint8], pieces: tuple[str, ...], text: str) -> None:
    session = ChatSession(made(unsure_below=1.01), photo, max_new_tokens=24)
    say(session, OBJ, " red block", SEG)
    *parts, reply = session.stream("and", forced=ids(session, *pieces))
    assert reply.text == "".join(part for part in parts if isinstance(part, str)) == text
    assert reply.unsure == reply.to_dict()["unsure"] == bool([p for p in pieces if p == SEG])
    assert "not sure" not in session.turns[-1].text
    assert session.history[-1].text == text
    plain = made()
    told = ChatSession(plain, photo, max_new_tokens=24)
    say(told, OBJ, " red block", SEG)
    told.ask("and", forced=ids(told, *pieces))
    assert told.backend.engine.past.ids == session.backend.engine.past.ids
