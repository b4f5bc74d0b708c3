"""How a conversation is written for the model: the only place that knows.

In: a `Conversation`. Out: spans, then token ids with loss labels and the places of regions.
Knows the tokenizer only as a protocol. Special tokens of ours are ids past the tokenizer's
vocabulary, so no text, whoever wrote it, can ever become one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from miras.core.errors import InputError
from miras.core.types import Conversation, Mark, Name, Operator, Turn, Words

IMAGE, OBJ, SEG, MASK, ADD, CUT, UNDO, REJ, REF, NOT = (
    "<image>", "[OBJ]", "[SEG]", "<mask>", "[ADD]", "[CUT]", "[UNDO]", "[REJ]", "[REF]", "[NOT]",
)  # fmt: skip
SPECIAL_TOKENS = (IMAGE, OBJ, SEG, MASK, ADD, CUT, UNDO, REJ, REF, NOT)
"""In the order of their ids; new ones go to the end, so that weights stay valid."""
FIRST_TOKENS = SPECIAL_TOKENS.index(REF)
"""How many of them weights have that neither point nor know `[NOT]`."""
OPERATOR_TOKENS = {
    ADD: Operator.ADD, CUT: Operator.CUT, UNDO: Operator.UNDO, REJ: Operator.REJECT, NOT: Operator.EXCEPT,
}  # fmt: skip
TOKEN_OF_OPERATOR = {operator: token for token, operator in OPERATOR_TOKENS.items()}
IGNORE = -100
"""Label of a token that carries no loss."""


class TextTokenizer(Protocol):
    """What the grammar needs of a tokenizer. `encode` must not parse special tokens."""

    vocab_size: int
    reserved: frozenset[int]
    """Ids of control tokens: no text encodes to one, and no reply contains one but its end."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text, no token added, no special token parsed."""
        ...

    def control(self, token: str) -> int:
        """Id of a control token of the language model, e.g. "<|im_end|>"."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of plain ids."""
        ...


@dataclass(frozen=True)
class Template:
    """The language model's chat format. Strings named in `controls` are looked up by id. user_end closes the photo's
    place and what a person said; turn_end with after_turn a reply. image_end stands behind the visual tokens."""

    system_open: tuple[str, ...] = ("<|im_start|>", "system\n")
    image_end: tuple[str, ...] = ()
    user_open: tuple[str, ...] = ("<|im_start|>", "user\n")
    user_end: tuple[str, ...] = ("<|im_end|>", "\n")
    assistant_open: tuple[str, ...] = ("<|im_start|>", "assistant\n")
    turn_end: str = "<|im_end|>"
    after_turn: str = "\n"
    controls: frozenset[str] = frozenset({"<|im_start|>", "<|im_end|>"})


CHATML = Template()
LLAVA = Template(
    system_open=(), user_open=("USER: ",), user_end=(" ",), assistant_open=("ASSISTANT:",),
    turn_end="</s>", after_turn="", controls=frozenset({"</s>"}),
)  # fmt: skip
"""LLaVA-1.5's (conv_vicuna_v1): only replies are closed."""
QWEN3VL = Template(
    system_open=("<|im_start|>", "user\n", "<|vision_start|>"), image_end=("<|vision_end|>",),
    controls=CHATML.controls | {"<|vision_start|>", "<|vision_end|>"},
)  # fmt: skip
"""Qwen3-VL's: the photo is a message of its own, so that it stays when old turns are dropped."""
TEMPLATES = {"chatml": CHATML, "llava": LLAVA, "qwen3vl": QWEN3VL}


@dataclass(frozen=True, slots=True)
class Span:
    """A run of the sequence. kind: "text", "control" or "special"; text names the token then."""

    kind: str
    text: str
    supervised: bool = False
    region: int | None = None
    turn: int | None = None


def render_prefix(
    template: Template = CHATML, written: Sequence[str] = (), tags: Sequence[str] = (),
    remembered: Sequence[tuple[int, str]] = (),
) -> list[Span]:  # fmt: skip
    """The photo's place, before every turn: it stays when old turns are dropped. tags: names of what it seems to show.
    written: lines of text that were read in the photo; each stands there as a region does, but carries no number.
    remembered: regions (id, phrase) of turns that were dropped, for a model that can point at them."""
    lines: list[Span] = [Span("text", " " + ", ".join(tags))] if tags else []
    for text in written:
        lines += [Span("special", OBJ), Span("text", f" '{text}'"), Span("special", SEG), Span("special", MASK)]
    for number, phrase in remembered:
        lines += [Span("special", OBJ, region=number), Span("text", " " + phrase, region=number)]
        lines += [Span("special", SEG, region=number), Span("special", MASK, region=number)]
    return [
        *_fixed(template, template.system_open),
        Span("special", IMAGE),
        *_fixed(template, template.image_end),
        *lines,
        *_fixed(template, template.user_end),
    ]


def render_turn(
    turn: Turn, index: int, template: Template = CHATML, *, supervise: bool = True,
    earlier: Collection[int] = (),
) -> list[Span]:  # fmt: skip
    """One utterance with its delimiters. In assistant turns words, operators, `[OBJ]`, phrases,
    `[SEG]`, `[REF]` and the end of turn carry loss; mask slots do not. earlier: ids of regions that are pointed at."""
    if turn.role == "user":
        return [
            *_fixed(template, template.user_open, index),
            Span("text", turn.text, turn=index),
            *_fixed(template, template.user_end, index),
        ]
    spans = render_reply_open(index, template)
    for piece in turn.content:
        if isinstance(piece, Words):
            spans.append(Span("text", piece.text, supervise, turn=index))
        elif isinstance(piece, Mark):
            if piece.operator is not Operator.REPLACE:
                spans.append(Span("special", TOKEN_OF_OPERATOR[piece.operator], supervise, turn=index))
        elif isinstance(piece, Name):
            spans.append(Span("special", OBJ, supervise, piece.region, index))
            spans.append(Span("text", " " + piece.phrase, supervise, piece.region, index))
            end = REF if piece.region in earlier else SEG
            spans.append(Span("special", end, supervise, piece.region, index))
            spans.append(Span("special", MASK, False, piece.region, index))
    spans.append(Span("control", template.turn_end, supervise, turn=index))
    if template.after_turn:
        spans.append(Span("text", template.after_turn, turn=index))
    return spans


def render_reply_open(index: int, template: Template = CHATML) -> list[Span]:
    """What stands before the first token of a reply."""
    return _fixed(template, template.assistant_open, index)


def render(
    conversation: Conversation,
    template: Template = CHATML,
    *,
    supervised_turns: frozenset[int] | None = None,
    written: Sequence[str] = (),
    tags: Sequence[str] = (),
    points: bool = False,
    remembered: Sequence[tuple[int, str]] = (),
) -> list[Span]:
    """The whole conversation. supervised_turns: turn indices with loss; None = every reply. written, tags, remembered:
    see `render_prefix`. points: regions that earlier turns named are pointed at; without, each name draws."""
    spans = render_prefix(template, written, tags, remembered)
    earlier = {number for number, _ in remembered}
    for index, turn in enumerate(conversation.turns):
        supervise = supervised_turns is None or index in supervised_turns
        spans += render_turn(turn, index, template, supervise=supervise, earlier=earlier)
        if points:
            earlier |= set(turn.names)
    return spans


def _fixed(template: Template, parts: Sequence[str], turn: int | None = None) -> list[Span]:
    return [Span("control" if part in template.controls else "text", part, turn=turn) for part in parts]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a region stands in the ids: `ids[obj]` is `[OBJ]`, `ids[seg]` is `[SEG]` or `[REF]`; its mask
    slots are `seg + 1 ... seg + K`. turn: index of the turn that names it."""

    region: int
    obj: int
    seg: int
    turn: int = -1


@dataclass(frozen=True)
class Encoded:
    """ids and labels of equal length (labels: the id itself where it is supervised, else IGNORE),
    the places of the regions in order. pointers: the places where earlier ones are pointed at."""

    ids: list[int]
    labels: list[int]
    places: list[Place] = field(default_factory=list)
    pointers: list[Place] = field(default_factory=list)

    @property
    def mentions(self) -> list[Place]:
        """Places and pointers in reading order: the runs of mask slots that belong to regions."""
        return sorted([*self.places, *self.pointers], key=lambda place: place.seg)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Encoder:
    """Writes spans as ids. image_tokens = N visual slots, mask_tokens = K slots after `[SEG]` and `[REF]`.
    points, complements: whether the model knows `[REF]`, `[NOT]`. table: rows of the language model's embeddings, which
    may be padded past the tokenizer's ids; None: as many as it has ids."""

    tokenizer: TextTokenizer
    image_tokens: int
    mask_tokens: int
    points: bool = False
    complements: bool = False
    table: int | None = None

    @property
    def words(self) -> int:
        """How many ids come before `SPECIAL_TOKENS`: those of the tokenizer, then the padding of the embeddings."""
        return self.tokenizer.vocab_size if self.table is None else self.table

    @property
    def padding(self) -> range:
        """Ids that are no token's."""
        return range(self.tokenizer.vocab_size, self.words)

    @property
    def specials(self) -> int:
        """How many of `SPECIAL_TOKENS` the model has a row for."""
        return special_rows(self.points, self.complements)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The tokens that this model never says or reads."""
        return tuple(token for token, known in ((REF, self.points), (NOT, self.complements)) if not known)

    @property
    def operators(self) -> dict[int, Operator]:
        """The operators that the model knows, by id."""
        return {self.id(token): done for token, done in OPERATOR_TOKENS.items() if token not in self.unknown}

    def id(self, token: str) -> int:
        """Id of one of `SPECIAL_TOKENS`: past the vocabulary, in their order."""
        return self.words + SPECIAL_TOKENS.index(token)

    def encode(self, spans: Sequence[Span]) -> Encoded:
        """Spans to ids. Empty text gives no id; `<image>` and `<mask>` are repeated to their counts."""
        ids: list[int] = []
        labels: list[int] = []
        places: list[Place] = []
        pointers: list[Place] = []
        obj = -1
        for span in spans:
            new = self._ids(span)
            if span.kind == "special" and span.text == OBJ:
                obj = len(ids)
            elif span.kind == "special" and span.text in (SEG, REF) and span.region is not None:
                turn = -1 if span.turn is None else span.turn
                (places if span.text == SEG else pointers).append(Place(span.region, obj, len(ids), turn))
            ids += new
            labels += new if span.supervised else [IGNORE] * len(new)
        return Encoded(ids, labels, places, pointers)

    def _ids(self, span: Span) -> list[int]:
        if span.kind == "text":
            return list(self.tokenizer.encode(span.text)) if span.text else []
        if span.kind == "control":
            return [self.tokenizer.control(span.text)]
        repeat = {IMAGE: self.image_tokens, MASK: self.mask_tokens}.get(span.text, 1)
        return [self.id(span.text)] * repeat


def special_rows(points: bool, complements: bool) -> int:
    """How many of `SPECIAL_TOKENS` weights have, by what they can do."""
    return len(SPECIAL_TOKENS) if points or complements else FIRST_TOKENS


def parse_reply(
    ids: Sequence[int], encoder: Encoder, first_region: int, recalled: Sequence[int] = ()
) -> tuple[tuple[Words | Mark | Name, ...], int]:
    """Generated ids (mask slots left out or in, end of turn not included) to content.

    Returns the pieces and the next free region id. Regions are numbered from first_region in
    the order of their `[SEG]`. recalled: ids of the regions that its `[REF]` point at, in order; ValueError when
    they are not as many. A `[SEG]` without `[OBJ]` names the words since the last piece; an
    `[OBJ]` that never closes is read as words.
    """
    pieces: list[Words | Mark | Name] = []
    buffer: list[int] = []
    region = first_region
    again = list(recalled)

    def flush() -> None:
        if buffer:
            pieces.append(Words(encoder.tokenizer.decode(buffer)))
            buffer.clear()

    specials = {encoder.id(token): token for token in SPECIAL_TOKENS}
    for token_id in ids:
        token = specials.get(token_id)
        if token is None:
            buffer.append(token_id)
        elif token == OBJ:
            flush()
        elif token in (SEG, REF):
            phrase = encoder.tokenizer.decode(buffer).strip()
            buffer.clear()
            if token == REF and not again:
                raise ValueError("fewer recalled regions than [REF]")
            pieces.append(Name(phrase, again.pop(0) if token == REF else region))
            region += token == SEG
        elif token in OPERATOR_TOKENS:
            flush()
            pieces.append(Mark(OPERATOR_TOKENS[token]))
    flush()
    if again:
        raise ValueError("more recalled regions than [REF]")
    return tuple(pieces), region


def fit(conversation: Conversation, encoder: Encoder, limit: int, template: Template = CHATML) -> Conversation:
    """Drop the oldest exchanges until the ids fit; the last exchange always stays.

    Raises InputError when the last exchange alone is longer than `limit` tokens.
    """
    turns = list(conversation.turns)
    while True:
        length = len(encoder.encode(render(Conversation(tuple(turns)), template)))
        if length <= limit:
            return Conversation(tuple(turns))
        last = len(turns) - (2 if turns and turns[-1].role == "assistant" else 1)
        if last <= 0:
            raise InputError(
                "a message that fits the context", f"{length} tokens, at most {limit}", "shorten the message"
            )
        turns = turns[2:] if last >= 2 else turns[last:]
