"""What the language model has read of a conversation: the key-value cache, its ids, and what was guessed ahead.

In: runs of token ids with their regions. Out: logits and states after each id. The cache is only ever extended or
cropped, and holds exactly `ids`, but for guesses that wait in `_ahead`. Knows the model and the grammar; draws no mask.
L tokens, V vocabulary plus special tokens, K mask tokens, S span tokens, E = layers * D.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.context import Run
from miras.chat.generation.decoding import ReplyRules
from miras.chat.generation.speculation import DraftToken, Phrase, draft_tokens
from miras.core.errors import InputError
from miras.core.grammar import MASK, OBJ, REF, SEG
from miras.core.recall import ranks
from miras.core.text_regions import plain
from miras.core.types import Region
from miras.model.numeric.chances import logsumexp
from miras.model.numeric.views import Floats
from miras.model.runtime.base import Runtime


@dataclass(frozen=True, eq=False)
class Slot:
    """A region in the cache. start: position of its first mask slot. span: states from `[OBJ]` to
    `[SEG]`, None when its words prompt no mask. words: states from `[OBJ]` to `[SEG]` or `[REF]`, as they are; state:
    at its last mask slot."""

    start: int
    region: Region
    tokens_KD: Floats
    span_SE: Floats | None
    words_SE: Floats
    state_E: Floats


@dataclass(frozen=True, eq=False)
class Drafted:
    """A guess in the cache: the logits after it and its states."""

    draft: DraftToken
    logits_V: Floats
    hidden_1E: Floats


class KVCache:
    """The cache of one photo's conversation. lookahead: check guessed ids in one pass (`chat.generation.speculation`).
    forgetful: run everything again for each id (for the benchmark). processed_tokens: run since it was set to 0,
    wrong guesses not counted.

    `fork` shares what was read.
    """

    def __init__(self, model: Runtime, features: Any) -> None:
        self.model, self.grammar, self.features = model, model.grammar, features
        self.ids: list[int] = []
        self.slots: list[Slot] = []
        self.cache = model.cache()
        self.lookahead, self.forgetful = True, False
        self.processed_tokens = 0
        self._drafted: list[Drafted] = []
        self._taken: list[int] = []
        self._misread_1E: Floats | None = None

    def fork(self) -> KVCache:
        """An independent one with the same content, counter at zero."""
        self.commit()
        twin = copy.copy(self)
        twin.ids, twin.slots, twin._drafted, twin._taken = list(self.ids), list(self.slots), [], []
        twin.cache = self.cache.fork()
        twin.processed_tokens = 0
        return twin

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
            self.cache = self.model.cache()
        elif common < len(self.ids):
            self.cache.crop(common)
        del self.ids[common:]
        self.slots = [slot for slot in self.slots if slot.start < common]

    def sync(self, run: Run, rules: ReplyRules | None = None) -> Floats | None:
        """Make the cache hold exactly a run, in one pass over what is new.

        Returns the logits (V,) after its last id, None when nothing was new. Masks that were in the
        cache already are not encoded again. rules: of the reply that follows, whose first ids are
        guessed in the same pass.
        """
        before = list(self.slots)
        self.keep(run)
        start = len(self.ids)
        places = [(at, region) for at, region in self._places(run) if at >= start]
        if places and (opening := _last(run.ids, self.grammar.id(OBJ), places[0][0])) < start < places[0][0]:
            self.rewind(opening)  # other words of a name are in the cache: its states are needed whole
            start = opening
        rest = run.ids[start:]
        if not rest:
            return None
        tokens = self.tokens([region for _, region in places], before)
        logits_V, hidden_LE = self._feed(rest, tokens, rules, first=start == 0)
        known = {slot.start: slot for slot in before}
        for (at, region), tokens_KD in zip(places, tokens, strict=True):
            opening = _last(run.ids, self.grammar.id(OBJ), at)
            span: Floats | None
            if opening >= start:
                words = hidden_LE[opening - start : at - start].copy()
                span = self.read(words)
            else:
                words, span = known[at].words_SE, known[at].span_SE
            if region.id in run.pointed or run.ids[at - 1] != self.grammar.id(SEG):
                span = None
            state_E = hidden_LE[at - start + self.grammar.mask_tokens - 1].copy()
            self.slots.append(Slot(at, region, tokens_KD, span, words, state_E))
        return logits_V

    def _places(self, run: Run) -> list[tuple[int, Region]]:
        ends = (self.grammar.id(SEG), self.grammar.id(REF))
        starts = [at + 1 for at, token_id in enumerate(run.ids) if token_id in ends]
        return list(zip(starts, run.regions, strict=True))

    def tokens(self, regions: Sequence[Region], known: Sequence[Slot] = ()) -> list[Floats]:
        """Mask tokens (K, D) of each region; those of `known` slots are not made again."""
        cached = {id(slot.region): slot.tokens_KD for slot in known}
        missing = [region for region in regions if id(region) not in cached]
        if missing:
            masks_RHW = np.stack([region.mask for region in missing])
            tokens_RKD = self.model.mask_tokens(self.features, masks_RHW)
            cached.update({id(region): tokens for region, tokens in zip(missing, tokens_RKD, strict=True)})
        return [cached[id(region)] for region in regions]

    def _feed(
        self, ids: Sequence[int], slots: Sequence[Floats] = (), rules: ReplyRules | None = None, *, first: bool = False
    ) -> tuple[Floats, Floats]:
        """Run new ids. Returns logits (V,) after the last one and states (L, E) of every one.

        rules: what follows is guessed and run in the same pass; it waits in `_ahead`.
        """
        drafted = [] if rules is None else self._draft(ids, rules)
        known: list[int] = []
        if self.forgetful:
            known, first, self.cache = self.ids, True, self.model.cache()
            slots = [*(slot.tokens_KD for slot in self.slots), *slots]
        logits_LV, every_LE = self.model.read(
            [*known, *ids, *(draft.token_id for draft in drafted)], self.cache, self.features if first else None, slots,
            1 + len(drafted), [draft.parent for draft in drafted],
        )  # fmt: skip
        hidden_LE = every_LE[len(known) :]
        if first and (at := self.model.misread([*known, *ids])) is not None:
            self._misread_1E = every_LE[at][None].copy()
        self.ids += ids
        self.processed_tokens += len(known) + len(ids)
        self._drafted = [Drafted(g, logits_LV[1 + n], hidden_LE[len(ids) + n][None]) for n, g in enumerate(drafted)]
        return logits_LV[0], hidden_LE[: len(ids)]

    def read(self, span_SE: Floats) -> Floats:
        """A region's states; with `paper_bugs` those of the wrong place."""
        return span_SE.copy() if self._misread_1E is None else self._misread_1E

    def step(self, token_id: int, rules: ReplyRules) -> tuple[Floats, Floats]:
        """Logits (V,) after an id and its states (1, E): from what was run ahead, or from a new pass."""
        wanted = DraftToken(token_id, self._taken[-1] if self._taken else -1)
        for number, drafted in enumerate(self._drafted):
            if drafted.draft == wanted:
                self._taken.append(number)
                self.ids.append(token_id)
                self.processed_tokens += 1
                return drafted.logits_V, drafted.hidden_1E
        self.commit()
        return self._feed([token_id], (), None if token_id in rules.ends else rules)

    def verify(self, tree: Sequence[DraftToken]) -> Floats:
        """Run a tree of ids ahead of what was said, instead of any guesses. Logits (N, V) after each.

        What is then said along the tree costs no other pass.
        """
        self.commit()
        logits_NV, hidden_NE = self.model.read(
            [draft.token_id for draft in tree], self.cache, None, (), len(tree), [draft.parent for draft in tree]
        )
        self._drafted = [Drafted(draft, logits_NV[n], hidden_NE[n][None]) for n, draft in enumerate(tree)]
        return logits_NV

    def _draft(self, ids: Sequence[int], rules: ReplyRules) -> list[DraftToken]:
        if not self.lookahead:
            return []
        never = {*rules.never, rules.end} | (set() if rules.refuse else {rules.rej})
        return draft_tokens([*self.ids, *ids], Phrase(rules.obj, rules.seg, rules.ref), never, self.model.continuations)

    def commit(self) -> None:
        """Leave in the cache what was guessed rightly, and nothing else."""
        if not self._drafted:
            return
        first = len(self.cache) - len(self._drafted)
        if self._taken == list(range(len(self._taken))):
            self.cache.crop(first + len(self._taken))
        else:
            self.cache.keep(first, self._taken)
        self._drafted, self._taken = [], []

    def rewind(self, start: int) -> None:
        """Take everything from a position on out of the cache."""
        self.commit()
        self.cache.crop(min(start, len(self.ids)))
        del self.ids[start:]
        self.slots = [slot for slot in self.slots if slot.start < start]

    def remember(
        self, region: Region, tokens_KD: Floats, span_SE: Floats | None, rules: ReplyRules, words_SE: Floats
    ) -> Floats:
        """Fill the mask slots of a region that was just named. Returns the logits (V,) after them.

        span: None for one that is meant again; words: states from `[OBJ]` on, as they are.
        """
        self.commit()
        start = len(self.ids)
        logits_V, hidden_LE = self._feed([self.grammar.id(MASK)] * self.grammar.mask_tokens, [tokens_KD], rules)
        self.slots.append(Slot(start, region, tokens_KD, span_SE, words_SE, hidden_LE[-1].copy()))
        return logits_V

    def recall(self, words_SE: Floats, before: int, phrase: str = "") -> Slot:
        """The slot of the region that a name ending in `[REF]` means, of those with an id from 1 to before - 1; of
        those that bear the name, where some do.

        words: states from `[OBJ]` to `[REF]`; phrase: the name. A region's slot is that of its first mention. Raises
        InputError when there is none to point at.
        """
        slots = [slot for slot in self.slots if 0 < slot.region.id < before]
        if not slots or not self.model.recalls:
            raise InputError("a region to point at", "none that was named before", "name it with [SEG]")
        mentioned = [slot.region.id for slot in slots]
        first, newest = ranks(mentioned)
        spans, real = _padded([slot.words_SE for slot in slots])
        scores_N = self.model.point(
            words_SE, spans, real, np.stack([slot.state_E for slot in slots]),
            np.stack([slot.tokens_KD for slot in slots]), first, newest,
        )  # fmt: skip
        fits = {
            number: logsumexp(scores_N[[n for n, one in enumerate(mentioned) if one == number]])
            for number in dict.fromkeys(mentioned)
        }
        named = {slot.region.id for slot in slots if plain(slot.region.phrase) == plain(phrase)}
        fits = {number: fit for number, fit in fits.items() if number in named} or fits
        meant = max(fits, key=lambda number: fits[number])
        return slots[mentioned.index(meant)]

    def memory(self, before: int | None = None) -> Floats | None:
        """Mask tokens (M, D) of the regions in the cache, or of those named before region `before`. Lines of text in
        the opening are not among them: they are for the language model."""
        tokens = [slot.tokens_KD for slot in self._named(before)]
        return np.concatenate(tokens) if tokens else None

    def remembered(self, before: int | None = None) -> tuple[int, ...]:
        """Ids of the regions that `memory` has the tokens of, in its order."""
        return tuple(slot.region.id for slot in self._named(before))

    def _named(self, before: int | None) -> list[Slot]:
        named = list({slot.region.id: slot for slot in reversed(self.slots) if slot.region.id > 0}.values())[::-1]
        return [slot for slot in named if before is None or slot.region.id < before]

    def span(self, region_id: int) -> Floats | None:
        """States (S, E) of a region's words; None when it has left the context or was pointed at."""
        return next((slot.span_SE for slot in self.slots if slot.region.id == region_id), None)


def _padded(rows: Sequence[Floats]) -> tuple[Floats, NDArray[np.bool_]]:
    """Spans of different lengths as one (N, S, E), and which of it is real (N, S)."""
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    padded = np.zeros((*real.shape, rows[0].shape[1]), np.float32)
    padded[real] = np.concatenate(rows)
    return padded, real


def _last(ids: Sequence[int], token_id: int, before: int) -> int:
    """Position of the last `token_id` before a position; -1 when there is none."""
    return next((at for at in range(before - 1, -1, -1) if ids[at] == token_id), -1)
