"""Reference systems: what a figure is worth is seen beside what needs no understanding, and beside what is told all.

In: a photo; for some of them our model; for the upper ones the data itself. Out: a `System` each, by `baseline`.
Lower: `ellipse`, `photo`, `salient` (no learned weights; every answer replaces the selection, none refuses, none says a
word) and `phrase` (our model without a past). Upper: `gold-box` (our decoder, told phrase and box of every region that
the data's reply names) and `gold-talker` (the same, told by the talker of a composed pair). Every parameter stands
in the docstring of its function or class. Knows no figure and no file format.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.load import Loaded
from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.photo import read_photo
from miras.core.recall import anew
from miras.core.selection import Steps, advance
from miras.core.types import Conversation, Mask, Operator, Region, Turn
from miras.data.record import Record, turn_of
from miras.eval.protocol import Answer, History, Ours, SessionDialogue, System, operator_of, operator_wanted
from miras.eval.systems.decoder import Decoder, OurDecoder
from miras.eval.systems.gold_talker import GoldTalker
from miras.eval.systems.specs import BASELINE
from miras.eval.systems.untaught import BLUR, SIDE, ellipse, salient, whole
from miras.segmenters.own import MirasSegmenter

MASKS: dict[str, Callable[[NDArray[np.uint8]], Mask]] = {"ellipse": ellipse, "photo": whole, "salient": salient}
NEED_MODEL = ("phrase", "gold-box", "gold-talker")
NAMES = (*MASKS, *NEED_MODEL)
_TELLS: dict[str, dict[str, Any]] = {
    "ellipse": {"axes": "W/2, H/2", "share": "pi/16"},
    "photo": {},
    "salient": {"method": "spectral residual", "width": SIDE, "mean": 3, "sigma": BLUR, "threshold": "otsu 256"},
}


def baseline(name: str, model: Callable[[], Loaded], *, seed: int = 0) -> System:
    """A reference by its name without "baseline:", one of `NAMES`. Raises InputError.

    model: gives our model; called for those in `NEED_MODEL` alone.
    """
    if name in MASKS:
        return Fixed(name)
    if name == "phrase":
        return Phrase(model(), seed=seed)
    if name == "gold-box":
        return GoldBox(model(), seed=seed)
    if name == "gold-talker":
        loaded = model()
        drawing = MirasSegmenter(loaded.name, loaded.model, loaded.model.weights)
        return GoldTalker(drawing, ours=Ours(loaded), seed=seed)
    raise InputError(f"a reference: {', '.join(NAMES)}", repr(name))


class Fixed:
    """Selects the same mask of a photo whatever is said. kind: of `MASKS`."""

    trained_on = "nothing"

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._made: tuple[Path | bytes, Mask] | None = None

    @property
    def name(self) -> str:
        """`baseline:` and its kind."""
        return BASELINE + self._kind

    def facts(self) -> dict[str, Any]:
        """Its parameters."""
        return dict(_TELLS[self._kind])

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> FixedDialogue:
        """A conversation; the mask of the photo before is not made again."""
        if self._made is None or self._made[0] != photo:
            self._made = (photo, MASKS[self._kind](read_photo(photo)))
        return FixedDialogue(self._made[1])


class FixedDialogue:
    """Every answer replaces the selection by the same mask; no word, no score."""

    def __init__(self, mask: Mask, said: int = 0) -> None:
        self._mask, self._said = mask, said

    def ask(self, text: str) -> Answer:
        """The mask."""
        self._said += 1
        return Answer("", self._mask, (Region(self._said, "", self._mask, 2 * self._said - 1),), Operator.REPLACE)

    def append_exchange(self, user: str, gold: Turn) -> None:
        """Nothing is kept of it but that it was said."""
        self._said += 1

    def fork(self) -> FixedDialogue:
        """The same once more."""
        return FixedDialogue(self._mask, self._said)


# Our model, knowing less or more than in use


class Phrase:
    """Our model without a past: every message is asked in a fresh fork of the photo's session.

    Neither what was said nor what was selected is known. Its answer stands as it gives it: words, score and refusals
    too; what it selects replaces what was selected.
    """

    def __init__(self, loaded: Loaded, *, seed: int = 0) -> None:
        self._ours = Ours(loaded, seed=seed)

    @property
    def name(self) -> str:
        """`baseline:phrase`."""
        return f"{BASELINE}phrase"

    @property
    def trained_on(self) -> str:
        """As our model's card says."""
        return self._ours.trained_on

    def facts(self) -> dict[str, Any]:
        """Name and digest of our model."""
        return {"model": self._ours.name, **self._ours.facts()}

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> PhraseDialogue:
        """A conversation without a past, now and later."""
        return PhraseDialogue(self._ours.start(photo))


class PhraseDialogue:
    """Forks of a session in which nothing was said. fresh: that session."""

    def __init__(self, fresh: SessionDialogue) -> None:
        self._fresh = fresh

    def ask(self, text: str) -> Answer:
        """The answer to a first message. Raises InputError."""
        answer = self._fresh.fork().ask(text)
        return replace(answer, operator=Operator.REPLACE) if answer.regions else answer

    def append_exchange(self, user: str, gold: Turn) -> None:
        """Not heard."""

    def fork(self) -> PhraseDialogue:
        """The same once more."""
        return PhraseDialogue(self._fresh)


class GoldBox:
    """What our decoder can do at most when it is told where: it SEES THE DATA, no system may be ranked with it.

    For every region that the data's reply names, its phrase and the box of its mask (tight, XYXY) go to `OurDecoder`,
    in a session in which nothing else was said: no points, no other region; the mask is cut at the box. The data's
    operator (replace, add, cut, undo) is then carried out on these masks by `core.selection`, so that only the decoder
    can err. Where the data refuses or only speaks, nothing is selected anew, and nothing refused. Asked alone, it gets
    the final target's phrase and box.
    """

    alone = True
    """It answers final targets that are asked alone."""

    def __init__(self, loaded: Loaded, *, seed: int = 0) -> None:
        self._loaded, self._seed = loaded, seed
        self._records: dict[str, Record] = {}
        self._opening: tuple[Path | bytes, Decoder] | None = None

    @property
    def name(self) -> str:
        """`baseline:gold-box`."""
        return f"{BASELINE}gold-box"

    @property
    def trained_on(self) -> str:
        """As our model's card says."""
        return Ours(self._loaded).trained_on

    def facts(self) -> dict[str, Any]:
        """That it sees the data; name and digest of our model, whose decoder it is."""
        return {"sees_the_data": True, "decoder": self._loaded.name, **Ours(self._loaded).facts()}

    def prepare(self, chosen: Sequence[Record], history: History) -> dict[str, Any]:
        """Take the records that will be asked, with their masks."""
        self._records |= {record["id"]: record for record in chosen}
        return {"from": "phrases and boxes of the data's own masks", "records": len(chosen)}

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> GoldBoxDialogue:
        """A conversation about a record that was prepared. Raises InputError for any other."""
        known = self._records.get(record)
        if known is None:
            raise InputError("a record told beforehand", repr(record), "call prepare first")
        if self._opening is None or self._opening[0] != photo:
            self._opening = (photo, OurDecoder(self._loaded.chat(photo, seed=self._seed)))
        said = (turn_of(turn, index) for index, turn in enumerate(known["turns"]) if index % 2)
        replies = anew(Conversation(tuple(said))).turns
        if history == "alone":
            replies = (replies[-1],)
        return GoldBoxDialogue(self._opening[1], replies)


class GoldBoxDialogue:
    """The data's replies, their masks made by the decoder. replies: one for each message to come."""

    def __init__(self, decoder: Decoder, replies: tuple[Turn, ...], said: int = 0, steps: Steps = ()) -> None:
        self._decoder, self._replies, self._said, self._steps = decoder, replies, said, steps

    def ask(self, text: str) -> Answer:
        """The next reply of the data. Raises InputError when there is none any more."""
        start = time.perf_counter()
        if self._said >= len(self._replies):
            raise InputError(f"at most {len(self._replies)} messages, as in the data", f"message {self._said + 1}")
        gold = self._replies[self._said]
        regions = tuple(self._made(region) for region in gold.regions)
        self._said, self._steps = self._said + 1, advance(self._steps, replace(gold, regions=regions))
        wanted = operator_wanted(gold)
        current = self._steps[-1] if self._steps else None
        scores = [region.score for region in regions if region.score is not None]
        return Answer(
            "", current.mask if current and current.expression else None, regions,
            operator_of([], bool(regions)) if wanted is Operator.REJECT else wanted, False,
            sum(scores) / len(scores) if scores else None, time.perf_counter() - start,
        )  # fmt: skip

    def append_exchange(self, user: str, gold: Turn) -> None:
        """What the data's reply selects is selected."""
        self._said, self._steps = self._said + 1, advance(self._steps, gold)

    def fork(self) -> GoldBoxDialogue:
        """A conversation with the same past."""
        return GoldBoxDialogue(self._decoder, self._replies, self._said, self._steps)

    def _made(self, region: Region) -> Region:
        box = box_of(region.mask)
        if box is None:
            return region
        mask, score = self._decoder.refine(phrase=region.phrase, points=None, box=box)
        return replace(region, mask=mask, score=score)
