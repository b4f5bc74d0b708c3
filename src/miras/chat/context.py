"""What of a conversation stands before the model: ids of its parts, and which exchanges fit.

In: the state and a message. Out: token ids. Knows the grammar and the context limit; knows no tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from miras.chat.state import State
from miras.core.errors import InputError
from miras.core.grammar import SEG, Encoder, Template, render_prefix, render_reply_open, render_turn
from miras.core.types import Region, Turn

SPARE_REGIONS = 4
"""Regions of a reply whose mask slots are kept free beside its own tokens."""


@dataclass(frozen=True)
class Run:
    """A sequence the cache can hold: ids with mask slots, and the regions in order of their slots.

    pointed: ids of the regions whose words prompt no mask.
    """

    ids: tuple[int, ...] = ()
    regions: tuple[Region, ...] = ()
    pointed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Context:
    """Writes runs. limit: tokens the model can hold. In the opening stand written, lines of text in the photo, as
    regions, and tags, names of what it seems to show."""

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

    def prompt(self, text: str) -> tuple[int, ...]:
        """A message and the opening of its reply."""
        spans = [*render_turn(Turn.user(text), 0, self.template), *render_reply_open(1, self.template)]
        return tuple(self.grammar.encode(spans).ids)

    def reply(self, turn: Turn) -> tuple[int, ...]:
        """A known reply, mask slots included, without opening and end of turn."""
        whole = self.grammar.encode(render_turn(turn, 1, self.template)).ids
        opening = self.grammar.encode(render_reply_open(1, self.template)).ids
        return tuple(whole[len(opening) : len(whole) - len(self.closing)])

    def run(self, state: State, prompt: tuple[int, ...] = ()) -> Run:
        """The kept exchanges, then a prompt; without one, up to the last id of the last reply."""
        if not state.kept and not prompt:
            return Run()
        ids = list(self.prefix)
        for exchange in state.kept:
            ids += (*exchange.prompt_ids, *exchange.reply_ids, *self.closing)
        ids = [*ids, *prompt] if prompt else ids[: -len(self.closing)]
        regions = tuple(region for exchange in state.kept for region in exchange.reply.regions)
        pointed = frozenset(r.id for exchange in state.kept if exchange.pointed for r in exchange.reply.regions)
        return Run(tuple(ids), (*self.written, *regions), pointed)

    def reserve(self, max_new_tokens: int, forced: tuple[int, ...] | None) -> int:
        """Tokens to keep free for a reply and its mask slots. forced: its ids, where they are known."""
        slots = self.grammar.mask_tokens
        if forced is None:
            return max_new_tokens + SPARE_REGIONS * slots + 1
        return len(forced) + forced.count(self.grammar.id(SEG)) * slots

    def fit(self, state: State, new: int) -> int:
        """Index of the first exchange to keep so that `new` more tokens fit; the new ones always stay.

        Raises InputError when they do not fit alone.
        """
        fixed = len(self.prefix) + len(self.closing) + new
        if fixed > self.limit:
            raise InputError(
                f"a message that leaves room for its reply in {self.limit} tokens", f"{fixed} tokens with the reply's",
                "shorten the message",
            )  # fmt: skip
        lengths = [len(e.prompt_ids) + len(e.reply_ids) + len(self.closing) for e in state.exchanges]
        window = state.window
        while fixed + sum(lengths[window:]) > self.limit:
            window += 1
        return window
