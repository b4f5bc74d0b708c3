"""How a conversation is written for the model: the only place that knows.

In: a `Conversation`. Out: spans, then token ids with loss labels and the places of regions.
Knows the tokenizer only as a protocol. Special tokens of ours are ids past the tokenizer's
vocabulary, so no text, whoever wrote it, can ever become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from miras.core.errors import InputError
from miras.core.types import Conversation, Mark, Name, Operator, Turn, Words

IMAGE, OBJ, SEG, MASK, ADD, CUT, UNDO, REJ = (
    "<image>", "[OBJ]", "[SEG]", "<mask>", "[ADD]", "[CUT]", "[UNDO]", "[REJ]",
)  # fmt: skip
SPECIAL_TOKENS = (IMAGE, OBJ, SEG, MASK, ADD, CUT, UNDO, REJ)
OPERATOR_TOKENS = {ADD: Operator.ADD, CUT: Operator.CUT, UNDO: Operator.UNDO, REJ: Operator.REJECT}
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
    """The language model's chat format. Strings named in `controls` are looked up by id."""

    system_open: tuple[str, ...] = ("<|im_start|>", "system\n")
    user_open: tuple[str, ...] = ("<|im_start|>", "user\n")
    assistant_open: tuple[str, ...] = ("<|im_start|>", "assistant\n")
    turn_end: str = "<|im_end|>"
    after_turn: str = "\n"
    controls: frozenset[str] = frozenset({"<|im_start|>", "<|im_end|>"})


CHATML = Template()
LLAVA = Template(
    system_open=(), user_open=("USER: ",), assistant_open=("ASSISTANT:",),
    turn_end="</s>", after_turn="\n", controls=frozenset({"</s>"}),
)  # fmt: skip
TEMPLATES = {"chatml": CHATML, "llava": LLAVA}


@dataclass(frozen=True, slots=True)
class Span:
    """A run of the sequence. kind: "text", "control" or "special"; text names the token then."""

    kind: str
    text: str
    supervised: bool = False
    region: int | None = None
    turn: int | None = None


def render_prefix(template: Template = CHATML, written: Sequence[str] = (), tags: Sequence[str] = ()) -> list[Span]:
    """The photo's place, before every turn: it stays when old turns are dropped. tags: names of what it seems to show.
    written: lines of text that were read in the photo; each stands there as a region does, but carries no number."""
    lines: list[Span] = [Span("text", " " + ", ".join(tags))] if tags else []
    for text in written:
        lines += [Span("special", OBJ), Span("text", f" '{text}'"), Span("special", SEG), Span("special", MASK)]
    return [
        *_fixed(template, template.system_open),
        Span("special", IMAGE),
        *lines,
        Span("control", template.turn_end),
        Span("text", template.after_turn),
    ]


def render_turn(turn: Turn, index: int, template: Template = CHATML, *, supervise: bool = True) -> list[Span]:
    """One utterance with its delimiters. In assistant turns words, operators, `[OBJ]`, phrases,
    `[SEG]` and the end of turn carry loss; mask slots do not."""
    if turn.role == "user":
        return [
            *_fixed(template, template.user_open, index),
            Span("text", turn.text, turn=index),
            Span("control", template.turn_end, turn=index),
            Span("text", template.after_turn, turn=index),
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
            spans.append(Span("special", SEG, supervise, piece.region, index))
            spans.append(Span("special", MASK, False, piece.region, index))
    spans.append(Span("control", template.turn_end, supervise, turn=index))
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
) -> list[Span]:
    """The whole conversation. supervised_turns: turn indices with loss; None = every reply. written, tags: see
    `render_prefix`."""
    spans = render_prefix(template, written, tags)
    for index, turn in enumerate(conversation.turns):
        supervise = supervised_turns is None or index in supervised_turns
        spans += render_turn(turn, index, template, supervise=supervise)
    return spans


def _fixed(template: Template, parts: Sequence[str], turn: int | None = None) -> list[Span]:
    return [Span("control" if part in template.controls else "text", part, turn=turn) for part in parts]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a region stands in the ids: `ids[obj]` is `[OBJ]`, `ids[seg]` is `[SEG]`; its mask
    slots are `seg + 1 ... seg + K`."""

    region: int
    obj: int
    seg: int


@dataclass(frozen=True)
class Encoded:
    """ids and labels of equal length (labels: the id itself where it is supervised, else IGNORE),
    the places of the regions in order, and where each turn starts."""

    ids: list[int]
    labels: list[int]
    places: list[Place] = field(default_factory=list)
    turn_starts: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Encoder:
    """Writes spans as ids. image_tokens = N visual slots, mask_tokens = K slots after `[SEG]`."""

    tokenizer: TextTokenizer
    image_tokens: int
    mask_tokens: int

    def id(self, token: str) -> int:
        """Id of one of `SPECIAL_TOKENS`: past the vocabulary, in their order."""
        return self.tokenizer.vocab_size + SPECIAL_TOKENS.index(token)

    def encode(self, spans: Sequence[Span]) -> Encoded:
        """Spans to ids. Empty text gives no id; `<image>` and `<mask>` are repeated to their counts."""
        ids: list[int] = []
        labels: list[int] = []
        places: list[Place] = []
        starts: dict[int, int] = {}
        obj = -1
        for span in spans:
            if span.turn is not None:
                starts.setdefault(span.turn, len(ids))
            new = self._ids(span)
            if span.kind == "special" and span.text == OBJ:
                obj = len(ids)
            elif span.kind == "special" and span.text == SEG and span.region is not None:
                places.append(Place(span.region, obj, len(ids)))
            ids += new
            labels += new if span.supervised else [IGNORE] * len(new)
        return Encoded(ids, labels, places, starts)

    def _ids(self, span: Span) -> list[int]:
        if span.kind == "text":
            return list(self.tokenizer.encode(span.text)) if span.text else []
        if span.kind == "control":
            return [self.tokenizer.control(span.text)]
        repeat = {IMAGE: self.image_tokens, MASK: self.mask_tokens}.get(span.text, 1)
        return [self.id(span.text)] * repeat


def parse_reply(ids: Sequence[int], encoder: Encoder, first_region: int) -> tuple[tuple[Words | Mark | Name, ...], int]:
    """Generated ids (mask slots left out or in, end of turn not included) to content.

    Returns the pieces and the next free region id. Regions are numbered from first_region in
    the order of their `[SEG]`. A `[SEG]` without `[OBJ]` names the words since the last piece; an
    `[OBJ]` that never closes is read as words.
    """
    pieces: list[Words | Mark | Name] = []
    buffer: list[int] = []
    region = first_region

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
        elif token == SEG:
            phrase = encoder.tokenizer.decode(buffer).strip()
            buffer.clear()
            pieces.append(Name(phrase, region))
            region += 1
        elif token in OPERATOR_TOKENS:
            flush()
            pieces.append(Mark(OPERATOR_TOKENS[token]))
    flush()
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
