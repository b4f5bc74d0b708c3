"""A vision-language model as the talker of one photo: what it is shown and told, and what it answers.

In: the state of a session, a message; a mask to look at. Out: a plan; a verdict. The opening (rules, photo) never
changes, so that servers find it in their prefix cache; the last turns follow in words, and with the message stands what
is there now: a small picture in which the regions are drawn and numbered, their names and boxes, and what is selected.
So older turns can be left out: what they selected is told by its number. Knows no HTTP and draws no mask.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from miras.chat.composed.answers import Rules, look_schema, read_look, talk_schema, value_of
from miras.chat.composed.asking import Asking, Question, seeded
from miras.chat.composed.families import Family, grid_of, seen_size
from miras.chat.composed.pictures import crop, marked, resized
from miras.chat.composed.plan import Plan, plan_of
from miras.chat.state import Event, Exchange, Spent, State
from miras.core.llm.answers import Message
from miras.core.llm.completions import data_url
from miras.core.llm.prompts import read_prompt
from miras.core.masks import box_of
from miras.core.types import Mask, Region

PACKAGE = "miras.chat.composed"
MOST_NAMED, KEPT_NAMED = 16, 8
"""Regions that the turns in the context may name; when there are more, the oldest turns go, until so many are left."""
MOST_TURNS, KEPT_TURNS = 16, 8
"""The same for turns, which may name none."""
SMALL = 512
"""Longest side in pixels of a picture of regions, and of a crop."""
LISTED = 40
"""Regions that are listed with a message: those selected, and the newest."""
SEEN = '{"text": "I see it.", "steps": []}'


@dataclass(frozen=True)
class Look:
    """verdict: of `answers.VERDICTS`. points: (P, 3) float32 x, y, label in photo pixels, None for none."""

    verdict: Literal["accept", "refine", "exclude", "give_up"]
    points: NDArray[np.float32] | None
    spent: Spent


class Talk:
    """One photo's talk. It keeps nothing of what was said: the session does. max_side: of the photo as it is sent."""

    recalls = True

    def __init__(
        self, asking: Asking, family: Family, photo: NDArray[np.uint8], *, seed: int = 0, max_side: int = 1024,
        quality: int = 90, prompts: Collection[str] = (), most: int = 1024,
    ) -> None:  # fmt: skip
        self._asking, self._family, self._photo = asking, family, photo
        self._seed, self._quality, self._prompts, self._most = seed, quality, prompts, most
        self._size = (photo.shape[0], photo.shape[1])
        seen = seen_size(family, self._size, max_side)
        self._small = seen_size(family, self._size, min(SMALL, max_side))
        self.grid = grid_of(family, seen)
        self._schema = talk_schema(self.grid)
        system, _ = read_prompt(PACKAGE, "talk").filled(grid=self.grid.words, message="")
        height, width = seen
        shown = Message("user", f"The photo, {width} x {height} pixels.", (self._url(resized(photo, seen)),))
        self._opening = (system, shown, Message("assistant", SEEN))

    def fork(self) -> Talk:
        """Itself: it holds no state."""
        return self

    def resume(self, state: State) -> None:
        """Nothing: it is told all with each message."""

    def heard(self, before: State, event: Event) -> None:
        """Nothing, as well."""

    def window(self, state: State) -> int:
        """Index of the first exchange that stays in the context."""
        kept, named = state.kept, sum(len(exchange.reply.names) for exchange in state.kept)
        if len(kept) <= MOST_TURNS and named <= MOST_NAMED:
            return state.window
        first = state.window
        for exchange in kept[:-1]:
            if len(state.exchanges) - first <= KEPT_TURNS and named <= KEPT_NAMED:
                break
            named -= len(exchange.reply.names)
            first += 1
        return first

    def say(self, state: State, message: str) -> Plan:
        """The answer to a message. Raises NoAnswer when none fits, EndpointDown."""
        known = {region.id: region for region in state.regions}
        selection = state.selection(self._size)
        messages = [*self._opening]
        for exchange in state.exchanges[self.window(state) :]:
            messages += self._past(exchange, known)
        messages.append(self._present(state, message))
        rules = Rules(self.grid, frozenset(known), self._prompts, bool(selection.expression))
        seed, turn = seeded(self._seed, messages), len(state.exchanges)
        question = Question(tuple(messages), self._schema, seed, "talk", self._most, turn)
        value, spent = self._asking.ask(question, rules.read)
        return Plan(plan_of(value, known, self.grid, self._size).pieces, spent)

    def look(self, phrase: str, mask: Mask) -> Look:
        """What it says of a new mask, (H, W) and not empty, in a crop. Raises NoAnswer, EndpointDown."""
        part, (left, top, right, bottom) = crop(self._photo, mask)
        inner = (bottom - top, right - left)
        seen = seen_size(self._family, inner, SMALL)
        grid = grid_of(self._family, seen)
        system, user = read_prompt(PACKAGE, "look").filled(grid=grid.words, phrase=phrase)
        messages = (system, Message("user", user.text, (self._url(resized(part, seen)),)))
        question = Question(messages, look_schema(grid), seeded(self._seed, messages), "look", self._most)
        value, spent = self._asking.ask(question, read_look(grid))
        points = grid.points(value["points"], inner)
        if points is not None:
            points = points + np.array([left, top, 0], np.float32)
        return Look(value["verdict"], points, spent)

    def _past(self, exchange: Exchange, known: dict[int, Region]) -> tuple[Message, Message]:
        value = value_of(exchange.reply, known, self.grid)
        return Message("user", exchange.user.text), Message("assistant", json.dumps(value, ensure_ascii=False))

    def _present(self, state: State, message: str) -> Message:
        """The message, and what is there now."""
        regions = self._listed(state)
        if not regions:
            return Message("user", message)
        lines = [f"{region.id}: {region.phrase} {_box(self._answered(region))}" for region in regions]
        expression = state.selection(self._size).expression or "nothing"
        text = f"{message}\n\nRegions so far, as the picture shows them:\n" + "\n".join(lines)
        picture = self._url(marked(self._photo, regions, self._small))
        return Message("user", f"{text}\nSelected now: {expression}", (picture,))

    def _listed(self, state: State) -> list[Region]:
        selected = {region.id for region in (*state.added, *state.left_out)}
        newest = sorted(state.regions, key=lambda region: (region.id not in selected, -region.id))[:LISTED]
        return sorted(newest, key=lambda region: region.id)

    def _answered(self, region: Region) -> list[int]:
        box = box_of(region.mask)
        return [] if box is None else self.grid.answer(box, self._size)

    def _url(self, picture: NDArray[np.uint8]) -> str:
        return data_url(picture, max(picture.shape[:2]), self._quality)


def _box(sides: list[int]) -> str:
    return json.dumps(sides) if sides else "(no pixels)"


def version() -> dict[str, Any]:
    """Versions of the prompts."""
    return {name: read_prompt(PACKAGE, name).version for name in ("talk", "look")}
