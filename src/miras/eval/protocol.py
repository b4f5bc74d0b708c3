"""Who can be measured: anything that talks about a photo and selects in it.

In: a photo, and what is said. Out: an `Answer` a turn. Our model stands behind the protocol through `chat.ChatSession`,
the one path of inference; a folder of predictions, another model or a fixed rule can stand there as well.
Knows no dataset and no metric.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import yaml

from miras.chat.load import Loaded
from miras.chat.reply import Reply
from miras.chat.session import ChatSession
from miras.core.former import formerly
from miras.core.photo import read_photo
from miras.core.types import Mark, Mask, Operator, Region, Turn
from miras.model.loading.place import find

History = Literal["own", "gold", "alone"]
"""Where the earlier answers come from: the system, the data; "alone": there are none, the target is asked at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One reply, as it is measured.

    mask: (H, W) bool, what is selected after it, in the photo as the person sees it; None = nothing. regions: what
    this reply names. operator: what it does, see `operator_of`; operators: all its marks. refused: it says that the
    thing is not there. score: predicted IoU of what it names, 0..1; None = none was given. seconds: of the clock on the
    wall.
    """

    text: str
    mask: Mask | None
    regions: tuple[Region, ...] = ()
    operator: Operator | None = None
    refused: bool = False
    score: float | None = None
    seconds: float = 0.0
    operators: tuple[Operator, ...] = ()

    @property
    def marks(self) -> tuple[Operator, ...]:
        """All its marks; of who tells its operator alone, that one where it is a mark."""
        return self.operators or (() if self.operator in (None, Operator.REPLACE) else (self.operator,))


class Dialogue(Protocol):
    """A conversation about one photo. What cannot be done raises an error of `core.errors`."""

    def ask(self, text: str) -> Answer:
        """One message, one answer; both are part of the conversation from then on."""
        ...

    def append_exchange(self, user: str, gold: Turn) -> None:
        """An exchange whose reply is known, as if it had been said (teacher forcing, gold history)."""
        ...

    def fork(self) -> Dialogue:
        """A conversation of its own with the same past."""
        ...


class System(Protocol):
    """A system that is measured."""

    @property
    def name(self) -> str:
        """As the figures call it."""
        ...

    def facts(self) -> dict[str, Any]:
        """What tells it from others of the name (plain values): a run goes on only with equal facts."""
        ...

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> Dialogue:
        """A new conversation about a photo: its path or its file's bytes. Raises InputError for no usable photo.

        record: id of the conversation in the data, history: how it will be held; for systems that only look
        their answers up.
        """
        ...


def append_of(dialogue: Dialogue) -> Callable[[str, Turn], object]:
    """`append_exchange`; of a system of before, its `tell`."""
    if not hasattr(dialogue, "append_exchange") and hasattr(dialogue, "tell"):
        formerly("Dialogue.tell", "Dialogue.append_exchange")
        return dialogue.tell  # type: ignore[no-any-return]
    return dialogue.append_exchange


def operator_of(marks: Sequence[Operator], names_regions: bool) -> Operator | None:
    """What a reply does: its first mark; without marks it replaces the selection, or (None) only speaks."""
    if marks:
        return marks[0]
    return Operator.REPLACE if names_regions else None


def operator_wanted(gold: Turn) -> Operator | None:
    """`operator_of` a reply of the data."""
    return operator_of([piece.operator for piece in gold.content if isinstance(piece, Mark)], bool(gold.names))


class Ours:
    """Our model, by way of `ChatSession`. The photo of the conversation before is not encoded again."""

    def __init__(self, loaded: Loaded, *, seed: int = 0) -> None:
        self._loaded, self._seed = loaded, seed
        self._opening: tuple[Path | bytes, ChatSession] | None = None

    @property
    def name(self) -> str:
        """The name or folder that it was loaded by."""
        return self._loaded.name

    def facts(self) -> dict[str, Any]:
        """A digest of its weights and configuration; none for a preset without weights."""
        folder = find(self._loaded.name)
        if folder is None:
            return {}
        digest = hashlib.sha256()
        for file in sorted((*folder.glob("*.safetensors"), *folder.glob("*.json"))):
            digest.update(file.name.encode() + file.read_bytes())
        return {"weights": digest.hexdigest()[:16]}

    @property
    def trained_on(self) -> str:
        """As its model card says, in one line; empty where there is none."""
        folder = find(self._loaded.name)
        return "" if folder is None else told(folder / "README.md", "trained_on")

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> SessionDialogue:
        """A fork of the session that holds the photo; a file with the same pixels is the same photo."""
        if self._opening is None or self._opening[0] != photo:
            pixels = read_photo(photo)
            if self._opening is None or not np.array_equal(self._opening[1].photo, pixels):
                self._opening = (photo, self._loaded.chat(photo, seed=self._seed))
        return SessionDialogue(self._opening[1].fork())


class SessionDialogue:
    """A `ChatSession` behind the protocol. points: whether what is appended may name earlier regions again."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self.points: bool = session.backend.recalls

    def ask(self, text: str) -> Answer:
        """`ChatSession.ask`. Raises InputError."""
        start = time.perf_counter()
        reply = self._session.ask(text)
        return answer_of(reply, time.perf_counter() - start)

    def append_exchange(self, user: str, gold: Turn) -> None:
        """`ChatSession.append_exchange`. Raises InputError."""
        self._session.append_exchange(user, gold)

    def fork(self) -> SessionDialogue:
        """`ChatSession.fork`: the tensors are shared."""
        return SessionDialogue(self._session.fork())


def told(card: Path, key: str) -> str:
    """A value of the head (YAML between lines of dashes) of a model card; empty where there is none."""
    try:
        parts = card.read_text(encoding="utf-8").split("---\n", 2)
        head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    return str(head.get(key, "")) if isinstance(head, dict) else ""


def answer_of(reply: Reply, seconds: float) -> Answer:
    """A reply of a session; its score is the mean of its regions' scores."""
    scores = [region.score for region in reply.regions if region.score is not None]
    return Answer(
        reply.text, reply.selection.mask if reply.selection.expression else None, reply.regions,
        operator_of(reply.operators, bool(reply.regions)), Operator.REJECT in reply.operators,
        sum(scores) / len(scores) if scores else None, seconds, reply.operators,
    )  # fmt: skip
