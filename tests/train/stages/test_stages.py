"""Both stages run on `miras-tiny`, and learn: the loss falls on a batch seen again and again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from miras.chat.context import Context
from miras.core.grammar import IGNORE, TEMPLATES
from miras.core.masks import encode_rle
from miras.core.selection import advance
from miras.core.text_regions import TextRegion
from miras.core.types import AnnotatedPhoto, Annotation, Conversation, Mark, Operator, Region, Turn, Words
from miras.data.dialogues import sampler
from miras.data.dialogues.scene import Scene
from miras.data.language import coverage, knowledge
from miras.model.presets import build
from miras.model.visual_parsing import VisualParsing
from miras.train.data.dialogue_batch import History, dialogue_batch
from miras.train.data.photos import Item
from miras.train.data.targets import moved
from miras.train.loop.average import MovingAverage
from miras.train.stages import stage1, stage2
from tests.train.data.test_augment import row, sample

PARSING = VisualParsing(128, 64)


def learn(model, step, count=25):
    torch.manual_seed(0)
    adam = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for _ in range(count):
        parts = step()
        adam.zero_grad()
        parts["loss"].backward()
        adam.step()
        values.append({name: float(value.detach()) for name, value in parts.items()})
    return values


def items(*samples, talks=1, turns=(2, 5), seed=0):
    """Photos, each with sampled conversations."""
    rng = np.random.default_rng(seed)
    return [
        Item(s.pixels, [sampler.sample(s.photo, rng, turns=turns).conversation for _ in range(talks)], s.photo)
        for s in samples
    ]


def batch_of(model, drawn, seed=0, **history):
    rng = np.random.default_rng(seed)
    return dialogue_batch(drawn, model.grammar, "chatml", PARSING, rng, History(**history))


def test_stage1_learns():
    model = build("miras-tiny")
    batch = stage1.phrase_batch(items(sample(), sample(64, 64)), PARSING, 2, np.random.default_rng(0))
    states = stage1.PhraseStates(model)
    model.instruction.requires_grad_(False)
    values = learn(model, lambda: stage1.step(model, batch, states, stage1.Weights()))
    assert values[-1]["mask"] < 0.7 * values[0]["mask"]


def test_questions_are_of_what_is_there_and_of_what_is_not():
    drawn = items(sample(), sample(64, 64))
    scenes = [Scene(item.photo, knowledge.load()) for item in drawn]
    batch = stage1.phrase_batch(drawn, PARSING, 1, np.random.default_rng(0), asked=3)
    for photo, shown in enumerate(scenes):
        of = [(q, bool(is_there)) for q, at, is_there in
              zip(batch.questions, batch.photo_Q.tolist(), batch.there_Q, strict=True) if at == photo]  # fmt: skip
        names = {name for target in shown.targets for name in said(target)}
        gone = {name for phrases in shown.absent for phrase in phrases for name in said(shown.missing(phrase))}
        assert {q for q, is_there in of if is_there} <= names
        assert {q for q, is_there in of if not is_there} <= gone
        assert sum(is_there for _, is_there in of) == min(3, len(shown.targets) - 1)
        assert sum(not is_there for _, is_there in of) == min(3, sum(map(len, shown.absent)))


def test_a_question_after_what_is_missing_never_names_what_is_there(monkeypatch):
    (item,) = items(sample())
    shown = Scene(item.photo, knowledge.load())
    name = sorted(shown.present)[0]
    monkeypatch.setattr(stage1, "_missing", lambda *_: [replace(shown.missing("handle of the hairbrush"), phrase=name,
                                                                spoken=(name,))])  # fmt: skip
    for seed in range(20):
        batch = stage1.phrase_batch([item], PARSING, 1, np.random.default_rng(seed), asked=1)
        assert batch.there_Q.all()


def said(target):
    return {stage1.wording(target, np.random.default_rng(seed)) for seed in range(200)}


def test_presence_is_learnt_from_questions():
    model = build("miras-tiny")
    batch = stage1.phrase_batch(items(sample(), sample(64, 64)), PARSING, 2, np.random.default_rng(0), asked=3)
    states = stage1.PhraseStates(model.eval())
    model.instruction.requires_grad_(False)
    alone = stage1.Weights(mask=0, iou=0, align=0, prior=0, patch=0, presence=1.0)
    values = learn(model, lambda: stage1.step(model, batch, states, alone), 40)
    assert values[-1]["presence"] < 0.7 * values[0]["presence"]


def test_phrases_read_together_have_the_states_they_have_alone():
    model = build("miras-tiny")
    phrases = ["cup", "left handle of the blue mug", "lid"]
    together, words = stage1.PhraseStates(model)([*phrases, "cup"])
    for n, phrase in enumerate([*phrases, "cup"]):
        alone, _ = stage1.PhraseStates(model)([phrase])
        torch.testing.assert_close(together[n, words[n]], alone[0], atol=1e-2, rtol=1e-2)  # bfloat16


def plain(source, label, vocabulary=()):
    """A photo of one thing."""
    mask = np.zeros((64, 64), np.bool_)
    mask[8:40, 8:40] = True
    note = Annotation(label, label, encode_rle(mask))
    photo = AnnotatedPhoto(label, Path("x.png"), (64, 64), (note,), source, frozenset({label, *vocabulary}))
    return Item(np.zeros((64, 64, 3), np.uint8), [], coverage.limited(photo) if source in coverage.COVERAGE else photo)


@pytest.mark.parametrize(
    ("source", "label", "vocabulary", "asked", "known"),
    [
        ("coco128", "dog", ("bicycle",), "bicycle", True),  # looked for and not found
        ("coco128", "dog", (), "office chair", False),  # nobody looked for it
        ("furniture", "bed", ("chair",), "chair", False),  # only what is in front has a mask
        ("furniture", "bed", (), "elephant", True),  # of a place that does not go with this one
        ("furniture", "chair", (), "chair", False),  # it is there
        ("coco-more", "dog", ("sofa",), "towel", False),  # no stuff was labelled
    ],
)
def test_a_phrase_covers_nothing_only_where_it_is_surely_absent(source, label, vocabulary, asked, known):
    drawn = [plain("drawn", asked), plain(source, label, vocabulary)]
    batch = stage1.phrase_batch(drawn, PARSING, 1, np.random.default_rng(0))
    cover, known_BR = stage1.patch_targets(batch, torch.arange(2), 16)
    assert batch.regions.photo_R.tolist() == [0, 1]
    assert bool(known_BR[1, 0]) is known
    assert known_BR[0, 0] and known_BR[1, 1]
    assert cover[0, 0].sum() > 0 and cover[1, 0].sum() == 0


def test_what_may_be_the_same_is_no_counterexample():
    same = stage1._same([frozenset({"sofa"}), frozenset({"couch"}), frozenset({"dog"})])
    assert same.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


EVERYTHING = stage2.Weights(boundary=0.2, consistency=0.05, refusal=0.2, operators=0.2)


def test_stage2_learns_words_and_masks():
    model = build("miras-tiny")
    batch = batch_of(model, items(sample(), sample(64, 64), turns=(2, 2)))
    values = learn(model, lambda: stage2.step(model, batch, EVERYTHING))
    for part in ("text", "mask", "boundary", "refusal", "operators"):
        assert values[-1][part] < values[0][part], part


@pytest.mark.parametrize("talks", [1, 3])
def test_stage2_places_are_obj_and_seg(talks):
    model = build("miras-tiny")
    batch = batch_of(model, items(*[sample()] * 3, talks=talks), seed=1)
    row = batch.row_R
    assert (batch.ids_CL[row, batch.obj_R] == model.grammar.id("[OBJ]")).all()
    assert (batch.ids_CL[row, batch.seg_R] == model.grammar.id("[SEG]")).all()
    assert (batch.ids_CL == model.grammar.id("<mask>")).sum() == len(row) * model.config.mask_tokens
    assert batch.photo_C.tolist() == [n for n in range(3) for _ in range(talks)]
    assert (batch.regions.photo_R == batch.photo_C[row]).all()
    for r, before in enumerate(batch.earlier_RM.tolist()):
        known = [b for b in before if b >= 0]
        assert known == [b for b in range(r) if row[b] == row[r]]


def test_conversations_that_share_a_photo_have_the_loss_they_have_apart():
    """One encoding for three conversations gives each region the mask it has with an encoding of its own."""
    model = build("miras-tiny").eval()
    (together,) = items(sample(), talks=3)
    apart = [Item(together.pixels, [talk], together.photo) for talk in together.conversations]
    batches = [batch_of(model, drawn, hidden=1.0, spoiled=0.0, hand=0.0, blank=0.0) for drawn in ([together], apart)]
    with torch.no_grad():
        one, three = (stage2._draw(model, b, model.image_encoder(b.views)) for b in batches)
    torch.testing.assert_close(one.logits_RMss, three.logits_RMss, rtol=1e-4, atol=1e-4)
    assert len(batches[0].views.sizes) == 1 and len(batches[1].views.sizes) == 3


def test_tags_and_lines_of_text_stand_in_the_opening_of_every_conversation():
    """As in a session: the same ids, and the mask slots in reading order."""
    model = build("miras-tiny").eval()
    model.config.reads = True
    lines = [
        TextRegion(text, ((2, y), (60, y), (60, y + 20), (2, y + 20)), 0.9) for text, y in (("OPEN", 4), ("Velko", 50))
    ]
    drawn = items(sample(), sample(64, 64), talks=2)
    rng = np.random.default_rng(0)
    batch = dialogue_batch(
        drawn, model.grammar, "chatml", PARSING, rng, History(),
        lambda pixels: lines if pixels.shape == drawn[0].pixels.shape else (), lambda pixels, name: ("cup", "rim"),
    )  # fmt: skip
    assert batch.line_photo_W.tolist() == [0, 0] and batch.line_W1ss.flatten(1).any(1).all()
    regions = [len(talk.regions) for item in drawn for talk in item.conversations]
    first = np.cumsum([0, *regions])
    total = int(first[-1])
    expected = [[total, total + 1] * (row < 2) + list(range(first[row], first[row + 1])) for row in range(4)]
    assert batch.slots_S.tolist() == [number for row in expected for number in row]
    assert (batch.ids_CL == model.grammar.id("<mask>")).sum() == len(batch.slots_S) * model.config.mask_tokens
    written = tuple(Region(-n, line.title, line.mask((9, 9)), -1) for n, line in enumerate(lines))
    context = Context(model.grammar, TEMPLATES["chatml"], 2048, written, ("cup", "rim"))
    assert tuple(batch.ids_CL[0, : len(context.prefix)].tolist()) == context.prefix
    with torch.no_grad():
        parts = stage2.step(model, batch, EVERYTHING)
    assert torch.isfinite(parts["loss"])


def test_own_history_is_what_the_model_drew():
    """Slots carry the model's masks, and the selection before each turn follows from them by set algebra."""
    model = build("miras-tiny").eval()
    drawn = items(*[sample()] * 4, talks=2, turns=(3, 4))
    still = {"hidden": 0.0, "spoiled": 0.0, "hand": 0.0, "blank": 0.0}
    batch = batch_of(model, drawn, mode="own", **still)
    assert batch.own_C.all()
    features = model.image_encoder(batch.views)
    own = stage2.own_history(model, batch, features)
    with torch.no_grad():
        masks = stage2._draw(model, batch, features).logits_RMss[:, 0] > 0
    assert torch.equal(own.slot_R1ss[:, 0] > 0.5, masks)
    first = 0
    for talk in batch.talks:
        steps = ()
        count = first
        for turn in talk.turns:
            if turn.role == "assistant":
                for _ in turn.regions:
                    want = torch.from_numpy(steps[-1].mask) if steps and steps[-1].expression else torch.zeros(32, 32)
                    assert torch.equal(own.regions.shown_R1ss[count, 0] > 0.5, want > 0)
                    count += 1
                again = [
                    replace(r, mask=masks[first + n].numpy())
                    for n, r in enumerate(talk.regions) if r.turn == (turn.regions[0].turn if turn.regions else -1)
                ]  # fmt: skip
                steps = advance(steps, replace(turn, regions=tuple(again)))
        first += len(talk.regions)


def test_gold_history_is_left_alone_and_mixed_is_a_share():
    model = build("miras-tiny")
    drawn = items(*[sample()] * 2)
    assert not batch_of(model, drawn, mode="gold").own_C.any()
    owned = [batch_of(model, drawn, seed, mode="mixed", own=0.5).own_C for seed in range(20)]
    assert all(own_C.all() or not own_C.any() for own_C in owned)
    assert 4 <= sum(bool(own_C.any()) for own_C in owned) <= 16


def test_no_memory_shows_no_earlier_mask():
    batch = batch_of(build("miras-tiny"), items(*[sample()] * 4, turns=(4, 4)), memory=False, hand=0.0)
    assert batch.blank_R.all() and not batch.regions.present_R.any() and batch.earlier_RM.shape[1] == 0


def test_a_batch_without_regions_has_a_finite_loss():
    """Refusals alone."""
    model = build("miras-tiny")
    (item,) = items(sample())
    refusal = Conversation((
        Turn.user("The zebra."), Turn("assistant", (Mark(Operator.REJECT), Words("There is no zebra."))),
    ))  # fmt: skip
    batch = batch_of(model, [Item(item.pixels, [refusal], None)])
    parts = stage2.step(model, batch, EVERYTHING)
    assert torch.isfinite(parts["loss"])
    parts["loss"].backward()


WORDS = stage2.Weights(mask=0, iou=0, align=0, prior=0, presence=0, refusal=0.2, operators=0.1)


def test_without_losses_on_masks_nothing_is_drawn_and_words_cost_the_same(monkeypatch):
    model = build("miras-tiny").eval()
    batch = batch_of(model, items(sample(), sample(64, 64)))
    whole = stage2.step(model, batch, EVERYTHING)
    monkeypatch.setattr(stage2, "_draw", None)
    words = stage2.step(model, batch, WORDS)
    for part in ("text", "refusal", "operators", "name_hits"):
        torch.testing.assert_close(words[part], whole[part], rtol=1e-5, atol=1e-6)
    expected = words["text"] + 0.2 * words["refusal"] + 0.1 * words["operators"]
    torch.testing.assert_close(words["loss"], expected)


def test_the_words_of_a_name_weigh_more():
    model = build("miras-tiny").eval()
    batch = batch_of(model, items(sample(), sample(64, 64)))
    labels = batch.labels_CL.numpy()
    named = sum(int(seg - obj) - 1 for obj, seg in zip(batch.obj_R, batch.seg_R, strict=True))
    words = ((labels != IGNORE) & (labels < model.instruction.vocab_size)).sum() - named
    weights = [WORDS, replace(WORDS, names=0.0), replace(WORDS, names=4.0)]
    plain, without, heavy = (
        float(stage2.step(model, batch, replace(w, special=0.0))["text"].detach()) for w in weights
    )  # fmt: skip
    of_names = plain * (words + named) - without * words
    assert named > 0 and heavy == pytest.approx((without * words + 4 * of_names) / (words + 4 * named), rel=1e-4)


def test_a_batch_moves_whole():
    batch = batch_of(build("miras-tiny"), items(sample()))
    there = moved(batch, torch.device("meta"))
    assert there.ids_CL.is_meta and there.views.detail_B3SS.is_meta and there.regions.target_Rss.is_meta
    assert there.probes.photo_P.is_meta and there.talks is batch.talks


def test_probes_name_what_is_not_there():
    model = build("miras-tiny")
    batches = [batch_of(model, items(sample(), sample(64, 64), seed=seed), seed) for seed in range(8)]
    probed = [batch.probes for batch in batches if len(batch.probes.photo_P)]
    assert probed
    for probes in probed:
        rows = torch.arange(len(probes.photo_P))
        assert (probes.ids_PL[rows, probes.obj_P] == model.grammar.id("[OBJ]")).all()
        assert (probes.ids_PL[rows, probes.seg_P] == model.grammar.id("[SEG]")).all()
    for batch in batches:
        own = torch.arange(len(batch.phrases))
        assert not batch.absent_RB[own, batch.regions.photo_R].any()


@pytest.mark.parametrize(("probes", "expected"), [(0, {0}), (1, {2}), (1.5, {2, 3, 4})])
def test_each_photo_has_as_many_probes_as_asked_for(probes, expected):
    model = build("miras-tiny")
    found = set()
    for seed in range(8):
        drawn, rng = items(sample(), sample(64, 64), seed=seed), np.random.default_rng(seed)
        batch = dialogue_batch(drawn, model.grammar, "chatml", PARSING, rng, probes=probes)
        found.add(len(batch.probes.photo_P))
    assert found <= expected and (len(found) > 1) == (len(expected) > 1)


def test_moving_average_stands_in_and_goes():
    model = torch.nn.Linear(2, 2)
    average = MovingAverage(model, 0.5)
    start = model.weight.detach().clone()
    model.weight.data += 1
    average.update(model)
    with average.in_place(model):
        assert (model.weight > start).all() and (model.weight < start + 1).all()
    torch.testing.assert_close(model.weight.detach(), start + 1)


def test_with_the_faults_of_the_official_code_every_phrase_reads_the_same_states():
    model = build("miras-tiny")
    model.config.paper_bugs = True
    states, words = stage1.PhraseStates(model)(["cup", "left handle of the mug"])
    assert torch.equal(states[0], states[1]) and words.all() and states.shape[1] == 1
    batch = batch_of(model, items(sample(), sample(64, 64), turns=(2, 2)))
    parts = stage2.step(model, batch, EVERYTHING)
    parts["loss"].backward()
    assert torch.isfinite(parts["loss"])


def test_things_told_apart_come_in_pairs_where_they_are_wanted():
    """Two masks of one kind under words that differ in one word, and as many of them as the share says."""
    several = row()
    drawn = [Item(several.pixels, [], several.photo)]
    told = 0
    for seed in range(30):
        batch = stage1.phrase_batch(drawn, PARSING, 2, np.random.default_rng(seed), referring=1.0)
        assert len(batch.phrases) == 2 and all("cup" in phrase for phrase in batch.phrases)
        first, second = (grid > 0.5 for grid in batch.regions.target_Rss)
        told += not bool((first & second).any())
    assert told > 20
    plain = {
        p for seed in range(20) for p in stage1.phrase_batch(drawn, PARSING, 4, np.random.default_rng(seed)).phrases
    }
    assert not any("from the" in phrase for phrase in plain)
