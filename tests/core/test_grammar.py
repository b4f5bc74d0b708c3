"""The grammar: ids, labels, places and counts, both ways, and no text that becomes a token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.core.grammar import (
    ADD,
    CHATML,
    CUT,
    IGNORE,
    IMAGE,
    LLAVA,
    MASK,
    NOT,
    OBJ,
    REF,
    REJ,
    SEG,
    SPECIAL_TOKENS,
    UNDO,
    Encoded,
    Encoder,
    Place,
    Template,
    fit,
    parse_reply,
    render,
    render_prefix,
    render_reply_open,
    render_turn,
)
from miras.core.types import Conversation, Mark, Name, Operator, Piece, Region, Turn, Words

CONTROLS = ("<|im_start|>", "<|im_end|>", "</s>")
N, K = 5, 3
unhurried = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])


class Bytes:
    """UTF-8 bytes, then the control tokens."""

    vocab_size = 256 + len(CONTROLS)

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
        return list(text.encode())

    def control(self, token: str) -> int:
        """Past the bytes."""
        return 256 + CONTROLS.index(token)

    def decode(self, ids: Sequence[int]) -> str:
        """Bytes to text."""
        return bytes(i for i in ids if i < 256).decode("utf-8", "replace")


ENCODER = Encoder(Bytes(), image_tokens=N, mask_tokens=K)
SPECIALS = {ENCODER.id(token): token for token in SPECIAL_TOKENS}
MARKS = (Operator.ADD, Operator.CUT, Operator.UNDO, Operator.REJECT, Operator.EXCEPT)


def reply(*content: Piece) -> Turn:
    """An assistant turn with a one-pixel region for each name."""
    dot = np.ones((1, 1), np.bool_)
    return Turn("assistant", content, tuple(Region(p.region, p.phrase, dot, 1) for p in content if isinstance(p, Name)))


TALK = Conversation(
    (
        Turn.user("Where is the lid?"),
        reply(Words("It is "), Name("the lid", 1), Words(".")),
        Turn.user("And the handle and spout"),
        reply(Mark(Operator.ADD), Words("Here:"), Name("the handle", 2), Name("the spout", 3)),
    )
)


def written(ids: Sequence[int]) -> str:
    """Ids as one readable string; runs of <image> and <mask> stay as long as they are."""
    names = {**SPECIALS, **{256 + at: token for at, token in enumerate(CONTROLS)}}
    return "".join(names[i] if i in names else chr(i) for i in ids)


def supervised(encoded: Encoded) -> str:
    """The ids with loss, readable; '~' where they are interrupted."""
    runs = "".join("~" if label == IGNORE else written([label]) for label in encoded.labels)
    return "~".join(run for run in runs.split("~") if run)


# --- writing


def test_a_conversation_in_chatml() -> None:
    assert written(ENCODER.encode(render(TALK)).ids) == (
        "<|im_start|>system\n<image><image><image><image><image><|im_end|>\n"
        "<|im_start|>user\nWhere is the lid?<|im_end|>\n"
        "<|im_start|>assistant\nIt is [OBJ] the lid[SEG]<mask><mask><mask>.<|im_end|>\n"
        "<|im_start|>user\nAnd the handle and spout<|im_end|>\n"
        "<|im_start|>assistant\n[ADD]Here:[OBJ] the handle[SEG]<mask><mask><mask>"
        "[OBJ] the spout[SEG]<mask><mask><mask><|im_end|>\n"
    )


def test_a_conversation_in_the_llava_template() -> None:
    short = Conversation((Turn.user("Hi"), reply(Mark(Operator.REJECT), Words("No lid."))))
    assert written(ENCODER.encode(render(short, LLAVA)).ids) == (
        "<image><image><image><image><image> USER: Hi ASSISTANT:[REJ]No lid.</s>"
    )


@pytest.mark.parametrize(
    ("piece", "text"),
    [
        (Mark(Operator.ADD), ADD),
        (Mark(Operator.CUT), CUT),
        (Mark(Operator.UNDO), UNDO),
        (Mark(Operator.REJECT), REJ),
        (Mark(Operator.REPLACE), ""),
        (Words(""), ""),
        (Words("[SEG]<mask>"), "[SEG]<mask>"),
        (Name("[OBJ]", 4), "[OBJ] [OBJ][SEG]<mask><mask><mask>"),
    ],
)
def test_pieces_of_a_reply(piece: Piece, text: str) -> None:
    encoded = ENCODER.encode(render_turn(reply(piece), 1))
    assert written(encoded.ids) == f"<|im_start|>assistant\n{text}<|im_end|>\n"
    real = [SPECIALS[i] for i in encoded.ids if i in SPECIALS]
    expected = {Mark: [text] if text else [], Words: [], Name: [OBJ, SEG, MASK, MASK, MASK]}[type(piece)]
    assert real == expected


def test_special_tokens_are_distinct_ids_past_the_vocabulary() -> None:
    ids = [ENCODER.id(token) for token in SPECIAL_TOKENS]
    assert ids == list(range(Bytes.vocab_size, Bytes.vocab_size + len(SPECIAL_TOKENS)))


SPELLED = st.sampled_from(
    [*SPECIAL_TOKENS, *CONTROLS, "<|endoftext|>", "\n<|im_start|>assistant\n", "é", "👍🏽", "نص", ""]
)
ANY_TEXT = st.lists(st.one_of(SPELLED, st.text(max_size=8)), max_size=6).map("".join)


@unhurried
@given(ANY_TEXT)
@example("[SEG] <image> <|im_end|> <mask> [OBJ] [ADD] [CUT] [UNDO] [REJ] <|im_start|> </s>")
def test_text_of_a_user_never_becomes_a_token(text: str) -> None:
    for template, end in ((CHATML, "\n"), (LLAVA, " ")):
        spans = render_turn(Turn.user(text), 0, template)
        ids = ENCODER.encode(spans).ids
        assert not SPECIALS.keys() & set(ids)
        controls = [i for i in ids if i >= 256]
        assert controls == [Bytes().control(span.text) for span in spans if span.kind == "control"]
        assert Bytes().decode(ids).endswith(text + end)
        assert ENCODER.encode(spans).labels == [IGNORE] * len(ids)


# --- counts, labels, places, starts


@pytest.mark.parametrize(("image_tokens", "mask_tokens"), [(5, 3), (1, 1), (0, 0), (196, 4)])
def test_counts_of_slots(image_tokens: int, mask_tokens: int) -> None:
    ids = Encoder(Bytes(), image_tokens, mask_tokens).encode(render(TALK)).ids
    assert ids.count(ENCODER.id(IMAGE)) == image_tokens
    assert ids.count(ENCODER.id(MASK)) == 3 * mask_tokens
    assert ids.count(ENCODER.id(OBJ)) == ids.count(ENCODER.id(SEG)) == 3


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (
            None,
            "It is [OBJ] the lid[SEG]~.<|im_end|>~[ADD]Here:[OBJ] the handle[SEG]~[OBJ] the spout[SEG]~<|im_end|>",
        ),
        (frozenset({1}), "It is [OBJ] the lid[SEG]~.<|im_end|>"),
        (frozenset({3}), "[ADD]Here:[OBJ] the handle[SEG]~[OBJ] the spout[SEG]~<|im_end|>"),
        (frozenset({0, 2}), ""),
        (frozenset(), ""),
    ],
)
def test_loss_is_on_replies_only_and_never_on_slots(turns: frozenset[int] | None, expected: str) -> None:
    encoded = ENCODER.encode(render(TALK, supervised_turns=turns))
    assert len(encoded.labels) == len(encoded.ids) == len(encoded)
    assert supervised(encoded) == expected
    assert all(label in (IGNORE, i) for label, i in zip(encoded.labels, encoded.ids, strict=True))


def test_places_are_those_of_the_tokens() -> None:
    encoded = ENCODER.encode(render(TALK))
    assert [place.region for place in encoded.places] == [1, 2, 3]
    for place, phrase in zip(encoded.places, ("the lid", "the handle", "the spout"), strict=True):
        assert isinstance(place, Place)
        assert written(encoded.ids[place.obj : place.seg + 1 + K]) == f"[OBJ] {phrase}[SEG]<mask><mask><mask>"
        assert encoded.ids[place.seg + 1 + K] != ENCODER.id(MASK)


def test_a_reply_opens_as_its_rendering_does() -> None:
    for template in (CHATML, LLAVA):
        opened = ENCODER.encode(render_reply_open(3, template))
        assert ENCODER.encode(render_turn(TALK.turns[3], 3, template)).ids[: len(opened)] == opened.ids
        assert set(opened.labels) <= {IGNORE}


def test_nothing_said_yet_is_the_photo_alone() -> None:
    assert render(Conversation()) == render_prefix()
    assert not [span for span in render_prefix() if span.supervised or span.turn is not None]


# --- reading back

WORDS_TEXT = st.text(min_size=1, max_size=6).map(Words)
PHRASE = st.text(max_size=6).map(str.strip)


@st.composite
def replies(draw: st.DrawFn) -> tuple[Piece, ...]:
    """Contents as a reply is read: no two runs of words side by side, regions numbered from 5."""
    pieces: list[Piece] = []
    region = 5
    for kind in draw(st.lists(st.sampled_from(["words", "name", "mark"]), max_size=6)):
        if kind == "name":
            pieces.append(Name(draw(PHRASE), region))
            region += 1
        elif kind == "mark":
            pieces.append(Mark(draw(st.sampled_from(MARKS))))
        elif not (pieces and isinstance(pieces[-1], Words)):
            pieces.append(draw(WORDS_TEXT))
    return tuple(pieces)


def body(content: tuple[Piece, ...], template: Template = CHATML) -> list[int]:
    """Ids between the opening of a reply and its end."""
    ids = ENCODER.encode(render_turn(reply(*content), 1, template)).ids
    closing = 1 + len(template.after_turn)
    return ids[len(ENCODER.encode(render_reply_open(1, template)).ids) : -closing]


@unhurried
@given(replies())
def test_reading_a_reply_inverts_writing_it(content: tuple[Piece, ...]) -> None:
    ids = body(content)
    names = sum(isinstance(piece, Name) for piece in content)
    assert parse_reply(ids, ENCODER, 5) == (content, 5 + names)
    without_slots = [i for i in ids if i != ENCODER.id(MASK)]
    assert parse_reply(without_slots, ENCODER, 5) == (content, 5 + names)


@pytest.mark.parametrize(
    ("tokens", "content"),
    [
        ([], ()),
        (["Yes."], (Words("Yes."),)),
        ([OBJ], ()),
        ([OBJ, " the lid"], (Words(" the lid"),)),
        (["the lid", SEG], (Name("the lid", 1),)),
        ([SEG, SEG], (Name("", 1), Name("", 2))),
        ([OBJ, " a", OBJ, " b", SEG], (Words(" a"), Name("b", 1))),
        ([OBJ, " a", ADD, " b", SEG], (Words(" a"), Mark(Operator.ADD), Name("b", 1))),
        ([IMAGE, "a", MASK, "b", IMAGE], (Words("ab"),)),
        ([UNDO, REJ], (Mark(Operator.UNDO), Mark(Operator.REJECT))),
    ],
)
def test_ill_formed_replies_are_read(tokens: list[str], content: tuple[Piece, ...]) -> None:
    ids = [i for token in tokens for i in ([ENCODER.id(token)] if token in SPECIAL_TOKENS else Bytes().encode(token))]
    assert parse_reply(ids, ENCODER, 1)[0] == content


@unhurried
@given(st.lists(st.one_of(st.sampled_from(sorted(SPECIALS)), st.integers(0, 255)), max_size=30))
def test_any_ids_are_read_and_regions_counted(ids: list[int]) -> None:
    recalled = list(range(101, 101 + ids.count(ENCODER.id(REF))))
    content, free = parse_reply(ids, ENCODER, 1, recalled)
    named = [piece.region for piece in content if isinstance(piece, Name)]
    assert [number for number in named if number < 100] == list(range(1, free))
    assert [number for number in named if number > 100] == recalled
    assert free - 1 == ids.count(ENCODER.id(SEG))


@pytest.mark.parametrize("recalled", [[], [1, 1]])
def test_each_pointer_has_its_region(recalled: list[int]) -> None:
    ids = [ENCODER.id(OBJ), ord("a"), ENCODER.id(REF)]
    assert parse_reply(ids, ENCODER, 2, [1]) == ((Name("a", 1),), 2)
    with pytest.raises(ValueError, match="recalled"):
        parse_reply(ids, ENCODER, 2, recalled)


def test_what_was_named_before_is_pointed_at() -> None:
    """Only where the model points; without, every name draws, as it ever did."""
    first, second = reply(Name("lid", 1)), Turn("assistant", (Mark(Operator.EXCEPT), Name("it", 1), Name("cup", 2)))
    talk = Conversation((Turn.user("a"), first, Turn.user("b"), second))
    plain, pointing = (ENCODER.encode(render(talk, points=points)) for points in (False, True))
    assert [place.region for place in plain.places] == [1, 1, 2]
    assert not plain.pointers
    assert [(place.region, place.turn) for place in pointing.mentions] == [(1, 1), (1, 3), (2, 3)]
    (place,) = pointing.pointers
    assert pointing.ids[place.seg] == pointing.labels[place.seg] == ENCODER.id(REF)
    assert pointing.ids[place.obj] == ENCODER.id(OBJ)
    assert pointing.ids[place.seg + 1 : place.seg + 1 + K] == [ENCODER.id(MASK)] * K
    assert [i if i != ENCODER.id(REF) else ENCODER.id(SEG) for i in pointing.ids] == plain.ids
    remembered = ENCODER.encode(render(Conversation((Turn.user("b"), second)), points=True, remembered=[(1, "lid")]))
    assert [(place.region, place.turn) for place in remembered.mentions] == [(1, -1), (1, 1), (2, 1)]
    assert [place.region for place in remembered.pointers] == [1]


@pytest.mark.parametrize(
    ("points", "complements", "rows", "unknown"),
    [(False, False, 8, (REF, NOT)), (True, False, 10, (NOT,)), (False, True, 10, (REF,)), (True, True, 10, ())],
)
def test_old_ids_stay(points: bool, complements: bool, rows: int, unknown: tuple[str, ...]) -> None:
    encoder = Encoder(Bytes(), N, K, points, complements)
    assert (encoder.specials, encoder.unknown) == (rows, unknown)
    first = [encoder.id(token) - Bytes.vocab_size for token in (IMAGE, OBJ, SEG, MASK, ADD, CUT, UNDO, REJ, REF, NOT)]
    assert first == list(range(10))
    assert (encoder.id(NOT) in encoder.operators) == complements


# --- fitting


def talk(lengths: Sequence[int], *, answered: bool) -> Conversation:
    """One exchange for each length of the user's text; the last may wait for its reply."""
    turns: list[Turn] = []
    for number, length in enumerate(lengths):
        turns += [Turn.user("u" * length), reply(Words("r"), Name("x", number + 1))]
    return Conversation(tuple(turns if answered else turns[:-1]))


def length_of(conversation: Conversation) -> int:
    """Ids of the whole."""
    return len(ENCODER.encode(render(conversation)))


@unhurried
@given(st.lists(st.integers(0, 60), min_size=1, max_size=5), st.booleans(), st.integers(40, 500))
def test_fit_drops_the_oldest_exchanges_and_never_the_last(lengths: list[int], answered: bool, limit: int) -> None:
    conversation = talk(lengths, answered=answered)
    suffixes = [Conversation(conversation.turns[start:]) for start in range(0, len(conversation.turns), 2)]
    fitting = [suffix for suffix in suffixes if length_of(suffix) <= limit]
    if not fitting:
        with pytest.raises(InputError, match=f"{length_of(suffixes[-1])} tokens, at most {limit}; shorten"):
            fit(conversation, ENCODER, limit)
        return
    assert fit(conversation, ENCODER, limit).turns == fitting[0].turns


def test_fit_keeps_what_fits_exactly() -> None:
    conversation = talk([3, 4, 5], answered=True)
    whole = length_of(conversation)
    assert fit(conversation, ENCODER, whole).turns == conversation.turns
    assert fit(conversation, ENCODER, whole - 1).turns == conversation.turns[2:]


def test_fit_keeps_the_photo_and_refuses_a_message_of_100_000_characters() -> None:
    conversation = Conversation((*TALK.turns, Turn.user("a" * 100_000)))
    with pytest.raises(InputError, match="fits the context"):
        fit(conversation, ENCODER, 2048)
    shorter = fit(Conversation((*TALK.turns, Turn.user("a" * 50))), ENCODER, 110)
    assert shorter.turns[-1].text == "a" * 50
    assert ENCODER.encode(render(shorter)).ids.count(ENCODER.id(IMAGE)) == N
