"""Groups of replies to the messages of a conversation, as the model gives them now.

In: a model that answers, a photo with a conversation. Out: a `Rollout`: the conversation with all replies as one tree
of ids, what was drawn in each, its rewards. The history of every message is the data's. Replies are written by the same
engine as in a session (`chat.native`), with two differences: their words are sampled, and the weights alone decide what
is refused. Knows no loss.
L ids, R replies, D language width, K mask tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from miras.chat.generation.decoding import Choice
from miras.chat.inputs import Options
from miras.chat.native.backend import NativeBackend, Prepared
from miras.chat.state import Event, Exchange, State
from miras.core.errors import InputError
from miras.core.selection import advance
from miras.core.types import Conversation
from miras.model.miras import Miras
from miras.model.numeric.views import Floats
from miras.model.runtime.networks import TorchRuntime
from miras.train.grpo import rewards
from miras.train.grpo.batch import Asked
from miras.train.recipe.reinforce import Reinforce

SEEDS = 2**31


class Voice(TorchRuntime):
    """A model as it answers, with tags that are given; None: those of its own tagger."""

    def __init__(self, model: Miras, given: tuple[str, ...] | None) -> None:
        super().__init__(model)
        self._given_tags = given

    def tags(self, features: Any) -> tuple[str, ...]:
        """Names that stand in the opening."""
        return super().tags(features) if self._given_tags is None else self._given_tags


@dataclass(eq=False)
class Rollout:
    """One conversation. ids, parents: each id follows the id at its parent's place (-1: none), so that the replies to a
    message stand beside each other after the same history. slots: mask tokens (K, D) in the order of the ids.
    choices: what was drawn, `reply` of which reply, `after` the place of the id before it. group: of each reply.
    parts: of the reward of each reply. visual: visual tokens (1, N, D) of the photo."""

    visual: Tensor
    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    slots: list[Floats] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    reply: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    parts: list[rewards.Parts] = field(default_factory=list)


@dataclass(eq=False)
class _Sampled:
    """A reply that hangs from the conversation. at: place of the first of its ids."""

    at: int
    ids: tuple[int, ...]
    slots: list[Floats]
    choices: list[Choice]
    group: int
    parts: rewards.Parts


def rollouts(model: Miras, asked: Asked, told: Reinforce, seed: int) -> list[Rollout]:
    """One for each conversation about a photo. The photo is encoded once. Those too long for the context end early."""
    if not asked.conversations:
        return []
    options = Options(max_new_tokens=told.tokens, temperature=told.temperature)
    opened = NativeBackend(Voice(model, asked.tags), asked.pixels, options)
    opened.read_opening()
    visual = opened.engine.features.visual_BND.clone()  # outside of inference mode: a tensor that gradients may meet
    found = []
    for number, talk in enumerate(asked.conversations):
        draws = np.random.default_rng([seed, asked.number, number])
        made = _rollout(opened.fork(), talk, told, draws, visual)
        if made.choices:
            found.append(made)
    return found


def _rollout(
    backend: NativeBackend, talk: Conversation, told: Reinforce, draws: np.random.Generator, visual: Tensor
) -> Rollout:
    state, size = State(), backend.engine.size
    sampled: list[_Sampled] = []
    spine: tuple[list[int], list[Floats]] = ([], [])
    for number, (user, right) in enumerate(zip(talk.turns[::2], talk.turns[1::2], strict=True)):
        seeds = draws.integers(SEEDS, size=told.group).tolist()
        try:
            prepared = backend.prepare(state, user.text, None)
        except InputError:  # longer than the context
            break
        if prepared.window:
            break
        run = backend.context.run(state, prepared.prompt)
        backend.engine.past.sync(replace(run, ids=run.ids[:-1]))  # read once for all; the last id gives the logits
        spine = list(run.ids), [slot.tokens_KD for slot in backend.engine.past.slots]
        steps = advance(state.steps, right, state.regions)
        wanted = rewards.Outcome(right, steps[-1].mask if steps else np.zeros(size, np.bool_))
        sampled += [_sample(backend, state, prepared, seed, number, wanted) for seed in seeds]
        try:
            event = backend.append(state, user.text, right)
        except InputError:
            break
        if event.window:  # the first exchanges have left the context: the tree begins no more as it did
            break
        state = state.after(event)
    return _tree(spine, sampled, visual)


def _sample(
    backend: NativeBackend, state: State, prepared: Prepared, seed: int, group: int, wanted: rewards.Outcome
) -> _Sampled:
    """One reply and what it is worth; the cache goes with it."""
    twin, trace = backend.fork(), list[Choice]()
    twin.options, twin.trace = replace(twin.options, seed=seed), trace
    event = _last(twin.reply(state, prepared))
    exchange, past = event.change, twin.engine.past
    assert isinstance(exchange, Exchange)
    ids = exchange.reply_ids
    at = len(past.ids) - len(ids)
    whole = bool(trace) and trace[-1].at == at + len(ids) and _closed(trace, ids, at)
    got = rewards.Outcome(exchange.reply, state.after(event).selection(twin.engine.size).mask, whole)
    mine = [slot.tokens_KD for slot in past.slots if slot.start >= at]
    return _Sampled(at, ids, mine, trace, group, rewards.parts(got, wanted))


def _last(parts: Generator[Any, None, Event]) -> Event:
    while True:
        try:
            next(parts)
        except StopIteration as done:
            event: Event = done.value
            return event


def _closed(trace: Sequence[Choice], ids: Sequence[int], at: int) -> bool:
    """Whether every name of a reply ended by itself."""
    ends = set(trace[0].ends)
    drawn = {choice.at for choice in trace}
    return all(at + place in drawn for place, token_id in enumerate(ids) if token_id in ends)


def _tree(spine: tuple[list[int], list[Floats]], sampled: Sequence[_Sampled], visual: Tensor) -> Rollout:
    ids, slots = spine
    made = Rollout(visual, list(ids), [place - 1 for place in range(len(ids))], list(slots))
    for reply, one in enumerate(sampled):
        if one.at > len(ids):
            raise AssertionError("a reply that hangs from ids which are not there")
        first = len(made.ids)
        made.ids += one.ids
        made.parents += [one.at - 1, *range(first, first + len(one.ids) - 1)][: len(one.ids)]
        made.slots += one.slots
        made.choices += one.choices
        made.reply += [reply] * len(one.choices)
        made.after += [_place(choice.at, one.at, first) for choice in one.choices]
        made.group.append(one.group)
        made.parts.append(one.parts)
    return made


def _place(at: int, start: int, first: int) -> int:
    """Place in the tree of the id before place `at` of the reply's own conversation. start: of the reply there; first:
    in the tree."""
    return start - 1 if at == start else first + at - 1 - start
