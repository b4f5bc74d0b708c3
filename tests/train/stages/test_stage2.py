"""Stage 2 teaches the pointer, by the same sums as a session points; old weights begin to point."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.grammar import NOT, REF, SEG
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation, Conversation, Mark, Name, Operator, Region, Turn
from miras.data.dialogues import sampler
from miras.model.miras import Miras
from miras.model.presets import build
from miras.model.visual_parsing import VisualParsing
from miras.train import run
from miras.train.calibrate import refusal
from miras.train.calibrate.continuations import continuations
from miras.train.data import corpus as corpora
from miras.train.data.dialogue_batch import History, dialogue_batch
from miras.train.data.photos import Item
from miras.train.loop.blend import blend
from miras.train.stages import stage2
from miras.train.stages.training_module import build as student_of
from tests.train.tiny import corpus, recipe

PARSING = VisualParsing(128, 64)


def able(seed: int = 0) -> Miras:
    model = build("miras-tiny", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.learn_to_talk(points=True, complements=True)
    return model


def scene() -> tuple[np.ndarray, AnnotatedPhoto]:
    """A photo at the size of the views, its masks blocks of the grid on which training sees them."""
    pixels = np.random.default_rng(3).integers(0, 255, (16, 16, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    notes = []
    for label, (x1, y1, x2, y2) in {
        "dog": (0, 0, 40, 60), "sky": (64, 0, 128, 32), "grass": (0, 96, 60, 128), "car": (80, 64, 120, 100),
    }.items():  # fmt: skip
        mask = np.zeros((128, 128), np.bool_)
        mask[y1:y2, x1:x2] = True
        notes.append(Annotation(label, label, encode_rle(mask)))
    return pixels, AnnotatedPhoto("p", Path("p.png"), (128, 128), tuple(notes), "coco")


def talks(count: int, seed: int = 0) -> Item:
    pixels, photo = scene()
    rng = np.random.default_rng(seed)
    said = [sampler.sample(photo, rng, turns=(4, 6), points=True, complements=True).conversation for _ in range(count)]
    return Item(pixels, said, photo)


def batch_of(model: Miras, *items: Item, seed: int = 0, **history):
    rng = np.random.default_rng(seed)
    return dialogue_batch(list(items), model.grammar, "chatml", PARSING, rng, History(**history))


def test_stage2_learns_to_point_and_to_say_all_but():
    model = able()
    model.pointer.likeness.data.zero_()
    batch = batch_of(model, talks(8))
    assert len(batch.pointers.region_Q) >= 5
    grammar = model.grammar
    labels = batch.labels_CL
    assert int((labels == grammar.id(REF)).sum()) == len(batch.pointers.region_Q)
    assert int((labels == grammar.id(SEG)).sum()) == len(batch.row_R)
    assert (labels == grammar.id(NOT)).any()
    torch.manual_seed(0)
    adam = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for _ in range(40):
        parts = stage2.step(model, batch, stage2.Weights())
        adam.zero_grad()
        parts["loss"].backward()
        adam.step()
        values.append({name: float(value.detach()) for name, value in parts.items()})
    assert values[-1]["pointer"] < 0.5 * values[0]["pointer"]
    assert values[-1]["text"] < values[0]["text"]
    assert values[-1]["pointer_hits"] >= values[0]["pointer_hits"]
    assert values[-1]["pointer_hits"] == 1.0
    assert all(p.grad is not None for p in model.pointer.parameters())


def test_at_first_the_same_words_are_the_same_region():
    """Before anything is learnt: of what is meant again by its own name, all is found."""
    model = able()
    batch = batch_of(model, talks(10))
    parts = stage2.step(model, batch, stage2.Weights())
    assert float(parts["pointer_hits"]) == 1.0
    assert float(parts["pointer"]) < 1.0


def test_where_nothing_is_meant_again_the_loss_is_zero_with_a_gradient():
    model = able()
    item = talks(1)
    mask = np.ones((128, 128), np.bool_)
    once = Conversation((Turn.user("a"), Turn("assistant", (Name("x", 1),), (Region(1, "x", mask, 1),))))
    parts = stage2.step(model, batch_of(model, replace(item, conversations=[once])), stage2.Weights())
    assert float(parts["pointer"]) == 0.0
    parts["loss"].backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.pointer.parameters())


def test_what_left_the_context_stands_in_the_opening_and_is_found():
    model = able()
    item = talks(10)
    whole, cut = (batch_of(model, item, forgotten=share, own=0.0) for share in (0.0, 1.0))
    assert (whole.labels_CL >= 0).sum() > (cut.labels_CL >= 0).sum()
    assert len(cut.row_R) == len(whole.row_R)
    assert int((cut.ids_CL == model.grammar.id("<mask>")).sum()) == model.config.mask_tokens * len(cut.slots_S)
    opened = [
        (row, place) for row, place in zip(cut.row_R.tolist(), cut.seg_R.tolist(), strict=True)
        if (cut.labels_CL[row, :place] < 0).all()
    ]  # fmt: skip
    assert len(opened) >= 5
    assert cut.pointers.may_QN.any(1).all()
    parts = stage2.step(model, cut, stage2.Weights())
    assert float(parts["pointer_hits"]) == 1.0 and torch.isfinite(parts["loss"])


def test_a_model_that_does_not_point_learns_as_ever():
    model = build("miras-tiny")
    batch = batch_of(model, talks(6))
    assert not len(batch.pointers.region_Q)
    assert not (batch.labels_CL >= model.grammar.id(REF)).any()
    parts = stage2.step(model, batch, stage2.Weights())
    assert "pointer" not in parts and torch.isfinite(parts["loss"])
    mask = np.ones((128, 128), np.bool_)
    content = (Mark(Operator.EXCEPT), Name("x", 1))
    but = Conversation((Turn.user("a"), Turn("assistant", content, (Region(1, "x", mask, 1),))))
    with pytest.raises(InputError, match="complements"):
        batch_of(model, replace(talks(1), conversations=[but]))


def test_training_points_as_a_session_does():
    """The scores of each place that points are those of a session with the same history, gold and unspoiled."""
    model = able(3)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.pointer.named_parameters():
            if name != "likeness":
                parameter.add_(torch.randn_like(parameter) * 0.3)
    item = talks(6, seed=5)
    batch = batch_of(model, item, spoiled=0.0, blank=0.0, hidden=0.0, hand=0.0, forgotten=0.0)
    at = batch.pointers
    features = model.image_encoder(batch.views)
    reading = stage2._read(model, batch, features)
    kept: list[torch.Tensor] = []
    handle = model.pointer.register_forward_hook(lambda _, __, scores: kept.append(scores.detach()))
    stage2._pointed(model, batch, reading)
    (trained_QN,) = kept
    asked = 0
    for row, talk in enumerate(batch.talks):
        session = ChatSession(model, item.pixels)
        for user, reply in zip(talk.turns[::2], talk.turns[1::2], strict=True):
            twin = session.fork()
            before = len(kept)
            if reply.recalled:
                ids = session.backend.context.reply(reply)
                twin.ask(user.text, forced=[i for i in ids if i != model.grammar.id("<mask>")])
            for scores in kept[before:]:
                q = asked
                asked += 1
                assert int(at.row_Q[q]) == row
                if len(reply.names) > 1 and reply.recalled[0] != reply.names[0]:
                    continue  # the session draws masks of its own before it points
                torch.testing.assert_close(scores[0], trained_QN[q][at.may_QN[q]], atol=2e-3, rtol=2e-3)
            session.append_exchange(user.text, reply)
    handle.remove()
    assert asked == len(at.region_Q) >= 4


def test_old_weights_begin_to_point(tmp_path):
    old = build("miras-tiny", 1)
    old.save_pretrained(tmp_path / "old")
    assert '"points": true' not in (tmp_path / "old" / "config.json").read_text()
    begun = student_of(
        recipe("stage2", f"start.weights={tmp_path / 'old'}", "start.points=true", "start.complements=true")
    ).model
    before = Miras.from_pretrained(tmp_path / "old")
    torch.testing.assert_close(begun.instruction.special[:8], before.instruction.special)
    for token, word in ((REF, " same"), (NOT, " except")):
        row = begun.instruction.special[begun.grammar.id(token) - begun.instruction.vocab_size]
        torch.testing.assert_close(row, begun.instruction.table.weight[begun.tokenizer.encode(word)].mean(0))
    begun.save_pretrained(tmp_path / "new")
    again = Miras.from_pretrained(tmp_path / "new")
    assert (again.config.points, again.config.complements, len(again.instruction.special)) == (True, True, 10)
    assert again.pointer is not None and float(again.pointer.likeness) == 12.0
    begun.learn_to_talk(points=True)
    assert len(begun.instruction.special) == 10
    trained = torch.randn_like(begun.instruction.special)
    with torch.no_grad():
        begun.instruction.special.copy_(trained)
        begun.pointer.likeness.fill_(5.0)
    begun.save_pretrained(tmp_path / "new")
    blend(tmp_path / "new", str(tmp_path / "old"), 0.5)
    mixed = Miras.from_pretrained(tmp_path / "new")
    assert float(mixed.pointer.likeness) == 5.0
    torch.testing.assert_close(mixed.instruction.special[8:], trained[8:], atol=2e-3, rtol=2e-3)
    wanted = (trained[:8] + before.instruction.special) / 2
    torch.testing.assert_close(mixed.instruction.special[:8], wanted, atol=2e-3, rtol=2e-3)


def test_a_run_that_points(tmp_path):
    run.run(
        recipe("stage2", "start.points=true", "start.complements=true", "steps=2"),
        corpus(tmp_path / "photos"), tmp_path / "run",
    )  # fmt: skip
    model = Miras.from_pretrained(tmp_path / "run" / "model")
    assert model.config.points and model.pointer is not None
    photos = corpus(tmp_path / "photos").photos
    table = continuations(model.grammar, "chatml", photos, 200)
    assert any(following == model.grammar.id(REF) for context in table.values() for following, _ in context)
    seen = refusal.collect(model, photos, 6)
    assert len(seen.there_N) == len(seen.evidence_N2)


@pytest.mark.parametrize(
    ("good", "least", "below"),
    [
        ([(0.9, 0.9)] * 30, 0.0, 0.0),
        ([(0.9, 0.9)] * 20 + [(0.2, 0.3)] * 10, 0.0, 0.55),
        ([(0.9, 0.9)] * 20 + [(0.4, 0.3)] * 10 + [(0.1, 0.0)] * 10, 0.25, 0.65),
        ([(0.9, 0.9)] * 20 + [(0.1, 0.0)] * 10 + [(0.05, 0.8)] * 5, 0.0, 0.5),
        ([(0.1, 0.0)] * 10, 0.0, 0.0),
    ],
)
def test_scores_that_tell_nothing(good, least, below):
    scored = torch.tensor([(score, 0.0, real) for score, real in good], dtype=torch.float64)
    assert refusal.fit_unsure(scored) == pytest.approx((least, below), abs=1e-3)


def test_scores_of_another_calibration():
    scored = torch.tensor([[0.3, -0.5, 0.4], [0.8, 0.0, 0.9]], dtype=torch.float64)
    before, after = (2.0, 0.1, 0.3), (0.7, -0.4, 0.6)
    there = refusal.rescaled(scored, before, after)
    torch.testing.assert_close(refusal.rescaled(there, after, before), scored)
    assert not torch.allclose(there[:, 0], scored[:, 0])


def test_conversations_in_words_alone_are_trained_on(tmp_path):
    """As LLaVA's are: a loss of the text, none of masks."""
    talk = [("human", "<image>\nWhat is on the table?"), ("gpt", "A cup."), ("human", "Is it full?"), ("gpt", "No.")]
    said = [{"from": role, "value": text} for role, text in talk]
    items = [{"id": name, "image": f"{name}.png", "conversations": said} for name in ("a", "b")]
    for number, name in enumerate(("a", "b")):
        Image.new("RGB", (96, 64), (90 * number, 120, 60)).save(tmp_path / f"{name}.png")
    (tmp_path / "llava_train.json").write_text(json.dumps(items))
    one = recipe("stage2", "data.recorded=1", "data.split=given")
    module, data = student_of(one), corpora.read([tmp_path], one.data)
    numbered = [run.items(one, data, module.model)[number] for number in range(2)]
    batch = run.Collate(module.model, one)(numbered)["batch"]
    assert not len(batch.row_R) and len(batch.talks) == 2
    parts = module(batch)
    parts["loss"].backward()
    found = {name: float(value.detach()) for name, value in parts.items()}
    assert found["text"] > 0 and found["mask"] == found["align"] == 0 and np.isfinite(found["loss"])
