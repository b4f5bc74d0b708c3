from __future__ import annotations

import json

from miras.core.grammar import OBJ, SEG
from miras.model.miras import Miras
from miras.model.presets import build
from miras.train.calibrate.continuations import continuations
from tests.train.data.test_augment import sample


def test_the_table_closes_phrases_and_travels_with_the_weights(tmp_path):
    model = build("miras-tiny")
    photo = sample().photo
    model.continuations = continuations(model.grammar, model.config.template, [photo], 40)
    context = tuple(model.tokenizer.encode("car"))
    (best, share), *_ = model.continuations[context]
    assert best == model.grammar.id(SEG)  # "left door of the car" ends here
    assert 0.5 < share <= 1
    assert all(len(key) <= 3 for key in model.continuations)
    prompted = [token_id for token_id, _ in model.continuations[()]]
    assert model.tokenizer.encode("user")[0] in prompted
    assert (model.grammar.id(OBJ),) in model.continuations
    model.save_pretrained(tmp_path)
    assert Miras.from_pretrained(tmp_path).continuations == model.continuations
    rows = json.loads((tmp_path / "continuations.json").read_text())
    assert rows == sorted(rows)
