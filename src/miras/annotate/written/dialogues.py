"""Conversations about written words: from the thing that carries them to one line, one word, one emblem.

In: a photo that was written on (`printing`), its annotations, a random generator. Out: an `Example` of kind "text"
of 2 to 4 exchanges; every reply that selects something carries its mask; no question names its own answer
before the closing turn. Wordings: `knowledge/written.yaml`. Knows no typeface and no pixel of the photo.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from miras.annotate.review.language import says
from miras.annotate.written.designs import knowledge
from miras.annotate.written.printing import PrintedRegion, Written, write_on
from miras.core.errors import InputError
from miras.core.masks import area, box_of, union
from miras.core.photo import read_photo
from miras.core.types import (
    AnnotatedPhoto,
    Conversation,
    Example,
    Mark,
    Mask,
    Name,
    Operator,
    Piece,
    Region,
    Turn,
    Words,
)
from miras.data.language import phrasing
from miras.data.language.phrasing import Phrasing, pick

EXCHANGES = (2, 4)
QUALITY = 95
"""Of a JPEG."""
_REDRAWS = 12
_LEAST_WORD = 3
_LEAST_PIXELS, _LEAST_SHARE, _LEAST_SIDE = 80, 0.0004, 8
_HINTS = 0.6
_READ, _ABSENT, _CARRIER, _CLOSE, _NEIGHBOUR = 0.4, 0.25, 0.25, 0.4, 0.4
_CODES = ("plate", "phone", "price")
_NEVER_ON_SIGNS = ("phone", "price", "logo")


@dataclass(frozen=True, eq=False)
class _Target:
    """Something that can be selected. phrase: as a reply names it. line: the printed line it is or belongs to."""

    phrase: str
    mask: Mask
    line: PrintedRegion | None = None


def dialogue(
    written: Written, annotated: AnnotatedPhoto, rng: np.random.Generator, heldout: bool | None = None
) -> Example:
    """One conversation about one artwork of the photo, ending in one line, word or emblem of it.

    image is the annotated photo's path: whoever saves the written photo puts its own (see `build`). heldout: only
    wordings of the test split; by default as the words themselves are. hops: 1, and one more for each question that
    leaves a name unsaid or leans on what was selected before. meta: "photo", "heldout", "surface", "design", "text"
    (the words of the target's line), "target" ("line", "word", "logo"), "moves" (index of the assistant turn -> what
    it does), "functional" (indices of the user turns that name nothing of their answer), "inscriptions" (kind, text).
    """
    number = int(rng.integers(len(written.artworks)))
    builder = _Builder(written, number, rng, written.heldout if heldout is None else heldout)
    sort, target = builder.choose()
    for step in _steps(builder, sort):
        builder.take(step, target)
    line = target.line
    return Example(
        image=annotated.path,
        conversation=Conversation(tuple(builder.turns)),
        focus=target.phrase,
        kind="text",
        hops=builder.hops,
        source=annotated.source,
        meta={
            "photo": annotated.id, "heldout": builder.heldout, "surface": builder.artwork.phrase,
            "design": builder.artwork.design, "text": line.text if line else "", "target": sort, "moves": builder.moves,
            "functional": builder.functional,
            "inscriptions": [{"kind": i.kind, "text": i.text} for i in written.regions],
        },
    )  # fmt: skip


def build(
    photo: AnnotatedPhoto, out_image: Path, rng: np.random.Generator, heldout: bool = False
) -> list[Example] | None:
    """Write on a photo, save it, and talk about it 1 to 3 times; None, and no file, when nothing could be written.

    out_image: a .png, or a .jpg or .jpeg (quality 95); its folder is made. Equal input gives equal bytes. heldout:
    words and wordings of the test split. Raises InputError for another suffix and a photo that cannot be read.
    """
    format = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(out_image.suffix.lower())
    if format is None:
        raise InputError("a .png, .jpg or .jpeg to write", str(out_image))
    written = write_on(read_photo(photo.path), photo, rng, heldout)
    if written is None:
        return None
    wanted = 1 + int(rng.random() < 0.5) + int(rng.random() < 0.3)
    examples: dict[tuple[str, ...], Example] = {}
    for _ in range(wanted):
        example = replace(dialogue(written, photo, rng, heldout), image=out_image)
        examples.setdefault(tuple(turn.text.lower() for turn in example.conversation.turns[::2]), example)
    file = io.BytesIO()
    options = {"quality": QUALITY, "subsampling": 0} if format == "JPEG" else {}
    Image.fromarray(written.photo).save(file, format, **options)
    out_image.parent.mkdir(parents=True, exist_ok=True)
    out_image.write_bytes(file.getvalue())
    return list(examples.values())


def _steps(builder: _Builder, sort: str) -> list[str]:
    """The steps of a conversation: an opening, what lies between, the last step, a closing; 2 to 4 of them."""
    chance, alone = builder.chance, len(builder.lines) == 1 and not builder.logos
    opening = ["find_named"]
    if builder.asks_surface and chance(0.6):
        opening = ["surface", "find_on"] if chance(0.6) else ["surface"]
    if alone and sort == "line" and builder.asks_surface and builder.artwork.carrier is None:
        opening = ["surface"]  # to find the text would be the answer
    found = opening != ["surface"]
    between: list[str] = []
    if sort == "word":
        final = ["word"] if alone and found else ["line", "word"]
    elif sort == "line" and not alone and builder.has_neighbour and chance(_NEIGHBOUR):
        final = ["neighbour", "beside"]
    else:
        final = ["target"]
    if alone and found and sort == "line":  # it is selected already: something else comes in between
        between = ["carrier" if builder.artwork.carrier else "absent_text"]
        final = ["close_named" if builder.artwork.carrier and chance(0.3) else "target"]
    elif found and len(builder.lines) > 1 and chance(_READ):
        between = ["read"]
    elif builder.artwork.carrier and found and final[0] != "word" and chance(_CARRIER):
        between = ["carrier"]
    if chance(_ABSENT) and final[0] != "word" and "absent_text" not in between:
        between.append("absent_kind" if builder.missing and found and chance(0.5) else "absent_text")
    room = EXCHANGES[1] - len(opening) - len(final)
    closing = ["close" if chance(0.6) else "close_named"] if room > 0 and chance(_CLOSE) else []
    if final == ["close_named"]:
        closing = []
    return [*opening, *between[: max(0, room - len(closing))], *final, *closing]


class _Builder:
    """The conversation while it grows. lines, logos: printed regions of the artwork it is about."""

    def __init__(self, written: Written, number: int, rng: np.random.Generator, heldout: bool) -> None:
        self.written, self.artwork, self.rng, self.heldout = written, written.artworks[number], rng, heldout
        self.lines = [i for i in written.on(number) if i.text]
        self.logos = [i for i in written.on(number) if not i.text]
        self.turns: list[Turn] = []
        self.moves: dict[int, str] = {}
        self.functional: list[int] = []
        self.hops = 1
        self._regions = 0
        self._before: PrintedRegion | None = None

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    @property
    def asks_surface(self) -> bool:
        """Whether it can be asked which thing carries writing: its class is told, and only one is of that class."""
        sort = self.artwork.surface
        return bool(sort) and [a.surface for a in self.written.artworks].count(sort) == 1

    @property
    def has_neighbour(self) -> bool:
        return len(self.lines) > 1

    @property
    def missing(self) -> list[str]:
        """Kinds that the plate or sign surely does not show."""
        there = {i.kind for i in (*self.lines, *self.logos)}
        return [kind for kind in _NEVER_ON_SIGNS if kind not in there] if self.artwork.carrier else []

    def choose(self) -> tuple[str, _Target]:
        """What the conversation ends in: ("line" | "word" | "logo", target)."""
        targets: list[tuple[str, _Target, float]] = [("line", _line(line), 3.0) for line in self.lines]
        targets += [("logo", _line(logo), 3.0) for logo in self.logos if _seen(logo.mask)]
        for line in self.lines:
            fit = [(word, mask) for word, mask in line.words if len(word) >= _LEAST_WORD and _seen(mask)]
            if len(line.words) > 1 and line.kind not in _CODES:
                targets += [
                    ("word", _Target(f"word '{word}'", mask, line), 1.5)
                    for word, mask in fit if word.isalpha() and _ways_to(word, line)
                ]  # fmt: skip
        sort, target, _ = pick(self.rng, targets, [weight for *_, weight in targets])
        return sort, target

    def take(self, step: str, target: _Target) -> None:
        """Append the exchange of a step."""
        line = target.line
        assert line is not None
        if step in ("close", "close_named"):
            phrase = {"phrase": target.phrase} if step == "close_named" else {}
            self._select(step, self._say(step, **phrase), step, target)
        elif step in ("surface", "find_on", "find_named", "carrier"):
            self._find(step)
        elif step == "read":
            self._read()
        elif step in ("absent_text", "absent_kind"):
            self._absent(step)
        elif step == "word":
            word = target.phrase.removeprefix("word '").removesuffix("'")
            way = pick(self.rng, _ways_to(word, line))
            self._select("ask_word", self._ask(f"word_{way}", target), "word", target)
        elif step == "neighbour":
            self._before = pick(self.rng, [i for i in self.lines if abs(i.row - line.row) == 1])
            self._kind(self._before)
        elif step == "beside":
            assert self._before is not None
            side = "below" if line.row > self._before.row else "above"
            self._select("ask_line", self._ask(side, target), "line", target)
        else:  # "line": the line that a word is taken from; "target": the line or emblem itself
            self._kind(line)

    def _find(self, step: str) -> None:
        """The surface, all text on it, or the plate that carries the text."""
        art = self.artwork
        move = {"surface": "target", "find_on": "ask_text", "find_named": "ask", "carrier": "ask_carrier"}[step]
        if step == "surface":
            target = _Target(art.phrase, art.mask)
        elif step == "carrier":
            assert art.carrier is not None
            target = _Target(*art.carrier)
        elif len(self.lines) == 1:  # one mask, one name
            target = _line(self.lines[0])
        else:
            target = _Target(f"text on the {art.phrase}", union(*(line.mask for line in self.lines)))
        text = self._ask(step, target, **{"class": art.surface, "thing": art.phrase})
        self._select(move, text, step, target)

    def _kind(self, line: PrintedRegion) -> None:
        """A line or emblem by what it tells."""
        target = _line(line)
        kind = knowledge()["kinds"][line.kind]
        for _ in range(_REDRAWS):
            if self.heldout or self.chance(_HINTS):
                hint = str(pick(self.rng, kind["heldout" if self.heldout else "hints"]))
                text = self._say("kind", hint=hint)
            else:
                text = self._say("question", question=str(pick(self.rng, kind["questions"])))
            if not says(text, target.phrase) and not self._said(text):
                break
        self._select("target", text, "kind", target, why=kind["why"])

    def _read(self) -> None:
        """All lines, read out from the top."""
        targets = [_line(line) for line in self.lines]
        start = str(pick(self.rng, _wordings().replies["read"]))
        index, regions = len(self.turns) + 1, self._name(targets, len(self.turns) + 1)
        pieces: list[Piece] = [Words(f"{start} the")]
        for number, region in enumerate(regions):
            pieces.append(Name(region.phrase, region.id))
            last = number == len(regions) - 2
            pieces.append(Words("." if number == len(regions) - 1 else " and the" if last else ", the"))
        self._exchange("ask_read", index, self._ask("read", targets[0]), pieces, regions)

    def _absent(self, step: str) -> None:
        """Words, or a kind of writing, that are not there."""
        if step == "absent_kind":
            slots = {"noun": str(knowledge()["kinds"][pick(self.rng, self.missing)]["noun"])}
        else:
            kind = pick(self.rng, ("brand", "shop", "company"))
            there = {word.lower() for i in self.written.regions for word in i.text.split()}
            words = knowledge()["words"][kind]["heldout" if self.heldout else "train"]
            slots = {"words": f"'{pick(self.rng, [w for w in words if not there & set(w.lower().split())])}'"}
        pieces: list[Piece] = [Mark(Operator.REJECT), *_wordings().answer(step, self.rng, (), **slots)]
        self._exchange("absent", len(self.turns) + 1, self._say(step, **slots), pieces, (), hop=False)

    def _say(self, move: str, **slots: str) -> str:
        return _wordings().say(move, self.rng, heldout=self.heldout, **slots)

    def _ask(self, move: str, target: _Target, **slots: str) -> str:
        """A question that does not name its answer and was not asked before."""
        text = self._say(move, **slots)
        for _ in range(_REDRAWS):
            if not says(text, target.phrase) and not self._said(text):
                break
            text = self._say(move, **slots)
        return text

    def _said(self, text: str) -> bool:
        return any(turn.text.lower() == text.lower() for turn in self.turns[::2])

    def _name(self, targets: list[_Target], index: int) -> tuple[Region, ...]:
        first = self._regions + 1
        self._regions += len(targets)
        return tuple(Region(first + n, target.phrase, target.mask, index) for n, target in enumerate(targets))

    def _select(self, move: str, text: str, reply: str, target: _Target, **slots: str) -> None:
        index = len(self.turns) + 1
        regions = self._name([target], index)
        pieces = _wordings().answer(reply, self.rng, [(r.phrase, r.id) for r in regions], **slots)
        self._exchange(move, index, text, pieces, regions, hop=move not in ("ask", "close", "close_named"))

    def _exchange(
        self, move: str, index: int, text: str, pieces: list[Piece], regions: tuple[Region, ...], hop: bool = True
    ) -> None:
        """Append it. hop: it leaves a name unsaid, or leans on what was selected before."""
        self.turns += [Turn.user(text), Turn("assistant", tuple(pieces), regions)]
        self.moves[index] = "close" if move == "close_named" else move
        self.hops += hop
        if hop:
            self.functional.append(index - 1)


def _seen(mask: Mask) -> bool:
    """Whether it is large enough to be asked for."""
    box = box_of(mask)
    side = min(box[2] - box[0], box[3] - box[1]) if box else 0.0
    return area(mask) >= max(_LEAST_PIXELS, _LEAST_SHARE * mask.size) and side >= _LEAST_SIDE


def _line(line: PrintedRegion) -> _Target:
    """A line or an emblem as a target."""
    noun = str(knowledge()["kinds"][line.kind]["noun"])
    phrase = f"{noun} '{line.text}'" if line.text else f"{line.emblem} logo"
    return _Target(phrase, line.mask, line)


def _ways_to(word: str, line: PrintedRegion) -> list[str]:
    """Ways to point at one word of a line without naming it."""
    words = [w for w, _ in line.words]
    if words.count(word) > 1:
        return []
    longest = sorted(map(len, words))
    ways = ["first"] if words[0] == word else ["last"] if words[-1] == word else []
    return ways + (["longest"] if len(word) == longest[-1] > longest[-2] else [])


@lru_cache(maxsize=1)
def _wordings() -> Phrasing:
    """What people ask and what is answered."""
    return phrasing.parse(knowledge()["wordings"])
