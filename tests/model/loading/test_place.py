"""A model by name or folder, at its place."""

from __future__ import annotations

from pathlib import Path

import torch

from miras.model.loading.place import built, find, placed


def test_a_folder_gives_the_same_model_as_it_was_saved_from(tmp_path: Path) -> None:
    model = built("miras-tiny", find("miras-tiny"))
    model.save_pretrained(tmp_path)
    again = built("any name", find(str(tmp_path)), torch.float32)
    ours, theirs = model.saved_state(), again.saved_state()
    assert theirs.keys() <= ours.keys()
    assert all("lora_" in name for name in ours.keys() - theirs.keys())  # merged: it answers from now on
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_at_its_place_a_model_is_still_and_fast() -> None:
    model = placed(built("miras-tiny", None), torch.device("cpu"), torch.float32)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.image_dtype is torch.float32
