"""The token loop over one photo: it writes replies and draws their masks.

In: logits after what was read (`chat.generation.kv_cache`), hand prompts. Out: text deltas, regions, masks. Knows the
model and the grammar; knows nothing of sessions, selections or users. The photo is encoded once.
V vocabulary plus special tokens, S span tokens, E = layers * D, M tokens of earlier masks.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from miras.chat.generation.decoding import Choice, ReplyRules, TextStream, choice, choose
from miras.chat.generation.draft import UNSEEN_TOO, Draft, Sighting
from miras.chat.generation.kv_cache import KVCache, Slot
from miras.chat.generation.naming import Doubt, is_doubtful, names, shares
from miras.chat.generation.writing import SEEN, written
from miras.chat.inputs import REFUSE_BELOW, Gesture
from miras.core.selection import is_empty
from miras.core.text_regions import is_about_writing, plain
from miras.core.types import Alternative, Mask, Region, Timings
from miras.data.language.words import definite
from miras.model.boxed import boxed
from miras.model.numeric.chances import log_softmax, sigmoid
from miras.model.numeric.views import Floats
from miras.model.reading import Page
from miras.model.runtime.base import Runtime


@dataclass(frozen=True)
class Job:
    """What one reply needs beside the logits. first_region: id of the first region it names.

    turn: its index. message: what is answered. previous: what is selected. forced: these ids instead of
    the likeliest ones, checked, without mask slots and end of turn. least_score: a region without pixels, or with a
    lower score, is no answer; None: whatever is drawn is one. refuse_below: see `inputs.Options`. trace: gets every id
    that is drawn; the weights alone then decide what is refused, and whatever is drawn is an answer.
    """

    rules: ReplyRules
    turn: int
    first_region: int
    message: str = ""
    previous: Mask | None = None
    temperature: float = 0.0
    seed: int = 0
    forced: tuple[int, ...] | None = None
    least_score: float | None = None
    refuse_below: float = REFUSE_BELOW
    trace: list[Choice] | None = None


@dataclass(frozen=True)
class Written:
    """ids: of the reply, mask slots included, end of turn not. named: the regions that it names, in order. unseen: what
    it would name first, which is nowhere to be seen; nothing was said."""

    ids: tuple[int, ...]
    certainty: float
    named: tuple[Region, ...] = ()
    unseen: Sighting | None = None


@dataclass(frozen=True)
class Evidence:
    """What a reply was decided by. presence: logit that the photo shows the first thing it would name, None
    when it names none. refusal: log odds of `[REJ]` by the language model where the reply begins. naming: log
    probability of that name. again: it was named before, and is meant again."""

    presence: float | None
    refusal: float
    naming: float = 0.0
    again: bool = False


@dataclass
class Clock:
    """Seconds by part of the turn."""

    seconds: dict[str, float] = field(default_factory=lambda: {"prefill": 0.0, "generate": 0.0, "segment": 0.0})

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def read(self) -> Timings:
        """What was measured so far."""
        return Timings(**self.seconds)


class Engine:
    """One photo and the conversation about it: `past` is what the language model has read of it, `page` what is
    written in the photo.

    `fork` shares what was computed, and the page.
    """

    def __init__(self, model: Runtime, photo: NDArray[np.uint8], page: Page | None = None) -> None:
        self.model = model
        self.page = page or Page(photo)
        self.grammar = model.grammar
        start = time.perf_counter()
        self.features = model.encode(photo)
        self.tags = model.tags(self.features)
        self.encode_seconds = time.perf_counter() - start
        self.size: tuple[int, int] = (photo.shape[0], photo.shape[1])
        self.past = KVCache(model, self.features)
        self.clock = Clock()
        self.evidence: Evidence | None = None

    def fork(self) -> Engine:
        """An independent engine with the same past, clock and counter at zero."""
        twin = copy.copy(self)
        twin.past, twin.clock = self.past.fork(), Clock()
        return twin

    # Writing a reply

    def write(self, logits_V: Floats, job: Job) -> Generator[str | Region, None, Written]:
        """Generate a reply after `logits_V`: text deltas and regions as they come.

        The model looks before it refuses, and before it does not: it answers as if what was asked for were
        there, and when its first region is drawn, the calibrated odds of pixels and language model let
        the answer pass or takes it back for a refusal. Until then nothing is given away.
        """
        if job.forced is not None or job.trace is not None:
            return (yield from _told(self._compose(logits_V, job)))
        start = len(self.past.ids)
        refusal = job.rules.refusal(logits_V)
        attempt = self._compose(logits_V, replace(job, rules=job.rules.deciding(False)))
        held: list[str | Region] = []
        first: Sighting | None = None
        written: Written | None = None
        while written is None and first is None:
            try:
                part = next(attempt)
                first = part if isinstance(part, Sighting) else None
                held.append(part.region if isinstance(part, Sighting) else part)
            except StopIteration as done:
                written = done.value
        if first is not None:
            again = first.region.id < job.first_region
            self.evidence = Evidence(first.presence, refusal, first.naming, again)
            passed = self.model.verdict(first.presence, refusal)
        elif written is not None and written.unseen is not None:
            self.evidence = Evidence(written.unseen.presence, refusal, written.unseen.naming)
            passed = 0.0
        else:  # words alone: nothing to look for
            self.evidence = Evidence(None, refusal)
            passed = sigmoid(-refusal)
        if passed < (REFUSE_BELOW if first is None else job.refuse_below):
            attempt.close()
            self.past.rewind(start)
            rules = job.rules.deciding(True)
            written = yield from _told(self._compose(logits_V, replace(job, rules=rules)))
            return replace(written, certainty=1 - passed)
        yield from held
        if written is None:
            written = yield from _told(attempt)
        return replace(written, certainty=passed * written.certainty)

    def _compose(self, logits_V: Floats, job: Job) -> Generator[str | Sighting, None, Written]:
        """A reply, its parts as they come. Where a region has to be an answer (`Job.least_score`), what is said is held
        back until its region is one; one that is none is tried by the other names that were weighed, and left out."""
        draft = Draft(job.rules, logits_V, TextStream(self.grammar.tokenizer.decode))
        start = len(self.past.ids)
        safe, at, others = draft.copy(), start, list[Alternative]()
        generator = np.random.default_rng(job.seed)
        forced = None if job.forced is None else iter((*job.forced, job.rules.end))
        careful = forced is None and job.least_score is not None and job.trace is None
        while True:
            rules = draft.rules
            delta, token_id = self._next(draft, job, generator, forced)
            if delta:
                draft.held.append(delta)
            if not careful or token_id == rules.end:
                yield from draft.release()
            if token_id == rules.end:
                self.past.commit()
                return Written(tuple(self.past.ids[start:]), draft.certainty or 0.0, tuple(draft.named))
            phrase = rules.phrase
            rules.push(token_id)
            with self.clock.part("generate"):
                draft.logits_V, hidden_LE = self.past.step(token_id, rules)
            if token_id == rules.obj:
                draft.span = [hidden_LE]
            elif draft.span:
                draft.span.append(hidden_LE)
            if token_id not in rules.ends:
                continue
            words, draft.span = np.concatenate(draft.span), []
            if token_id == rules.ref:
                slot = self._recalled(words, job, phrase)
                region, tokens_KD, span_SE = slot.region, slot.tokens_KD, None
                seen = Sighting(region, SEEN, draft.doubt.chance)
            else:
                span_SE = self.past.read(words)
                seen = self._region(job, rules, job.first_region + draft.drawn, phrase, span_SE, draft.doubt)
                region = seen.region
                if careful and not self._stands(region, job):
                    lead = self.past.ids[at : at + self.past.ids[at:].index(rules.obj) + 1]
                    others = others if draft.retried else list(region.alternatives)
                    self.past.rewind(at)
                    if not others and not safe.named:
                        return Written((), draft.certainty or 0.0, unseen=seen)
                    draft = self._otherwise(safe.copy(), lead, phrase, others)
                    continue
                with self.clock.part("segment"):
                    (tokens_KD,) = self.past.tokens([region])
                draft.drawn += 1
            draft.named.append(region)
            draft.doubt, draft.retried = Doubt(), False
            yield from draft.release()
            yield seen
            with self.clock.part("generate"):
                draft.logits_V = self.past.remember(region, tokens_KD, span_SE, rules, words)
            safe, at = draft.copy(), len(self.past.ids)

    def _next(
        self, draft: Draft, job: Job, generator: np.random.Generator, forced: Iterator[int] | None
    ) -> tuple[str, int]:
        """The next id of a reply, and the text that is certain with it."""
        rules = draft.rules
        with self.clock.part("generate"):
            restricted_V = rules.restrict(draft.logits_V)
            only = rules.only if forced is None else next(forced)
            if not draft.rest and only is None and draft.span:
                if job.temperature <= 0 and is_doubtful(restricted_V):
                    draft.rest, draft.doubt = self._weighed(restricted_V, rules, draft.doubt)
                else:
                    chance = draft.doubt.chance + float(log_softmax(restricted_V).max())
                    draft.doubt = replace(draft.doubt, chance=chance)
            only = draft.rest.pop(0) if draft.rest else only
            token_id = choose(restricted_V, job.temperature, generator) if only is None else only
            if only is None and job.trace is not None:
                at, heat = len(self.past.ids), job.temperature
                job.trace.append(choice(token_id, at, draft.logits_V, restricted_V, rules, heat))
        if draft.certainty is None:
            draft.certainty = rules.certainty(restricted_V, token_id)
        special = token_id == rules.end or token_id >= self.grammar.words
        return draft.stream.cut() if special else draft.stream.push(token_id), token_id

    def _stands(self, region: Region, job: Job) -> bool:
        """Whether a region is an answer: it has pixels, and a score that is not less than can stand for one."""
        enough = region.score is None or job.least_score is None or region.score >= job.least_score
        return enough and not is_empty(region.mask)

    def _otherwise(self, draft: Draft, lead: list[int], phrase: str, others: list[Alternative]) -> Draft:
        """A draft that goes on by the next of the other names, which is taken off; without one, in words alone.

        lead: ids up to `[OBJ]`. phrase: what was nowhere to be seen.
        """
        encode = self.grammar.tokenizer.encode
        if others:
            other = others.pop(0)
            draft.rest = [*lead, *encode(" " + other.phrase), draft.rules.ending(other.phrase)]
            draft.doubt = Doubt(log(max(other.chance, 1e-6)), tuple(others))
        else:
            draft.rest = [*encode(UNSEEN_TOO.format(the=definite(phrase))), draft.rules.end]
        draft.retried = True
        return draft

    def _recalled(self, words_SE: Floats, job: Job, phrase: str) -> Slot:
        """What is meant again. It is there: it was named before."""
        with self.clock.part("segment"):
            return self.past.recall(words_SE, job.first_region, phrase)

    def _weighed(self, restricted_V: Floats, rules: ReplyRules, doubt: Doubt) -> tuple[list[int], Doubt]:
        """The ids that end an open name, and the doubt about it. doubt: about its words so far."""
        found = names(restricted_V, rules, self.past.verify)
        phrases = [(rules.phrase + self.grammar.tokenizer.decode(name.ids[:-1])).strip() for name in found]
        chances: dict[str, float] = {}
        for phrase, chance in zip(phrases, shares(found), strict=True):  # 'Open' and 'OPEN' are one name
            chances[plain(phrase)] = chances.get(plain(phrase), 0.0) + exp(chance)
        first, *others = sorted(chances, key=lambda name: (name != plain(phrases[0]), -chances[name]))
        told = {plain(phrase): phrase for phrase in reversed(phrases)}
        alternatives = tuple(Alternative(told[name], chances[name]) for name in others)
        return list(found[0].ids), Doubt(doubt.chance + log(min(chances[first], 1.0)), alternatives)

    def _region(
        self, job: Job, rules: ReplyRules, region_id: int, phrase: str, span_SE: Floats, doubt: Doubt
    ) -> Sighting:
        with self.clock.part("segment"):
            presence = self.model.presence(self.features, span_SE)
        mask, score = self.mask(span_SE, self.past.memory(), job.previous, Gesture(), doubt.chance)
        if is_about_writing(phrase):  # what was read settles its presence
            with self.clock.part("segment"):
                found = written(phrase, mask, self.page.text_regions)
            presence = presence if found is None else found.presence
            if found is not None and found.mask is not None:
                mask, score = found.mask, found.score * exp(doubt.chance)
        region = Region(region_id, phrase, mask, job.turn, rules.operator, score, doubt.others)
        return Sighting(region, presence, doubt.chance)

    # Masks

    def mask(
        self,
        span_SE: Floats | None,
        memory_MD: Floats | None,
        previous: Mask | None,
        hand: Gesture,
        naming: float = 0.0,
    ) -> tuple[Mask, float]:
        """One decoder pass: the mask (H, W) bool, inside a drawn box (`model.boxed`), and its predicted IoU in 0..1.

        naming: log probability of its name.
        """
        with self.clock.part("segment"):
            prediction = self.model.segment(self.features, span_SE, memory_MD, previous, hand.points, hand.box, naming)
            mask, index = prediction.mask(self.size), prediction.best
            if hand.box is not None:
                mask, index = boxed(prediction.logits_Mhw, hand.box, self.size, hand.points, index)
            return mask, float(prediction.iou_M[index])


def _told(parts: Generator[str | Sighting, None, Written]) -> Generator[str | Region, None, Written]:
    """The parts of a reply as they are given away: regions without what speaks for them."""
    while True:
        try:
            part = next(parts)
        except StopIteration as done:
            whole: Written = done.value
            return whole
        yield part.region if isinstance(part, Sighting) else part
