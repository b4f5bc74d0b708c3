"""The token loop over one photo: it owns the key-value cache and only ever extends or crops it.

In: runs of token ids with their regions, hand prompts. Out: text deltas, regions, masks. Knows the
model and the grammar; knows nothing of sessions, selections or users. The photo is encoded once.
L tokens, V vocabulary plus special tokens, K mask tokens, S span tokens, E = layers * D.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from miras.chat.context import Run
from miras.chat.decoding import ReplyRules, TextStream, choose
from miras.chat.inputs import Gesture
from miras.chat.lookahead import Guess, Phrase, guesses
from miras.core.grammar import MASK, OBJ, SEG
from miras.core.types import Mask, Region, Timings
from miras.model.boxed import boxed
from miras.model.miras import MaskPrediction, Miras


@dataclass(frozen=True, eq=False)
class Slot:
    """A region in the cache. start: position of its first mask slot. span: states from `[OBJ]` to
    `[SEG]`, None when its words prompt no mask."""

    start: int
    region: Region
    tokens_KD: Tensor
    span_SE: Tensor | None


@dataclass(frozen=True)
class Job:
    """What one reply needs beside the logits. first_region: id of the first region it names.

    turn: its index. previous: what is selected. forced: these ids instead of the likeliest ones,
    checked, without mask slots and end of turn.
    """

    rules: ReplyRules
    turn: int
    first_region: int
    previous: Mask | None = None
    temperature: float = 0.0
    seed: int = 0
    forced: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Written:
    """ids: of the reply, mask slots included, end of turn not."""

    ids: tuple[int, ...]
    certainty: float


@dataclass(frozen=True)
class Evidence:
    """What a reply was decided by. presence: logit that the photo shows the first thing it would name, None
    when it names none. refusal: log odds of `[REJ]` by the language model where the reply begins."""

    presence: float | None
    refusal: float


@dataclass(frozen=True, eq=False)
class Ahead:
    """A guess in the cache: the logits after it and its states."""

    guess: Guess
    logits_V: Tensor
    hidden_1E: Tensor


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
    """One photo, one cache. lookahead: check guessed ids in one pass (`chat.lookahead`). forgetful: run
    everything again for each id (for the benchmark).

    `fork` shares all tensors: the cache's layers are never written in place.
    """

    def __init__(self, model: Miras, photo: NDArray[np.uint8]) -> None:
        self.model = model
        self.grammar = model.grammar
        start = time.perf_counter()
        with torch.inference_mode():
            self.features = model.encode_image([photo])
        self.encode_seconds = time.perf_counter() - start
        self.size: tuple[int, int] = (photo.shape[0], photo.shape[1])
        self.ids: list[int] = []
        self.slots: list[Slot] = []
        self.cache = DynamicCache()
        self.lookahead, self.forgetful = True, False
        self._ahead: list[Ahead] = []
        self._taken: list[int] = []
        self._presence = 0.0
        self._misread_1E: Tensor | None = None
        self.evidence: Evidence | None = None
        self.begin()

    def begin(self) -> None:
        """A turn starts: clock and counter at zero. Wrong guesses are not counted."""
        self.clock = Clock()
        self.processed_tokens = 0

    def fork(self) -> Engine:
        """An independent engine with the same past, clock and counter at zero."""
        self._settle()
        twin = copy.copy(self)
        twin.ids, twin.slots, twin._ahead, twin._taken = list(self.ids), list(self.slots), [], []
        twin.cache = copy.copy(self.cache)
        twin.cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        twin.begin()
        return twin

    # What is in the cache

    def keep(self, run: Run) -> None:
        """Crop the cache to what it has in common with a run."""
        common = 0
        for ours, theirs in zip(self.ids, run.ids, strict=False):
            if ours != theirs:
                break
            common += 1
        for slot, (start, region) in zip(self.slots, self._places(run), strict=False):
            if slot.start != start or slot.region is not region:
                common = min(common, slot.start, start)
                break
        if common == 0:
            self.cache = DynamicCache()
        elif common < len(self.ids):
            self.cache.crop(common - len(self.ids))
        del self.ids[common:]
        self.slots = [slot for slot in self.slots if slot.start < common]

    @torch.inference_mode()
    def sync(self, run: Run, rules: ReplyRules | None = None) -> Tensor | None:
        """Make the cache hold exactly a run, in one pass over what is new.

        Returns the logits (V,) after its last id, None when nothing was new. Masks that were in the
        cache already are not encoded again. rules: of the reply that follows, whose first ids are
        guessed in the same pass.
        """
        before = list(self.slots)
        self.keep(run)
        start = len(self.ids)
        rest = run.ids[start:]
        if not rest:
            return None
        places = [(at, region) for at, region in self._places(run) if at >= start]
        tokens = self._tokens([region for _, region in places], before)
        logits_V, hidden_LE = self._feed(rest, tokens, rules, first=start == 0)
        spans = {slot.start: slot.span_SE for slot in before}
        for (at, region), tokens_KD in zip(places, tokens, strict=True):
            opening = _last(run.ids, self.grammar.id(OBJ), at)
            span = self._read(hidden_LE[opening - start : at - start]) if opening >= start else spans.get(at)
            self.slots.append(Slot(at, region, tokens_KD, None if region.id in run.pointed else span))
        return logits_V

    def _places(self, run: Run) -> list[tuple[int, Region]]:
        seg = self.grammar.id(SEG)
        starts = [at + 1 for at, token_id in enumerate(run.ids) if token_id == seg]
        return list(zip(starts, run.regions, strict=True))

    def _tokens(self, regions: Sequence[Region], known: Sequence[Slot]) -> list[Tensor]:
        cached = {id(slot.region): slot.tokens_KD for slot in known}
        missing = [region for region in regions if id(region) not in cached]
        if missing:
            masks_RHW = np.stack([region.mask for region in missing])
            tokens_RKD = self.model.mask_tokens(self.features, 0, masks_RHW)
            cached.update({id(region): tokens for region, tokens in zip(missing, tokens_RKD, strict=True)})
        return [cached[id(region)] for region in regions]

    def _feed(
        self, ids: Sequence[int], slots: Sequence[Tensor] = (), rules: ReplyRules | None = None, *, first: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Run new ids. Returns logits (V,) after the last one and states (L, E) of every one.

        rules: what follows is guessed and run in the same pass; it waits in `_ahead`.
        """
        guessed = [] if rules is None else self._guess(ids, rules)
        known: list[int] = []
        if self.forgetful:
            known, first, self.cache = self.ids, True, DynamicCache()
            slots = [*(slot.tokens_KD for slot in self.slots), *slots]
        ids_BL = torch.tensor([[*known, *ids, *(guess.token_id for guess in guessed)]], dtype=torch.long)
        embeds = self.model.embed(
            ids_BL, self.features.visual_BND if first else None, torch.cat(list(slots)) if slots else None
        )
        said = self.model.comprehend(
            embeds, self.cache, predicted=1 + len(guessed), parents=[guess.parent for guess in guessed]
        )
        logits_LV, hidden_LE = said.logits_BLV[0], said.hidden_BLE[0, len(known) :]
        if first and (at := self.model.misread([*known, *ids])) is not None:
            self._misread_1E = said.hidden_BLE[0, at][None].clone()
        self.ids += ids
        self.processed_tokens += len(known) + len(ids)
        self._ahead = [Ahead(g, logits_LV[1 + n], hidden_LE[len(ids) + n][None]) for n, g in enumerate(guessed)]
        return logits_LV[0], hidden_LE[: len(ids)]

    def _read(self, span_SE: Tensor) -> Tensor:
        """A region's states; with `paper_bugs` those of the wrong place."""
        return span_SE.clone() if self._misread_1E is None else self._misread_1E

    # Writing a reply

    def write(self, logits_V: Tensor, job: Job) -> Generator[str | Region, None, Written]:
        """Generate a reply after `logits_V`: text deltas and regions as they come.

        The model looks before it refuses, and before it does not: it answers as if what was asked for were
        there, and when its first region is drawn, the verdict of the pixels and of the language model lets
        the answer pass or takes it back for a refusal. Until then nothing is given away.
        """
        if job.forced is not None:
            return (yield from self._compose(logits_V, job))
        start = len(self.ids)
        refusal = job.rules.refusal(logits_V)
        attempt = self._compose(logits_V, replace(job, rules=job.rules.deciding(False)))
        held: list[str | Region] = []
        written: Written | None = None
        while written is None and not (held and isinstance(held[-1], Region)):
            try:
                held.append(next(attempt))
            except StopIteration as done:
                written = done.value
        if written is None:
            self.evidence = Evidence(self._presence, refusal)
            passed = self.model.verdict(self._presence, refusal)
        else:  # words alone: nothing to look for
            self.evidence = Evidence(None, refusal)
            passed = float(torch.tensor(-refusal).sigmoid())
        if passed < 0.5:
            attempt.close()
            self._rewind(start)
            rules = job.rules.deciding(True)
            written = yield from self._compose(logits_V, replace(job, rules=rules))
            return Written(written.ids, 1 - passed)
        yield from held
        if written is None:
            written = yield from attempt
        return Written(written.ids, passed * written.certainty)

    def _compose(self, logits_V: Tensor, job: Job) -> Generator[str | Region, None, Written]:
        """A reply, its parts as they come."""
        rules, grammar = job.rules, self.grammar
        start, certainty = len(self.ids), None
        stream = TextStream(grammar.tokenizer.decode)
        generator = torch.Generator().manual_seed(job.seed)
        forced = None if job.forced is None else iter((*job.forced, rules.end))
        span: list[Tensor] = []
        region_id = job.first_region
        while True:
            with self.clock.part("generate"):
                restricted_V = rules.restrict(logits_V)
                only = rules.only if forced is None else next(forced)
                token_id = choose(restricted_V, job.temperature, generator) if only is None else only
            if certainty is None:
                certainty = rules.certainty(restricted_V, token_id)
            special = token_id == rules.end or token_id >= grammar.tokenizer.vocab_size
            delta = stream.cut() if special else stream.push(token_id)
            if delta:
                yield delta
            if token_id == rules.end:
                self._settle()
                return Written(tuple(self.ids[start:]), certainty)
            phrase = rules.phrase
            rules.push(token_id)
            logits_V, hidden_LE = self._say(token_id, rules)
            if token_id == rules.obj:
                span = [hidden_LE]
            elif span:
                span.append(hidden_LE)
            if token_id == rules.seg:
                span_SE, span = self._read(torch.cat(span)), []
                region = self._region(job, region_id, phrase, span_SE)
                yield region
                logits_V = self._remember(region, span_SE, rules)
                region_id += 1

    @torch.inference_mode()
    def _say(self, token_id: int, rules: ReplyRules) -> tuple[Tensor, Tensor]:
        """Logits (V,) after an id and its states (1, E): from what was run ahead, or from a new pass."""
        with self.clock.part("generate"):
            wanted = Guess(token_id, self._taken[-1] if self._taken else -1)
            for number, ahead in enumerate(self._ahead):
                if ahead.guess == wanted:
                    self._taken.append(number)
                    self.ids.append(token_id)
                    self.processed_tokens += 1
                    return ahead.logits_V, ahead.hidden_1E
            self._settle()
            return self._feed([token_id], (), None if token_id == rules.seg else rules)

    def _guess(self, ids: Sequence[int], rules: ReplyRules) -> list[Guess]:
        if not self.lookahead:
            return []
        never = {*rules.never, rules.end} | (set() if rules.refuse else {rules.rej})
        return guesses([*self.ids, *ids], Phrase(rules.obj, rules.seg), never, self.model.continuations)

    def _settle(self) -> None:
        """Leave in the cache what was guessed rightly, and nothing else."""
        if not self._ahead:
            return
        wrong = len(self._ahead) - len(self._taken)
        if self._taken == list(range(len(self._taken))):
            if wrong:
                self.cache.crop(-wrong)
        else:
            first = self.cache.get_seq_length() - len(self._ahead)
            rows = torch.tensor([*range(first), *(first + number for number in self._taken)])
            for layer in cast(list[DynamicLayer], self.cache.layers):
                assert layer.keys is not None and layer.values is not None
                layer.keys, layer.values = layer.keys[:, :, rows], layer.values[:, :, rows]
        self._ahead, self._taken = [], []

    def _rewind(self, start: int) -> None:
        """Take everything from a position on out of the cache."""
        self._settle()
        if len(self.ids) > start:
            self.cache.crop(start - len(self.ids))
        del self.ids[start:]
        self.slots = [slot for slot in self.slots if slot.start < start]

    def _region(self, job: Job, region_id: int, phrase: str, span_SE: Tensor) -> Region:
        with self.clock.part("segment"), torch.inference_mode():
            self._presence = self.model.presence(self.features, 0, span_SE)
        mask, score = self.mask(span_SE, self.memory(), job.previous, Gesture())
        return Region(region_id, phrase, mask, job.turn, job.rules.operator, score)

    @torch.inference_mode()
    def _remember(self, region: Region, span_SE: Tensor, rules: ReplyRules) -> Tensor:
        self._settle()
        start = len(self.ids)
        with self.clock.part("segment"):
            (tokens_KD,) = self._tokens([region], ())
        with self.clock.part("generate"):
            logits_V, _ = self._feed([self.grammar.id(MASK)] * self.grammar.mask_tokens, [tokens_KD], rules)
        self.slots.append(Slot(start, region, tokens_KD, span_SE))
        return logits_V

    # Masks

    def memory(self, before: int | None = None) -> Tensor | None:
        """Mask tokens (M, D) of the regions in the cache, or of those named before region `before`."""
        tokens = [slot.tokens_KD for slot in self.slots if before is None or slot.region.id < before]
        return torch.cat(tokens) if tokens else None

    def span(self, region_id: int) -> Tensor | None:
        """States (S, E) of a region's words; None when it has left the context or was pointed at."""
        return next((slot.span_SE for slot in self.slots if slot.region.id == region_id), None)

    @torch.inference_mode()
    def mask(
        self, span_SE: Tensor | None, memory_MD: Tensor | None, previous: Mask | None, hand: Gesture
    ) -> tuple[Mask, float]:
        """One decoder pass: the mask (H, W) bool, inside a drawn box (`model.boxed`), and its predicted IoU in 0..1."""
        with self.clock.part("segment"):
            prediction: MaskPrediction = self.model.segment(
                self.features, 0, span_SE, memory_MD, previous, hand.points, hand.box
            )
            mask, index = prediction.mask(self.size), prediction.best
            if hand.box is not None:
                mask, index = boxed(prediction.logits_Mhw, hand.box, self.size, hand.points, index)
            return mask, float(prediction.iou_M[index])


def _last(ids: Sequence[int], token_id: int, before: int) -> int:
    """Position of the last `token_id` before a position; -1 when there is none."""
    return next((at for at in range(before - 1, -1, -1) if ids[at] == token_id), -1)
