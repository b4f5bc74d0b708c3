from __future__ import annotations

import json

import pytest

from miras.core.errors import InputError, WeightsError
from miras.model.config import MirasConfig
from miras.model.miras import Miras
from miras.model.presets import build


def test_unknown_keys_are_named_with_the_nearest():
    with pytest.raises(InputError, match=r"detial_size \(near: detail_size\)"):
        MirasConfig(detial_size=512)


def test_all_faults_come_at_once():
    with pytest.raises(InputError) as caught:
        MirasConfig(detail_tower="resnet", detail_size=500, heads=7, mask_tokens=0)
    for word in ("resnet", "multiple of 32", "multiples of heads", "mask_tokens"):
        assert word in str(caught.value)


@pytest.mark.parametrize("values", [{"detail_size": 512, "semantic_size": 352}, {"template": "plain"}])
def test_values_that_do_not_fit_are_refused(values):
    with pytest.raises(InputError):
        MirasConfig(**values)


def test_both_towers_cannot_be_off():
    with pytest.raises(InputError, match="at least one"):
        MirasConfig(use_semantic_tower=False, use_detail_tower=False)


def test_survives_its_own_file(tmp_path):
    config = MirasConfig(width=96, alignment_layers=(0, 5))
    config.save_pretrained(tmp_path)
    again = MirasConfig.from_pretrained(tmp_path)
    assert (again.width, again.alignment_layers, again.image_tokens) == (96, [0, 5], 64)


def test_weights_of_a_newer_version_say_what_to_do(tmp_path):
    """One line, with the cure: a key that this version does not know, or another version of the weights."""
    build("miras-tiny").save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    for key, value in (("a_later_key", True), ("weights_version", 99)):
        good = json.loads(file.read_text())
        file.write_text(json.dumps(good | {key: value}))
        with pytest.raises(WeightsError, match="update miras") as caught:
            Miras.from_pretrained(tmp_path)
        assert "\n" not in str(caught.value)
        file.write_text(json.dumps(good))
