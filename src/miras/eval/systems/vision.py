"""A talker with a segmenter behind the protocol: what is measured is the session that people use.

In: a pair (`chat.composed`), photos, messages. Out: a `System`. A vision model behind an endpoint is one, with our
decoder as its segmenter. An answer that does not fit is sent back once; then it is a fault of the system (IoU 0). Every
paid answer is in a journal where there is one. Knows no key, no HTTP and no weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miras.chat.composed.compose import Composed
from miras.chat.session import ChatSession
from miras.eval.protocol import History, SessionDialogue


class Vision:
    """A pair. Its calls are made one after the other; the photo of the conversation before is not encoded again."""

    def __init__(self, pair: Composed, *, label: str, seed: int = 0) -> None:
        """label: as the figures call it."""
        self.name, self.seed, self._pair = label, seed, pair
        self._opening: tuple[Path | bytes, ChatSession] | None = None

    def facts(self) -> dict[str, Any]:
        """Talker, sampling and prompts, segmenter, and whether masks are looked at once more."""
        return {**self._pair.facts(), "sampling": self._pair.sampling, "looks": self._pair.looks}

    def start(self, photo: Path | bytes, *, record: str = "", history: History = "own") -> SessionDialogue:
        """A fork of the session that holds the photo."""
        if self._opening is None or self._opening[0] != photo:
            self._opening = (photo, self._pair.chat(photo, seed=self.seed))
        return SessionDialogue(self._opening[1].fork())

    def spent(self) -> dict[str, Any]:
        """Tokens and cost, see `Composed.spent`."""
        return self._pair.spent()

    def close(self) -> None:
        """Close connections and the journal."""
        self._pair.close()
