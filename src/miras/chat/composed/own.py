"""Our own language model as a talker: the phrases that it names become prompts of another segmenter.

In: the state of a session, a message. Out: a plan of its reply: its words, operators, what it points at again, and each
new name with the mask that its own decoder would draw, as a hint for segmenters that take no phrases. It reads the
masks that the other segmenter made. It cannot look at a mask once more. Knows no segmenter.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from miras.chat.composed.plan import Plan, Want
from miras.chat.native.backend import NativeBackend
from miras.chat.state import Event, Spent, State
from miras.core.types import Mark, Mask, Name, Words


class OwnTalk:
    """One photo's talk. native: our model's dialogue about it."""

    def __init__(self, native: NativeBackend) -> None:
        self._native = native

    @property
    def opening(self) -> str:
        """As the model's own."""
        return self._native.opening

    def fork(self) -> OwnTalk:
        """Tensors are shared."""
        twin = copy.copy(self)
        twin._native = self._native.fork()
        return twin

    def window(self, state: State) -> int:
        """All that was said is told to it; what of it is in its context is its own affair."""
        return state.window

    def say(self, state: State, message: str) -> Plan:
        """Its reply. Raises InputError for a message that is too long."""
        own = self._own(state)
        prepared = self._native.prepare(own, message, None)
        self._native = self._native.begin()
        parts = self._native.reply(own, prepared)
        while True:
            try:
                next(parts)
            except StopIteration as done:
                event: Event = done.value
                break
        written = len(event.change.reply_ids)  # type: ignore[union-attr]
        return Plan(self._pieces(event), Spent(1, max(0, event.new_tokens - written), written))

    def look(self, phrase: str, mask: Mask) -> None:
        """It cannot."""

    def heard(self, before: State, event: Event) -> None:
        """Nothing: the next message brings it along, with the masks as they became."""

    def resume(self, state: State) -> None:
        """Nothing: the next message brings it there."""

    def _own(self, state: State) -> State:
        """A state as our model would have come to it: its ids, the same regions."""
        context = self._native.context
        exchanges = tuple(
            replace(
                exchange, prompt_ids=context.prompt(exchange.user.text), reply_ids=context.reply(exchange.reply)
            )
            for exchange in state.exchanges
        )  # fmt: skip
        return replace(state, exchanges=exchanges, window=0)

    def _pieces(self, event: Event) -> tuple[Words | Mark | Want, ...]:
        reply = event.change.reply  # type: ignore[union-attr]
        drawn = {region.id: region for region in reply.regions}
        pieces: list[Words | Mark | Want] = []
        for piece in reply.content:
            if not isinstance(piece, Name):
                pieces.append(piece)
            elif piece.region in drawn:
                pieces.append(Want(piece.phrase, piece.phrase, mask=drawn[piece.region].mask))
            else:
                pieces.append(Want(piece.phrase, piece.phrase, piece.region))
        return tuple(pieces)
