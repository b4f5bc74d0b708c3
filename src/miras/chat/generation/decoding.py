"""What a reply may contain next, and how its ids become text while they arrive.

In: logits and ids of one reply. Out: restricted logits, the chosen id, text deltas. Knows the grammar
of `core.grammar`; knows nothing of models, caches or masks. V vocabulary plus special tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miras.chat.generation.undoing import Untrue, untrue
from miras.core.errors import InputError
from miras.core.grammar import ADD, CUT, IMAGE, MASK, NOT, OBJ, REF, REJ, SEG, Encoder, Template
from miras.core.text_regions import plain
from miras.core.types import Operator
from miras.model.numeric.chances import logsumexp, softmax
from miras.model.numeric.views import Floats

MAX_PHRASE = 16
"""Tokens of a phrase after which its end is forced."""
REPLACEMENT = "\ufffd"


class ReplyRules:
    """Which ids may come next, so that every reply is well formed whatever the weights say.

    `<image>`, `<mask>` and other control tokens: never. `[SEG]`, `[REF]`: only in an open `[OBJ]` that says something;
    a name that a region bears ends with `[REF]`, any other with `[SEG]`: what is drawn is drawn once. `[OBJ]`,
    operators, end of turn: only outside of one; no `[OBJ]` after `[UNDO]` or `[REJ]` (they stand instead of a region),
    nothing but words after `[REJ]`; `[ADD]` and `[CUT]` go on with something; a reply is not empty. `[NOT]` comes
    before any region and other operator and goes on with something; without a region after it, something has to be
    selected. known: names of the regions that can be pointed at; selected: whether something is. room: tokens left in
    the context, end of turn not counted; when it or max_new_tokens is used up, the open phrase is closed and the turn
    ends. refuse: the reply begins with `[REJ]` (True), has none (False), or the weights decide (None). undone: whether
    something would be selected after an undo: words after `[UNDO]` do not deny it (`generation.undoing`).
    """

    def __init__(
        self, grammar: Encoder, template: Template, *, max_new_tokens: int, room: int,
        known: Collection[str] = (), selected: bool = False, undone: bool = False,
    ) -> None:  # fmt: skip
        self.refuse: bool | None = None
        self.rej = grammar.id(REJ)
        self.grammar = grammar
        self.end = grammar.tokenizer.control(template.turn_end)
        self.obj, self.seg, self.ref, self._not = (grammar.id(token) for token in (OBJ, SEG, REF, NOT))
        self.ends = frozenset((self.seg, self.ref))
        self.operators = grammar.operators
        self.never = [grammar.id(IMAGE), grammar.id(MASK), *sorted(grammar.tokenizer.reserved - {self.end})]
        self.never += grammar.padding
        rows = grammar.words + grammar.specials
        self._known = frozenset(map(plain, known)) if grammar.points else frozenset[str]()
        unsaid = {self.ref: not self._known, self._not: not grammar.complements}
        self.never += [token_id for token_id, never in unsaid.items() if never and token_id < rows]
        self._closing = [token_id for token_id in (self.seg, self.ref) if token_id < rows]
        self._joining = (grammar.id(ADD), grammar.id(CUT), self._not)
        self._selected, self._named = selected, False
        self._left, self._room = max_new_tokens, room
        self._phrase: list[int] | None = None
        self._undone = undone
        self._untrue: Untrue = {}
        self._since_undo: tuple[int, ...] | None = None
        self._last: int | None = None
        self.operator = Operator.REPLACE

    def deciding(self, refuse: bool) -> ReplyRules:
        """The same for another attempt at a reply that has not begun."""
        rules = self.copy()
        rules.refuse = refuse
        return rules

    def copy(self) -> ReplyRules:
        """The same, to go on another way."""
        rules = copy.copy(self)
        rules._phrase = None if self._phrase is None else list(self._phrase)
        return rules

    @property
    def phrase(self) -> str:
        """What the open `[OBJ]` says so far."""
        return self.grammar.tokenizer.decode(self._phrase or []).strip()

    def ending(self, phrase: str) -> int:
        """What ends a name: it means a region again that bears it, or one that is drawn now."""
        return self.ref if plain(phrase) in self._known else self.seg

    @property
    def only(self) -> int | None:
        """The id that must come next, if there is just one."""
        if self.refuse and self._last is None:
            return self.rej
        full = self._left <= 0 or self._room <= self.grammar.mask_tokens + 3
        if self._phrase is not None:
            return self.ending(self.phrase) if full or len(self._phrase) >= MAX_PHRASE else None
        return self.end if full else None

    def restrict(self, logits_V: Floats) -> Floats:
        """A copy with -inf at every id that may not come next."""
        forbidden = list(self.never)
        if self._phrase is not None:
            forbidden += [self.obj, self.end, *self.operators]
            if not self.phrase:
                forbidden += self._closing
            elif self._known:
                return self._closed(logits_V, forbidden)
        else:
            forbidden += self._closing
            if self._not in self.operators and (self._named or self.operator is not Operator.REPLACE):
                forbidden.append(self._not)
            if self.operator is Operator.EXCEPT and not (self._named or self._selected):
                forbidden += [self.end, *self.operators]
            if self.operator in (Operator.UNDO, Operator.REJECT):
                forbidden.append(self.obj)
            if self.operator is Operator.REJECT or self._last in self._joining:
                forbidden += self.operators
            if self._last is None or self._last in self._joining:
                forbidden.append(self.end)
            if self._since_undo is not None:
                forbidden += self._untrue.get(self._since_undo, ())
        if self.refuse is False:
            forbidden.append(self.rej)
        restricted = logits_V.copy()
        restricted[forbidden] = -np.inf
        return restricted

    def _closed(self, logits_V: Floats, forbidden: list[int]) -> Floats:
        """The same, in an open name that may end in two ways: the end that the name asks for has both chances."""
        ending, restricted = self.ending(self.phrase), logits_V.copy()
        restricted[ending] = logsumexp(logits_V[self._closing])
        restricted[[*forbidden, *(end for end in self._closing if end != ending)]] = -np.inf
        return restricted

    def push(self, token_id: int) -> None:
        """The id that was said."""
        self._left -= 1
        self._room -= 1
        self._last = token_id
        if token_id == self.obj:
            self._phrase = []
        elif token_id in self.ends:
            self._phrase, self._named = None, True
            self._room -= self.grammar.mask_tokens
        elif token_id in self.operators:
            self.operator = self.operators[token_id]
            if self.operator is Operator.UNDO and self._since_undo is None:
                self._since_undo, self._untrue = (), untrue(self.grammar.tokenizer.encode, self._undone)
        elif self._phrase is not None:
            self._phrase.append(token_id)
        elif self._since_undo is not None:
            self._since_undo = (*self._since_undo, token_id)

    def refusal(self, logits_V: Floats) -> float:
        """Log odds that the weights begin the reply with `[REJ]`."""
        allowed = self.restrict(logits_V)
        rest = allowed.copy()
        rest[self.rej] = -np.inf
        return float(allowed[self.rej]) - logsumexp(rest)

    def certainty(self, restricted_V: Floats, token_id: int) -> float:
        """Probability of what kind of reply a first id opens: one of the operators, or none of them."""
        probability = softmax(restricted_V)
        if token_id in self.operators:
            return float(probability[token_id])
        return 1 - min(1.0, float(probability[list(self.operators)].sum()))


def choose(restricted_V: Floats, temperature: float, generator: np.random.Generator) -> int:
    """The likeliest id, or a draw when temperature > 0."""
    if temperature <= 0:
        return int(restricted_V.argmax())
    chances = np.cumsum(softmax(restricted_V.astype(np.float64) / temperature))
    return int(min(np.searchsorted(chances, generator.random() * chances[-1], side="right"), len(chances) - 1))


@dataclass(frozen=True, eq=False)
class Choice:
    """An id that was drawn, for training on one's own replies (`train.grpo`); what the grammar asks for is none.

    at: its place in the ids of the conversation (the end of turn has the place after the last one). allowed: which ids
    could come, packed bits (V,). merged: the id that stood for both ends of a name, with the chances of both, -1 where
    none did; ends: those two. chance: log probability by the sampler, at its temperature.
    """

    token_id: int
    at: int
    allowed: NDArray[np.uint8]
    merged: int
    ends: tuple[int, ...]
    chance: float


def choice(
    token_id: int, at: int, logits_V: Floats, restricted_V: Floats, rules: ReplyRules, temperature: float
) -> Choice:
    """What was drawn from where. restricted: `rules.restrict(logits)`, drawn from at a temperature above 0."""
    open_V = np.isfinite(restricted_V)
    changed = np.flatnonzero(open_V & (restricted_V != logits_V))
    ends = tuple(sorted(end for end in rules.ends if end < len(logits_V)))
    cooled_V = restricted_V.astype(np.float64) / temperature
    chance = float(cooled_V[token_id]) - logsumexp(cooled_V)
    return Choice(token_id, at, np.packbits(open_V), int(changed[0]) if len(changed) else -1, ends, chance)


def check_reply(ids: Sequence[int], grammar: Encoder) -> tuple[int, ...]:
    """Ids of a whole reply without its mask slots, checked; the end of turn is not among them.

    Raises InputError when an id is unknown, a photo token, or when `[OBJ]` and `[SEG]` (or `[REF]`) do not pair.
    """
    obj, ends, mask = grammar.id(OBJ), (grammar.id(SEG), grammar.id(REF)), grammar.id(MASK)
    kept = tuple(i for i in ids if i != mask)
    limit = grammar.words + grammar.specials
    strange = [grammar.id(token) for token in (IMAGE, *grammar.unknown)]
    is_open = False
    for token_id in kept:
        if not 0 <= token_id < limit or token_id in strange or token_id in grammar.padding:
            raise InputError("ids of a reply", f"id {token_id}", "use the ids of this model")
        if (token_id == obj and is_open) or (token_id in ends and not is_open):
            raise InputError("[OBJ] and [SEG] in pairs", "one without the other", "close each [OBJ] with [SEG]")
        is_open = token_id == obj or (is_open and token_id not in ends)
    if is_open:
        raise InputError("[OBJ] and [SEG] in pairs", "an [OBJ] left open", "close each [OBJ] with [SEG]")
    return kept


class TextStream:
    """Ids one by one to text deltas whose concatenation is `Turn.text` of the parsed reply.

    An incomplete UTF-8 sequence is held back until it is whole or its piece ends; white space is
    written when the next word comes, and not before a punctuation mark.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._given = 0
        self._begun = self._space = False

    def push(self, token_id: int) -> str:
        """One plain id. Returns the text that is certain now, possibly none."""
        self._ids.append(token_id)
        text = self._decode(self._ids).rstrip(REPLACEMENT)
        delta, self._given = text[self._given :], max(self._given, len(text))
        return self._tidy(delta)

    def copy(self) -> TextStream:
        """The same, to go on another way."""
        twin = copy.copy(self)
        twin._ids = list(self._ids)
        return twin

    def cut(self) -> str:
        """The piece ends here (a special token, or the end). Returns what was held back."""
        rest = self._tidy(self._decode(self._ids)[self._given :]) if self._ids else ""
        self._ids, self._given, self._space = [], 0, True
        return rest

    def _tidy(self, text: str) -> str:
        out: list[str] = []
        for char in text:
            if char.isspace():
                self._space = True
                continue
            if self._space and self._begun and char not in ".,;:!?":
                out.append(" ")
            out.append(char)
            self._begun, self._space = True, False
        return "".join(out)
