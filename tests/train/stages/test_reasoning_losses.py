"""Where replies decide, and what refusing, operators and agreement cost, by hand and by finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miras.core.grammar import CHATML, IGNORE, SEG, TEMPLATES, Encoder, render
from miras.core.types import Conversation, Mark, Name, Operator, Region, Turn, Words
from miras.train.stages import reasoning_losses
from miras.train.stages.reasoning_losses import DECIDED, REFUSES, decisions, operator_ids

CONTROLS = ("<|im_start|>", "<|im_end|>", "</s>")


class Bytes:
    """UTF-8 bytes, then the control tokens."""

    vocab_size = 256 + len(CONTROLS)
    reserved = frozenset(range(256, vocab_size))

    def encode(self, text):
        return list(text.encode())

    def control(self, token):
        return 256 + CONTROLS.index(token)

    def decode(self, ids):
        return bytes(i for i in ids if i < 256).decode("utf-8", "replace")


def encoder(mask_tokens=3):
    return Encoder(Bytes(), image_tokens=5, mask_tokens=mask_tokens)


GRAMMAR = encoder()
IDS = operator_ids(GRAMMAR)
DOT = np.ones((1, 1), np.bool_)


def reply(*content):
    return Turn("assistant", content, tuple(Region(p.region, p.phrase, DOT, 1) for p in content if isinstance(p, Name)))


def talk(*replies):
    return Conversation(tuple(turn for content in replies for turn in (Turn.user("Hm?"), reply(*content))))


def found(talks, grammar=GRAMMAR, template=CHATML, **options):
    """What `decisions` finds in the padded labels of talks, with the ids that stand after each column."""
    written = [grammar.encode(render(one, template, **options)) for one in talks]
    length = max(len(e) for e in written)
    labels = torch.tensor([e.labels + [IGNORE] * (length - len(e)) for e in written])
    rows, columns, operator = decisions(labels, grammar.id(SEG), operator_ids(grammar))
    ids = [e.ids + [-1] * (length - len(e)) for e in written]
    return rows.tolist(), operator.tolist(), [ids[r][c + 1] for r, c in zip(rows, columns, strict=True)], labels


# --- where


KINDS = {
    "words": ((Words("Yes."),), 0, ord("Y")),
    "a name": ((Name("lid", 1), Words(" there")), 0, GRAMMAR.id("[OBJ]")),
    "two names": ((Words("A "), Name("lid", 1), Words(" and "), Name("cup", 2)), 0, ord("A")),
    "replace": ((Mark(Operator.REPLACE), Words("Now "), Name("cup", 1)), 0, ord("N")),
    "add": ((Mark(Operator.ADD), Name("cup", 1), Words("too")), 1, IDS[0]),
    "cut": ((Mark(Operator.CUT), Words("Less "), Name("lid", 1)), 2, IDS[1]),
    "undo": ((Mark(Operator.UNDO), Words("Back.")), 3, IDS[2]),
    "refuse": ((Mark(Operator.REJECT), Words("None.")), REFUSES, IDS[3]),
    "later": ((Words("So "), Mark(Operator.ADD), Name("cup", 1)), 0, ord("S")),
    "nothing": ((), 0, Bytes().control("<|im_end|>")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_decides_at_its_first_token(kind):
    content, operator, first = KINDS[kind]
    assert found([talk(content)])[:3] == ([0], [operator], [first])


@pytest.mark.parametrize("mask_tokens", [0, 1, 3])
def test_every_reply_of_every_conversation_once(mask_tokens):
    grammar = encoder(mask_tokens)
    contents = [content for content, _, _ in KINDS.values()]
    wanted = [operator for _, operator, _ in KINDS.values()]
    rows, operators, _, _ = found([talk(*contents), talk(contents[5]), talk(*contents[3:6])], grammar)
    assert rows == [0] * len(contents) + [1] + [2] * 3
    assert operators == [*wanted, wanted[5], *wanted[3:6]]


def test_only_supervised_replies_decide():
    two = talk(KINDS["two names"][0], KINDS["add"][0], KINDS["refuse"][0])
    assert found([two], supervised_turns=frozenset({1, 5}))[1] == [0, REFUSES]
    assert found([two], supervised_turns=frozenset({3}))[1] == [1]
    assert found([two], supervised_turns=frozenset())[:2] == ([], [])


PIECES = st.one_of(
    st.text("ab [SEG]", max_size=5).map(Words),
    st.sampled_from(list(Operator)).map(Mark),
    st.text("ab", max_size=3).map(lambda phrase: Name(phrase, 1)),
)


@settings(max_examples=60)
@given(st.lists(st.lists(st.lists(PIECES, max_size=5), min_size=1, max_size=4), min_size=1, max_size=3))
def test_any_conversation_has_one_decision_a_reply(replies):
    rows, operators, firsts, labels = found([talk(*contents) for contents in replies])
    assert rows == [row for row, contents in enumerate(replies) for _ in contents]
    assert [IDS[o - 1] if o else None for o in operators] == [first if first in IDS else None for first in firsts]
    _, columns, _ = decisions(labels, GRAMMAR.id(SEG), IDS)
    assert (labels[torch.tensor(rows), columns] == IGNORE).all()
    assert labels[torch.tensor(rows), columns + 1].tolist() == firsts


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (2, 0), (2, 1), (2, 7)])
def test_labels_without_replies(shape):
    parts = decisions(torch.full(shape, IGNORE), GRAMMAR.id(SEG), IDS)
    assert [(part.dtype, part.tolist()) for part in parts] == [(torch.long, [])] * 3


def test_the_tiny_model_reads_its_own_grammar():
    """With the preset's tokenizer and template, and logits at the places found."""
    from miras.model.presets import build

    model = build("miras-tiny")
    template = TEMPLATES[model.config.template]
    conversation = talk(KINDS["two names"][0], KINDS["cut"][0], KINDS["refuse"][0])
    encoded = model.grammar.encode(render(conversation, template))
    labels = torch.tensor([encoded.labels])
    ids = operator_ids(model.grammar)
    rows, columns, operator = decisions(labels, model.grammar.id(SEG), ids)
    assert operator.tolist() == [0, 2, REFUSES]
    width = model.instruction.special.shape[1]
    logits = model.instruction.logits(torch.randn(*labels.shape, width)[rows, columns])
    loss, hits = reasoning_losses.operators(logits, operator, ids)
    assert torch.isfinite(loss)
    assert hits.shape == (3,)


# --- refusal


def test_refusal_by_hand():
    """Odds of [REJ] against two others: log odds 2 - ln(e + 1), and chance is ln 2 at any weight."""
    odds = 2 - math.log(math.e + 1)
    logits = torch.tensor([[1.0, 2.0, 0.0]])
    no = torch.tensor([False])
    assert reasoning_losses.refusal(logits, ~no, 1).item() == pytest.approx(math.log1p(math.exp(-odds)) / 2)
    assert reasoning_losses.refusal(logits, no, 1).item() == pytest.approx(math.log1p(math.exp(odds)) / 2)
    even = torch.tensor([[0.0, math.log(2), 0.0]]).expand(5, -1)
    for weight in (0.5, 1.0, 3.0):
        loss = reasoning_losses.refusal(even, torch.tensor([True, False, False, False, False]), 1, weight)
        assert loss.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(("weight", "share"), [(1.0, 1.0), (3.0, 3.0), (0.5, 0.5)])
def test_both_sides_of_refusal_pull_alike(weight, share):
    """At even odds the pull of one refusal is that of all four others together, times the weight."""
    logits = torch.tensor([[0.0, math.log(2), 0.0]]).repeat(5, 1).requires_grad_(True)
    reasoning_losses.refusal(logits, torch.tensor([True, False, False, False, False]), 1, weight).backward()
    pull = logits.grad[:, 1]
    assert pull[0] < 0
    assert (pull[1:] > 0).all()
    assert pull[1:].sum().item() == pytest.approx(-pull[0].item() * share)
    torch.testing.assert_close(logits.grad.sum(1), torch.zeros(5), atol=1e-7, rtol=0)


# --- operators


def test_operators_by_hand():
    """Five tokens, 3 and 4 of them operators: "none" is the sum of the first three."""
    logits = torch.log(torch.tensor([[1.0, 1.0, 2.0, 3.0, 1.0], [1.0, 1.0, 2.0, 3.0, 1.0]]))
    loss, hits = reasoning_losses.operators(logits, torch.tensor([0, 1]), (3, 4))
    assert loss.item() == pytest.approx(-(math.log(4 / 8) + math.log(3 / 8)) / 2)
    assert hits.tolist() == [0.0, 1.0]


def test_hits_are_what_a_greedy_reply_would_do():
    logits = torch.full((5, 9), -5.0)
    chosen = (0, 5, 6, 7, 8)
    logits[range(5), chosen] = 5.0
    wanted = torch.arange(5)
    assert reasoning_losses.operators(logits, wanted, (5, 6, 7, 8))[1].tolist() == [1.0] * 5
    assert reasoning_losses.operators(logits, wanted.flip(0), (5, 6, 7, 8))[1].tolist() == [0, 0, 1, 0, 0]


def test_each_kind_of_reply_weighs_the_same():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 9, generator=generator)
    wanted = torch.tensor([0, 2])
    once, _ = reasoning_losses.operators(logits, wanted, (5, 6, 7, 8))
    often, _ = reasoning_losses.operators(logits[[0, 0, 0, 0, 1]], wanted[[0, 0, 0, 0, 1]], (5, 6, 7, 8))
    torch.testing.assert_close(once, often)


def test_operators_learn_apart_from_the_words():
    """Among other tokens the gradient keeps their proportions: which word comes is the text loss's affair."""
    logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(1), requires_grad=True)
    reasoning_losses.operators(logits, torch.tensor([0]), (5, 6, 7, 8))[0].backward()
    share = logits.grad[0, :5] / logits.detach()[0, :5].exp()
    torch.testing.assert_close(share, share[:1].expand(5))
    assert (logits.grad[0, :5] < 0).all()
    assert (logits.grad[0, 5:] > 0).all()


# --- consistency

OWN = torch.eye(2, dtype=torch.bool)
SCALE = torch.tensor(2.0)


def halves(sides=("left", "right"), side=8, logit=6.0):
    """Logits (R, side, side) of masks over the left or right half."""
    masks = torch.zeros(len(sides), side, side)
    for row, name in enumerate(sides):
        masks[row, :, slice(None, side // 2) if name == "left" else slice(side // 2, None)] = 1
    return (masks * 2 - 1) * logit


def two_halves():
    """Words for left and right, and a photo whose left half is like the one and right half like the other."""
    words = torch.eye(2)
    photo = torch.zeros(2, 4, 4)
    photo[0, :, :2], photo[1, :, 2:] = 1, 1
    return words, photo.expand(2, -1, -1, -1)


def test_words_fit_the_masks_that_cover_them():
    words, photo = two_halves()
    fits = reasoning_losses.consistency(words, photo, halves(), OWN, SCALE)
    swapped = reasoning_losses.consistency(words, photo, halves(("right", "left")), OWN, SCALE)
    alike = reasoning_losses.consistency(words, photo, halves(("left", "left")), OWN, SCALE)
    assert fits.item() == pytest.approx(math.log1p(math.exp(-math.exp(2))), abs=0.01)
    assert swapped.item() == pytest.approx(math.exp(2), abs=0.1)
    assert fits < alike < swapped


def test_a_mask_moves_to_what_its_words_name():
    words, photo = two_halves()
    logits = torch.zeros(2, 8, 8, requires_grad=True)
    reasoning_losses.consistency(words, photo, logits, OWN, SCALE).backward()
    assert (logits.grad[0, :, :4] < 0).all()
    assert (logits.grad[0, :, 4:] > 0).all()
    assert (logits.grad[1, :, :4] > 0).all()
    assert (logits.grad[1, :, 4:] < 0).all()


def test_masks_and_words_learn_the_map_does_not():
    words, photo = two_halves()
    words, photo = words.requires_grad_(True), photo.clone().requires_grad_(True)
    logits, scale = halves(logit=1.0).requires_grad_(True), SCALE.clone().requires_grad_(True)
    reasoning_losses.consistency(words, photo, logits, OWN, scale).backward()
    assert all(t.grad.abs().sum() > 0 for t in (words, logits, scale))
    assert photo.grad is None


def test_the_same_thing_is_no_negative():
    words, photo = two_halves()
    logits = halves(("left", "left")).requires_grad_(True)
    loss = reasoning_losses.consistency(words, photo, logits, torch.ones(2, 2, dtype=torch.bool), SCALE)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad.abs().sum() == 0


def test_regions_without_words_are_left_out():
    words, photo = two_halves()
    more = torch.cat([words, torch.tensor([[0.6, 0.8]])])
    photos, same = photo[:1].expand(3, -1, -1, -1), torch.eye(3, dtype=torch.bool)
    logits = halves(("left", "right", "left")).requires_grad_(True)
    loss = reasoning_losses.consistency(more, photos, logits, same, SCALE, torch.tensor([True, True, False]))
    torch.testing.assert_close(loss, reasoning_losses.consistency(words, photo, halves(), OWN, SCALE))
    loss.backward()
    assert logits.grad[2].abs().sum() == 0


def test_agreement_does_not_depend_on_how_sure_a_small_mask_is():
    words, photo = two_halves()
    faint = halves(logit=0.0) - 5
    faint[0, :, :4] += 3
    faint[1, :, 4:] += 3
    sure = reasoning_losses.consistency(words, photo, faint, OWN, SCALE)
    fainter = reasoning_losses.consistency(words, photo, faint - 3, OWN, SCALE)
    assert fainter.item() == pytest.approx(sure.item(), rel=0.05)


# --- all of them

LABELS = torch.tensor([0, 1, 4, 2, 0, 3])
WORDS = torch.nn.functional.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(5)), dim=-1)
MAP = torch.nn.functional.normalize(torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(6)), dim=1)
CALLS = {
    "refusal": (lambda x: reasoning_losses.refusal(x, LABELS == REFUSES, 8, 1.25), (6, 12)),
    "operators": (lambda x: reasoning_losses.operators(x, LABELS, (5, 6, 7, 8))[0], (6, 12)),
    "consistency": (
        lambda x: reasoning_losses.consistency(WORDS.to(x), MAP.to(x), x, torch.eye(6, dtype=torch.bool), SCALE),
        (6, 6, 6),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_right(name):
    call, shape = CALLS[name]
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (logits,))


def test_gradients_of_the_words_are_right():
    masks = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    same = torch.eye(6, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    assert torch.autograd.gradcheck(
        lambda words, scale: reasoning_losses.consistency(words, MAP.double(), masks, same, scale),
        (WORDS.double().requires_grad_(True), SCALE.double().requires_grad_(True)),
    )


@pytest.mark.parametrize("name", CALLS)
def test_half_precision_in_is_float32_inside(name):
    call, shape = CALLS[name]
    half = torch.randn(shape, generator=torch.Generator().manual_seed(9)).mul(4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = call(half)
    assert inside.dtype == torch.float32
    if name != "consistency":
        torch.testing.assert_close(inside, call(half.float()), rtol=1e-6, atol=1e-7)


def test_agreement_is_float32_under_autocast():
    logits = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(9))
    plain = CALLS["consistency"][0](logits)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(CALLS["consistency"][0](logits), plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("size", [1e4, 50.0, 0.0, -50.0, -1e4])
def test_extremes_are_finite(name, size):
    call, shape = CALLS[name]
    mixed = torch.randn(shape, generator=torch.Generator().manual_seed(10)).sign() * size
    for logits in (torch.full(shape, size), mixed):
        logits.requires_grad_(True)
        loss = call(logits)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()


NONE = torch.zeros(0, 0, dtype=torch.bool)
EMPTY = {
    "refusal": (lambda x: reasoning_losses.refusal(x, torch.zeros(0, dtype=torch.bool), 3), (0, 9)),
    "operators": (lambda x: reasoning_losses.operators(x, torch.zeros(0, dtype=torch.long), (5, 6, 7, 8))[0], (0, 9)),
    "masks": (
        lambda x: reasoning_losses.consistency(torch.zeros(0, 5), torch.zeros(0, 5, 3, 3), x, NONE, SCALE),
        (0, 6, 6),
    ),
    "words": (
        lambda x: reasoning_losses.consistency(x, torch.zeros(0, 5, 3, 3), torch.zeros(0, 6, 6), NONE, SCALE),
        (0, 5),
    ),
    "no words": (
        lambda x: reasoning_losses.consistency(WORDS, MAP, x, torch.eye(6).bool(), SCALE, torch.zeros(6).bool()),
        (6, 6, 6),
    ),
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_costs_nothing_and_can_be_learnt_from(name):
    call, shape = EMPTY[name]
    logits = torch.zeros(shape, requires_grad=True)
    loss = call(logits)
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == 0.0
    assert logits.grad.abs().sum() == 0


def test_the_order_of_the_operators():
    assert DECIDED[REFUSES - 1] == "[REJ]"
    assert [GRAMMAR.tokenizer.vocab_size + at for at in (4, 5, 6, 7)] == list(IDS)
