"""Conversations that an assistant holds: photos of one folder, words in, words and pictures out.

In: a model, a folder, requests. Out: `Answer`, files of masks. Only photos within the folder are read, and nothing but
new files in its export folder is written. Knows no protocol.
"""

from __future__ import annotations

import io
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from miras.chat.load import Loaded
from miras.chat.render import overlay, shown
from miras.chat.reply import Reply
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.types import Region, Selection
from miras.serve.desk.sessions import Sessions

SIDE, QUALITY = 1024, 85
"""Longer side of the pictures in pixels, at most, and their JPEG quality: assistants pay for each."""
MOST = 256
"""Conversations that are known, the least used forgotten first."""
EXPORTS = "miras-masks"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a turn led to. text: for the assistant to read. facts: the same as data. picture: the overlay as JPEG."""

    text: str
    facts: dict[str, Any]
    picture: bytes


@dataclass(frozen=True)
class _Kept:
    """A conversation without its tensors. text: of `ChatSession.to_json`, "" before the first turn."""

    photo: Path
    text: str


class Talks:
    """All conversations of one assistant; one thread at a time. memory: bytes of the sessions that are kept ready."""

    def __init__(self, load: Callable[[], Loaded], folder: Path, memory: int) -> None:
        self._load, self.folder = load, folder.resolve()
        self._loaded: Loaded | None = None
        self._ready = Sessions(memory)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @property
    def loaded(self) -> Loaded:
        """The model, loaded when it is first needed."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def select(self, photo: str, request: str) -> Answer:
        """A new conversation about a photo, and its first turn. Raises InputError."""
        path = self._within(photo)
        session = self.loaded.chat(path)
        return self._turn(secrets.token_hex(4), path, session, session.ask(request))

    def follow_up(self, conversation: str, request: str) -> Answer:
        """The next turn."""
        path, session = self._session(conversation)
        return self._turn(conversation, path, session, session.ask(request))

    def refine(
        self, conversation: str, region: int | None, points: Sequence[Sequence[float]] | None,
        box: Sequence[float] | None,
    ) -> Answer:  # fmt: skip
        """A region changed by points (x, y, 1 or 0 = belongs or does not) and a box XYXY, in pixels of the photo."""
        for row in points or ():
            if len(row) != 3 or row[2] not in (0, 1):
                raise InputError("points as [x, y, label], label 1 or 0", str(list(row))[:80])
        path, session = self._session(conversation)
        rows = None if points is None else [(row[0], row[1], int(row[2])) for row in points]
        return self._turn(conversation, path, session, session.refine(points=rows, box=box, region=region))

    def undo(self, conversation: str) -> Answer:
        """Take the last turn back. Raises NothingToUndo."""
        path, session = self._session(conversation)
        session.undo()
        return self._turn(conversation, path, session, None)

    def export(self, conversation: str, formats: Sequence[str], each: bool) -> list[Path]:
        """New files of what is selected (each: of every region); a folder for each export."""
        path, session = self._session(conversation)
        place = self.folder / EXPORTS / f"{path.stem}-{conversation}"
        number = 1 + sum(1 for _ in place.glob("*")) if place.is_dir() else 1
        return session.export(place / str(number), formats, each=each)

    # Within

    def _within(self, photo: str) -> Path:
        """A photo's path. Raises InputError for one outside of the folder."""
        path = (self.folder / Path(photo).expanduser()).resolve()
        if not path.is_relative_to(self.folder):
            raise InputError(f"a photo in {self.folder}", photo, "start miras mcp with another --folder")
        return path

    def _session(self, conversation: str) -> tuple[Path, ChatSession]:
        """A conversation's session; one that was put aside is made again."""
        kept = self._kept.get(conversation)
        if kept is None:
            raise InputError("a conversation that select began", repr(conversation)[:40], "begin with select")
        session = self._ready.get(conversation)
        if session is None:
            session = self.loaded.restore(kept.text, kept.photo)
        return kept.photo, session

    def _turn(self, conversation: str, photo: Path, session: ChatSession, reply: Reply | None) -> Answer:
        self._kept[conversation] = _Kept(photo, session.to_json())
        self._kept.move_to_end(conversation)
        self._ready.put(conversation, session)
        if len(self._kept) > MOST:
            self._ready.drop(self._kept.popitem(last=False)[0])
        return answer(conversation, session, reply)


def answer(conversation: str, session: ChatSession, reply: Reply | None) -> Answer:
    """A turn as words, data and a picture. reply: None after an undo."""
    selection = session.selection
    new = () if reply is None else reply.regions
    drawn = overlay(session.photo, shown(session.regions, new, selection.expression), selection.mask)
    facts = {
        "conversation": conversation, "reply": "" if reply is None else reply.text,
        "regions": [_facts(region) for region in session.regions],
        "selection": {"expression": selection.expression, **_place(selection)},
        "photo": {"width": session.size[1], "height": session.size[0]},
        "unsure": reply is not None and reply.unsure,
    }  # fmt: skip
    return Answer(_told(facts), facts, _picture(drawn))


def _told(facts: dict[str, Any]) -> str:
    lines = [facts["reply"] or "Done."]
    for region in facts["regions"]:
        score = "by hand" if region["score"] is None else f"score {region['score']:.2f}"
        others = "".join(f", perhaps {other}" for other in region["perhaps"])
        lines.append(f"region {region['id']}: {region['phrase']}, {region['area']} pixels, {score}{others}")
    chosen, photo = facts["selection"], facts["photo"]
    share = chosen["area"] / (photo["width"] * photo["height"])
    selected = f"{chosen['expression']}, {share:.1%} of the photo, box {chosen['box']}"
    lines.append(f"selected: {selected if chosen['expression'] else 'nothing'}")
    return "\n".join([*lines, f"conversation: {facts['conversation']}"])


def _facts(region: Region) -> dict[str, Any]:
    box = box_of(region.mask)
    return {
        "id": region.id, "phrase": region.phrase.strip(), "area": region.area,
        "box": None if box is None else [float(side) for side in box],
        "score": None if region.score is None else round(region.score, 3),
        "perhaps": [other.phrase for other in region.alternatives],
    }  # fmt: skip


def _place(selection: Selection) -> dict[str, Any]:
    box = box_of(selection.mask)
    return {"area": int(selection.mask.sum()), "box": None if box is None else [float(side) for side in box]}


def _picture(pixels: Any) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
