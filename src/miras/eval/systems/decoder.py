"""Our decoder, told by words and hand: what `floor:gold-box` measures.

In: a phrase, points, a box. Out: a mask. Knows a session in which nothing was said.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.types import Box, Mask, Region
from miras.data.language.words import definite


class Decoder(Protocol):
    """Makes the mask of what a hand points at, in one photo."""

    def refine(self, *, phrase: str, points: NDArray[np.float32] | None, box: Box | None) -> tuple[Mask, float | None]:
        """phrase: its name, or "". points: (P, 3) x, y, label in photo pixels, 1 inside, 0 outside; box: XYXY. Mask
        and its predicted IoU.
        """
        ...


class OurDecoder:
    """Words, then `ChatSession.refine`, in a session in which nothing was said.

    The phrase is asked first ("Select the PHRASE."); points and box refine what it names (the first region; where it
    names none they stand alone). `refine` keeps the mask inside the box.
    """

    def __init__(self, session: ChatSession) -> None:
        self._session = session

    def refine(self, *, phrase: str, points: NDArray[np.float32] | None, box: Box | None) -> tuple[Mask, float | None]:
        """A fork for each region: none knows of another."""
        session = self._session.fork()
        named: tuple[Region, ...] = ()
        if phrase.strip():
            with contextlib.suppress(InputError):  # words that cannot be asked leave points and box
                named = session.ask(f"Select {definite(phrase)}.").regions
        if named:
            session.refine(points=points, box=box, region=named[0].id)
            region = next(one for one in session.regions if one.id == named[0].id)
        else:
            (region,) = self._session.fork().refine(points=points, box=box).regions
        return region.mask, region.score
