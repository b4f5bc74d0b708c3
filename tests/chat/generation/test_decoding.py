"""Replies are well formed whatever the logits say, and their text streams without loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miras.chat.generation.decoding import MAX_PHRASE, ReplyRules, TextStream, check_reply, choose
from miras.core.errors import InputError
from miras.core.grammar import (
    ADD,
    CHATML,
    CUT,
    IMAGE,
    MASK,
    NOT,
    OBJ,
    OPERATOR_TOKENS,
    REF,
    REJ,
    SEG,
    SPECIAL_TOKENS,
    UNDO,
    Encoder,
    parse_reply,
)  # fmt: skip
from miras.core.types import Mark, Name, Operator, Turn
from miras.model.language.tokenizers import ByteTokenizer

GRAMMAR = Encoder(ByteTokenizer(), image_tokens=4, mask_tokens=2)
RECALLING = Encoder(ByteTokenizer(), image_tokens=4, mask_tokens=2, points=True, complements=True)
VOCABULARY = ByteTokenizer.vocab_size + GRAMMAR.specials
SPECIALS = [GRAMMAR.id(token) for token in SPECIAL_TOKENS[: GRAMMAR.specials]]
END = GRAMMAR.tokenizer.control("<|im_end|>")


def rules(max_new_tokens: int = 40, room: int = 500) -> ReplyRules:
    return ReplyRules(GRAMMAR, CHATML, max_new_tokens=max_new_tokens, room=room)


def allowed(state: ReplyRules) -> set[str]:
    """Names of the special tokens (and "end", "word") that may come next."""
    known = state.grammar.specials
    finite = np.isfinite(state.restrict(np.zeros(ByteTokenizer.vocab_size + known)))
    names = {token for token in SPECIAL_TOKENS[:known] if finite[GRAMMAR.id(token)]}
    names |= {"end"} if finite[END] else set()
    return names | ({"word"} if finite[ord("a")] else set())


def said(*pieces: str, state: ReplyRules | None = None) -> ReplyRules:
    state = state or rules()
    for piece in pieces:
        for token_id in [GRAMMAR.id(piece)] if piece in SPECIAL_TOKENS else GRAMMAR.tokenizer.encode(piece):
            state.push(token_id)
    return state


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((), {"word", OBJ, ADD, CUT, UNDO, REJ}),
        (("Here",), {"word", "end", OBJ, ADD, CUT, UNDO, REJ}),
        ((OBJ,), {"word"}),
        ((OBJ, "  "), {"word"}),
        ((OBJ, " cup"), {"word", SEG}),
        ((OBJ, " cup", SEG), {"word", "end", OBJ, ADD, CUT, UNDO, REJ}),
        ((ADD,), {"word", OBJ}),
        ((CUT, "without"), {"word", "end", OBJ, ADD, CUT, UNDO, REJ}),
        ((UNDO,), {"word", "end", ADD, CUT, UNDO, REJ}),
        ((REJ,), {"word", "end"}),
    ],
)
def test_what_may_come_next(pieces: tuple[str, ...], expected: set[str]) -> None:
    assert allowed(said(*pieces)) == expected


@pytest.mark.parametrize(
    ("pieces", "known", "selected", "expected"),
    [
        ((), False, False, {"word", OBJ, ADD, CUT, UNDO, REJ, NOT}),
        ((OBJ, " cup"), False, False, {"word", SEG}),
        ((OBJ, " cup"), True, False, {"word", REF}),
        ((OBJ, " Cup "), True, False, {"word", REF}),
        ((OBJ, " cups"), True, False, {"word", SEG}),
        ((OBJ,), True, False, {"word"}),
        ((OBJ, " cup", REF), True, False, {"word", "end", OBJ, ADD, CUT, UNDO, REJ}),
        ((NOT,), True, False, {"word", OBJ}),
        ((NOT,), False, True, {"word", OBJ}),
        ((NOT, "All"), False, False, {"word", OBJ}),
        ((NOT, "All"), False, True, {"word", "end", OBJ, ADD, CUT, UNDO, REJ}),
        ((NOT, "All but", OBJ, " cup", SEG), False, False, {"word", "end", OBJ, ADD, CUT, UNDO, REJ}),
        ((ADD,), True, True, {"word", OBJ}),
        ((CUT, "so"), True, True, {"word", "end", OBJ, ADD, CUT, UNDO, REJ}),
    ],
)
def test_what_may_come_next_where_it_points(
    pieces: tuple[str, ...], known: bool, selected: bool, expected: set[str]
) -> None:
    state = ReplyRules(
        RECALLING, CHATML, max_new_tokens=40, room=500, known=["cup", "a"] if known else (), selected=selected
    )
    assert allowed(said(*pieces, state=state)) == expected


@pytest.mark.parametrize(("points", "complements", "left"), [(True, False, {REF}), (False, True, {NOT})])
def test_what_was_not_learnt_is_never_said(points: bool, complements: bool, left: set[str]) -> None:
    grammar = Encoder(ByteTokenizer(), 4, 2, points, complements)
    state = ReplyRules(grammar, CHATML, max_new_tokens=40, room=500, known=["cup"], selected=True)
    begun = allowed(state) | allowed(said(OBJ, " cup", state=state))
    assert begun & {REF, NOT} == left


def test_a_long_phrase_is_closed() -> None:
    state = said(OBJ, "x" * MAX_PHRASE)
    assert state.only == GRAMMAR.id(SEG)


@pytest.mark.parametrize(("limit", "room"), [(3, 500), (40, 2 + 3 + 3)])
def test_an_exhausted_reply_closes_and_ends(limit: int, room: int) -> None:
    state = rules(limit, room)
    for token_id in (GRAMMAR.id(OBJ), ord("a"), ord("b")):
        assert state.only is None
        state.push(token_id)
    assert state.only == GRAMMAR.id(SEG)
    state.push(GRAMMAR.id(SEG))
    assert state.only == END


def generate(seed: int, bias: float, max_new_tokens: int, room: int) -> list[int]:
    """A reply from random logits in which special tokens are `bias` likelier."""
    source = np.random.default_rng(seed)
    state = rules(max_new_tokens, room)
    ids: list[int] = []
    while True:
        logits = source.normal(size=VOCABULARY) * 3
        logits[[*SPECIALS, END]] += bias
        token_id = choose(state.restrict(logits), 1.0, source) if state.only is None else state.only
        if token_id == END:
            return ids
        state.push(token_id)
        ids.append(token_id)
        ids += [GRAMMAR.id(MASK)] * (GRAMMAR.mask_tokens if token_id == GRAMMAR.id(SEG) else 0)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(-2, 12), st.integers(1, 48), st.integers(8, 80))
def test_random_logits_give_well_formed_replies(seed: int, bias: float, limit: int, room: int) -> None:
    ids = generate(seed, bias, limit, room)
    kept = check_reply(ids, GRAMMAR)
    assert kept
    assert len(kept) <= limit + 1
    assert len(ids) <= room
    content, free = parse_reply(ids, GRAMMAR, 5)
    assert free - 5 == kept.count(GRAMMAR.id(SEG)) == kept.count(GRAMMAR.id(OBJ))
    assert [p.region for p in content if isinstance(p, Name)] == list(range(5, free))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(-2, 12), st.integers(1, 48), st.booleans(), st.booleans())
def test_random_logits_point_and_invert_well(seed: int, bias: float, limit: int, known: bool, selected: bool) -> None:
    source = np.random.default_rng(seed)
    state = ReplyRules(
        RECALLING, CHATML, max_new_tokens=limit, room=500, known=["cup", "a"] if known else (), selected=selected
    )
    ids: list[int] = []
    while True:
        logits = source.normal(size=ByteTokenizer.vocab_size + RECALLING.specials) * 3
        logits[[*(RECALLING.id(token) for token in SPECIAL_TOKENS), END]] += bias
        token_id = choose(state.restrict(logits), 1.0, source) if state.only is None else state.only
        if token_id == END:
            break
        state.push(token_id)
        ids.append(token_id)
    kept = check_reply(ids, RECALLING)
    pointers = kept.count(RECALLING.id(REF))
    assert known or not pointers
    content, free = parse_reply(ids, RECALLING, 3, [1] * pointers)
    assert free - 3 == kept.count(RECALLING.id(SEG))
    names = [place for place, piece in enumerate(content) if isinstance(piece, Name)]
    but = [place for place, piece in enumerate(content) if piece == Mark(Operator.EXCEPT)]
    assert not names or all(place < names[0] for place in but)
    assert not but or len(content) > but[0] + 1 or len(kept) >= limit
    assert not but or names or selected or len(kept) >= limit


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(-2, 8))
def test_streamed_text_is_the_text_of_the_reply(seed: int, bias: float) -> None:
    ids = generate(seed, bias, 40, 500)
    assert streamed(ids) == Turn("assistant", parse_reply(ids, GRAMMAR, 1)[0]).text


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(st.text(max_size=12), st.sampled_from([*OPERATOR_TOKENS, " . ", "é", "👩‍🚀", "\ufffd"])), max_size=8
    )
)
def test_streamed_text_of_any_language(pieces: list[str]) -> None:
    ids = [i for p in pieces for i in ([GRAMMAR.id(p)] if p in OPERATOR_TOKENS else GRAMMAR.tokenizer.encode(p))]
    assert streamed(ids) == Turn("assistant", parse_reply(ids, GRAMMAR, 1)[0]).text


def streamed(ids: list[int]) -> str:
    stream = TextStream(GRAMMAR.tokenizer.decode)
    deltas = [stream.cut() if i >= GRAMMAR.tokenizer.vocab_size else stream.push(i) for i in ids]
    return "".join([*deltas, stream.cut()])


def test_an_incomplete_character_waits() -> None:
    stream = TextStream(GRAMMAR.tokenizer.decode)
    assert [stream.push(byte) for byte in "é👍".encode()] == ["", "é", "", "", "", "👍"]


@pytest.mark.parametrize(
    "ids",
    [
        [GRAMMAR.id(SEG)],
        [GRAMMAR.id(OBJ), GRAMMAR.id(OBJ)],
        [GRAMMAR.id(OBJ), 65],
        [GRAMMAR.id(IMAGE)],
        [-1],
        [VOCABULARY],
        [GRAMMAR.id(NOT)],
        [GRAMMAR.id(OBJ), 65, GRAMMAR.id(REF)],
    ],
)
def test_broken_replies_are_refused(ids: list[int]) -> None:
    with pytest.raises(InputError):
        check_reply(ids, GRAMMAR)


def test_certainty_is_of_the_kind_of_reply() -> None:
    logits = np.zeros(VOCABULARY)
    logits[GRAMMAR.id(ADD)] = 20.0
    state = rules()
    restricted = state.restrict(logits)
    assert state.certainty(restricted, GRAMMAR.id(ADD)) > 0.99
    assert state.certainty(restricted, ord("a")) < 0.01


def test_choose_is_greedy_or_drawn() -> None:
    logits: Any = np.array([0.0, 1.0, -np.inf])
    draws = {choose(logits, 1.0, np.random.default_rng(seed)) for seed in range(20)}
    assert choose(logits, 0.0, np.random.default_rng()) == 1
    assert draws == {0, 1}


def test_a_name_that_a_region_bears_takes_the_chance_of_both_ends() -> None:
    state = ReplyRules(RECALLING, CHATML, max_new_tokens=40, room=500, known=["the cup"])
    logits = np.zeros(ByteTokenizer.vocab_size + RECALLING.specials)
    logits[RECALLING.id(SEG)], logits[RECALLING.id(REF)] = 3.0, 1.0
    both = np.logaddexp(3.0, 1.0)
    for name, ending, other in ((" the cup", REF, SEG), (" the spoon", SEG, REF)):
        restricted = said(OBJ, name, state=state.copy()).restrict(logits)
        assert restricted[RECALLING.id(ending)] == pytest.approx(both)
        assert restricted[RECALLING.id(other)] == -np.inf
        assert logits[RECALLING.id(SEG)] == 3.0
