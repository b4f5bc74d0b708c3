"""What a judge is asked, how its answers are read, and the judges themselves.

In: conversations. Out: questions (to rate one, to compare two) with a key of all that decides the answer; typed
answers. The rubrics are Markdown, in `prompts`. Knows no run, no figure and no journal.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Estimate, Message, NoAnswer, Usage, digest_of, seed_of
from miras.core.llm.completions import Call, Completions, data_url
from miras.core.llm.endpoint import Settings, cost_of, guess_tokens, settings_from
from miras.core.llm.prompts import Prompt, read_prompt
from miras.core.llm.structured import read_json
from miras.eval.rating.criteria import CRITERIA, HIGHEST, LOWEST
from miras.eval.rating.transcripts import Picture, Transcript, pictures_of, seen_text, text_of

SIDES = ("first", "second", "tie")
WRITTEN = {"rate": 200, "compare": 80}
"""Tokens that answers usually take; a guess, for estimates."""
_FORMAT = 1


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _reason(characters: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": characters}


_SCORE = {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))}
SCHEMAS: dict[str, dict[str, Any]] = {
    "rate": _object(**{name: _object(reason=_reason(240), score=_SCORE) for name in CRITERIA}),
    "compare": _object(reason=_reason(400), better={"type": "string", "enum": list(SIDES)}),
}
"""Step -> JSON schema of its answer; the reason comes first, so that the score follows from it."""


@dataclass(frozen=True)
class Question:
    """One question to a judge. step: "rate" or "compare"."""

    step: str
    messages: tuple[Message, ...]
    seed: int
    pictures: tuple[Picture, ...] = ()

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything here that decides the answer: photos by content, not by place."""
        return digest_of({
            "format": _FORMAT, "step": self.step, "messages": [[m.role, m.text] for m in self.messages],
            "schema": SCHEMAS[self.step], "seed": self.seed, "pictures": [picture.facts for picture in self.pictures],
        })  # fmt: skip

    def read(self, text: str) -> tuple[dict[str, Any] | None, list[str]]:
        """The answer of a text, or None and what is wrong with it."""
        return read_json(text, SCHEMAS[self.step])


def rate(transcript: Transcript, *, sees: bool, seed: int = 0) -> Question:
    """One conversation by the four criteria. Raises InputError for a missing photo."""
    pictures = pictures_of([transcript]) if sees else ()
    messages = _prompt("rate").messages(
        seen=seen_text([transcript], pictures),
        talk=text_of(transcript, 2 if sees else None),
        criteria=_criteria(),
    )
    return Question("rate", messages, seed_of(seed, "rate", transcript.record), pictures)


def compare(first: Transcript, second: Transcript, *, sees: bool, seed: int = 0) -> Question:
    """Two conversations of the same messages, in this order. Raises InputError for a missing photo."""
    pictures = pictures_of([first, second]) if sees else ()
    messages = _prompt("compare").messages(
        seen=seen_text([first, second], pictures), first=text_of(first, 2 if sees else None),
        second=text_of(second, 2 + len(first.drawn) if sees else None), criteria=_criteria(),
    )  # fmt: skip
    return Question("compare", messages, seed_of(seed, "compare", first.record), pictures)


def prompt_versions() -> dict[str, dict[str, str]]:
    """Prompt file -> its version line and the digest of its text; they stand in every result."""
    found = {}
    for name in ("rate", "compare", "criteria"):
        head = read_prompt("miras.eval.rating", name).system.partition("\n")[0]
        found[name] = {"version": head.removeprefix("version:").strip(), "digest": _prompt(name).version}
    return found


@lru_cache
def _prompt(name: str) -> Prompt:
    """A prompt without its version line."""
    whole = read_prompt("miras.eval.rating", name)
    return Prompt(whole.system.partition("\n")[2].strip(), whole.user, whole.version)


def _criteria() -> str:
    return _prompt("criteria").user.template


class Judge:
    """One model at one endpoint. Use it in one event loop. label: as the figures call it."""

    def __init__(self, settings: Settings) -> None:
        """Raises InputError without the package openai."""
        self.label, self.sees, self.at_once = settings.model, settings.photos, settings.concurrency
        self._settings, self._completions = settings, Completions(settings, extra="eval")

    @property
    def name(self) -> str:
        """Everything about the judge that decides its answers; never a key or an address."""
        return self._completions.name

    async def answer(self, question: Question, /) -> Answer:
        """`Completions.answer`. Raises EndpointDown, NoAnswer."""
        try:
            call = await asyncio.to_thread(self._call, question)
        except InputError as error:
            raise NoAnswer(error.expected, error.got, error.cure) from error
        return await self._completions.answer(call)

    def _call(self, question: Question) -> Call:
        s = self._settings
        pictures = tuple(data_url(picture.draw(), s.max_side, s.quality) for picture in question.pictures)
        step = question.step
        return Call(step, question.messages, SCHEMAS[step], question.seed, pictures, self._tokens(question))

    def estimate(self, questions: Sequence[Question], /) -> Estimate:
        """Counts by rule of thumb, without a call: `guess_tokens`; answers as in `WRITTEN`, re-asks not foreseen."""
        read = sum(map(self._tokens, questions))
        written = sum(min(WRITTEN[q.step], self._settings.max_tokens or 10**9) for q in questions)
        return Estimate(len(questions), read, written, cost_of(self._settings, Usage(read, written)))

    def stop(self) -> None:
        """Begin nothing new."""
        self._completions.stop()

    async def close(self) -> None:
        """Close the connections."""
        await self._completions.close()

    def _tokens(self, question: Question) -> int:
        characters = sum(len(message.text) for message in question.messages) + len(str(SCHEMAS[question.step]))
        return guess_tokens(characters, len(question.pictures), self._settings.max_side)


def judges_of(
    seeing: Sequence[str], blind: Sequence[str] = (), environment: Mapping[str, str] | None = None, *,
    price_in: Sequence[float] = (), price_out: Sequence[float] = (), **options: Any,
) -> list[Judge]:  # fmt: skip
    """The judges, each given as MODEL or MODEL@URL; first those that see photos, then those that do not.

    MODEL alone: at OPENAI_BASE_URL (or the SDK's default) with OPENAI_API_KEY. MODEL@URL: its key is in
    MIRAS_JUDGE_KEY_1 for the first judge, _2 for the second, ...; no other key goes there. price_in, price_out: one
    for all, or one each. options: of `Settings`. Raises InputError for no judge, two alike, or bad options.
    """
    env = dict(os.environ if environment is None else environment)
    specs = [*((spec, True) for spec in seeing), *((spec, False) for spec in blind)]
    if not specs:
        raise InputError("at least one judge", "none", "give --judge MODEL or --blind-judge MODEL")
    prices = [_each(values, len(specs), name) for name, values in (("in", price_in), ("out", price_out))]
    found = []
    for place, (spec, photos) in enumerate(specs):
        model, _, url = spec.partition("@http")
        own = env
        if url:
            own = {"OPENAI_BASE_URL": f"http{url}", "OPENAI_API_KEY": env.get(f"MIRAS_JUDGE_KEY_{place + 1}", "")}
        settings = settings_from(
            own, option="--judge MODEL", model=model.strip(), photos=photos, price_in=prices[0][place],
            price_out=prices[1][place], **options,
        )  # fmt: skip
        found.append(Judge(settings))
    labels = [judge.label for judge in found]
    if len(set(labels)) < len(labels):
        raise InputError("judges of different names", ", ".join(labels))
    return found


def _each(values: Sequence[float], count: int, name: str) -> list[float | None]:
    if len(values) not in (0, 1, count):
        raise InputError(f"--price-{name} once, or once a judge ({count})", f"{len(values)} times")
    return [*values] * (count if len(values) == 1 else 1) if values else [None] * count
