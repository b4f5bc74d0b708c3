"""What of a conversation stands before the model: ids of its parts, and which exchanges fit.

In: the state and a message. Out: token ids. Knows the grammar and the context limit; knows no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from miras.chat.state import State
from miras.core.errors import InputError
from miras.core.grammar import REF, SEG, Encoder, Template, render_prefix, render_reply_open, render_turn
from miras.core.types import Region, Turn
from miras.data.language.normalise import normalised

SPARE_REGIONS = 4
"""Regions of a reply whose mask slots are kept free beside its own tokens."""


@dataclass(frozen=True)
class Run:
    """A sequence the cache can hold: ids with mask slots, and the regions in order of their slots, those that are
    meant again once more.

    pointed: ids of the regions whose words prompt no mask.
    """

    ids: tuple[int, ...] = ()
    regions: tuple[Region, ...] = ()
    pointed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Context:
    """Writes runs. limit: tokens the model can hold. In the opening stand written, lines of text in the photo, as
    regions, and tags, names of what it seems to show; and, for a model that points, what exchanges named that are in
    the context no more, the last of them as far as a quarter of the limit goes: so it can still be meant."""

    grammar: Encoder
    template: Template
    limit: int
    written: tuple[Region, ...] = ()
    tags: tuple[str, ...] = ()

    def opened(self, written: tuple[Region, ...], tags: tuple[str, ...] = ()) -> Context:
        """The same with all tags, and as many lines of text in the opening as a quarter of the limit holds."""
        while written and len(replace(self, written=written, tags=tags).prefix) > self.limit // 4:
            written = written[:-1]
        return replace(self, written=written, tags=tags)

    @cached_property
    def prefix(self) -> tuple[int, ...]:
        """The photo's place, before every turn."""
        texts = [region.phrase for region in self.written]
        return tuple(self.grammar.encode(render_prefix(self.template, texts, self.tags)).ids)

    @cached_property
    def closing(self) -> tuple[int, ...]:
        """End of a reply; it enters the cache with the next message."""
        tokenizer = self.grammar.tokenizer
        after = self.template.after_turn
        return (tokenizer.control(self.template.turn_end), *(tokenizer.encode(after) if after else ()))

    def recalled(self, state: State, window: int | None = None) -> tuple[Region, ...]:
        """The regions of dropped exchanges that stand in the opening. window: index of the first exchange kept."""
        dropped = state.exchanges[: state.window if window is None else window]
        found = [region for exchange in dropped for region in exchange.reply.regions] if self.grammar.points else []
        while found and len(self._opening(found)) - len(self.prefix) > self.limit // 4:
            del found[0]
        return tuple(found)

    def _opening(self, remembered: Sequence[Region]) -> tuple[int, ...]:
        """The prefix, with regions that are remembered."""
        if not remembered:
            return self.prefix
        texts = [region.phrase for region in self.written]
        known = [(region.id, region.phrase) for region in remembered]
        return tuple(self.grammar.encode(render_prefix(self.template, texts, self.tags, known)).ids)

    def prompt(self, text: str) -> tuple[int, ...]:
        """A message, as the model reads it (`data.language.normalise`), and the opening of its reply."""
        spans = [
            *render_turn(Turn.user(normalised(text, self._is_word)), 0, self.template),
            *render_reply_open(1, self.template),
        ]
        return tuple(self.grammar.encode(spans).ids)

    def _is_word(self, word: str) -> bool:
        """Whether the tokenizer has it whole: what is misspelt falls into pieces."""
        return len(self.grammar.tokenizer.encode(" " + word)) == 1

    def reply(self, turn: Turn) -> tuple[int, ...]:
        """A known reply, mask slots included, without opening and end of turn."""
        earlier = turn.recalled if self.grammar.points else ()
        whole = self.grammar.encode(render_turn(turn, 1, self.template, earlier=earlier)).ids
        opening = self.grammar.encode(render_reply_open(1, self.template)).ids
        return tuple(whole[len(opening) : len(whole) - len(self.closing)])

    def run(self, state: State, prompt: tuple[int, ...] = ()) -> Run:
        """The kept exchanges, then a prompt; without one, up to the last id of the last reply."""
        if not state.kept and not prompt:
            return Run()
        remembered = self.recalled(state)
        ids = list(self._opening(remembered))
        for exchange in state.kept:
            ids += (*exchange.prompt_ids, *exchange.reply_ids, *self.closing)
        ids = [*ids, *prompt] if prompt else ids[: -len(self.closing)]
        known = {region.id: region for region in state.regions}
        regions = tuple(known[number] for exchange in state.kept for number in exchange.reply.names)
        pointed = frozenset(r.id for exchange in state.exchanges if exchange.pointed for r in exchange.reply.regions)
        return Run(tuple(ids), (*self.written, *remembered, *regions), pointed)

    def reserve(self, max_new_tokens: int, forced: tuple[int, ...] | None) -> int:
        """Tokens to keep free for a reply and its mask slots. forced: its ids, where they are known."""
        slots = self.grammar.mask_tokens
        if forced is None:
            return max_new_tokens + SPARE_REGIONS * slots + 1
        return len(forced) + sum(forced.count(self.grammar.id(end)) for end in (SEG, REF)) * slots

    def fit(self, state: State, new: int) -> int:
        """Index of the first exchange to keep so that `new` more tokens fit; the new ones always stay.

        Raises InputError when they do not fit alone.
        """
        fixed = len(self.prefix) + len(self.closing) + new
        lengths = [len(e.prompt_ids) + len(e.reply_ids) + len(self.closing) for e in state.exchanges]
        window = state.window
        while (used := fixed + self._remembering(state, window) + sum(lengths[window:])) > self.limit:
            if window == len(lengths):
                break
            window += 1
        if used > self.limit:
            raise InputError(
                f"a message that leaves room for its reply in {self.limit} tokens", f"{used} tokens with the reply's",
                "shorten the message",
            )  # fmt: skip
        return window

    def _remembering(self, state: State, window: int) -> int:
        """Tokens that remembered regions take in the opening."""
        return len(self._opening(self.recalled(state, window))) - len(self.prefix)
