"""Weights as torch wrote them before 2020: the same arrays, nothing of theirs is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miras.model.towers.pickled import weights


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


def test_the_same_arrays(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(2, 3, 4)
    state = {
        "a": whole, "b": whole[1], "turned": whole[0].T, "count": torch.tensor(3), "half": whole.half(),
        "none": torch.zeros(0, 3),
        "last": torch.ones(2, 4, 1, 1).to(memory_format=torch.channels_last),
    }  # fmt: skip
    found = weights(saved(tmp_path / "w.pth", state))
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert np.array_equal(found[name], value.numpy()) and found[name].dtype == value.numpy().dtype
        assert found[name].flags.c_contiguous


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


@pytest.mark.parametrize("spoil", ["runs", "cut", "empty", "zip", "words"])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, spoil: str) -> None:
    file = saved(tmp_path / "w.pth", {"a": Runs() if spoil == "runs" else torch.zeros(50)})
    if spoil == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    elif spoil == "empty":
        file.write_bytes(b"")
    elif spoil == "zip":
        torch.save({"a": torch.zeros(3)}, file)
    elif spoil == "words":
        file.write_text("no weights")
    with pytest.raises(ValueError, match=r"weights|wants to run|in it"):
        weights(file)
