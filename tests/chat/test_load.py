"""Names and folders become models; what is missing says which command brings it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.chat.load import load
from miras.core.errors import InputError, WeightsError
from miras.core.grammar import OBJ, SEG
from miras.model.loading import place
from miras.model.miras import Miras

Says = Callable[..., tuple[int, ...]]


def test_a_preset_without_weights_of_its_own(photo: NDArray[np.uint8], says: Says) -> None:
    loaded = load("miras-tiny")
    session = loaded.chat(photo, seed=4, max_new_tokens=9)
    assert (loaded.name, session.options.seed, session.options.max_new_tokens) == ("miras-tiny", 4, 9)
    session.ask("the cup", forced=says(OBJ, " cup", SEG))
    assert loaded.restore(session.to_json(), photo).regions[0].phrase == "cup"
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_a_folder_and_a_packaged_name(
    model: Miras, photo: NDArray[np.uint8], says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save_pretrained(tmp_path / "miras-mine")
    monkeypatch.setattr(place, "WEIGHTS_FOLDER", tmp_path)
    assert place.find("miras-mine") == tmp_path / "miras-mine"
    assert place.find(str(tmp_path / "miras-mine")) == tmp_path / "miras-mine"
    assert load("miras-mine").chat(photo).ask("x", forced=says("Yes.")).text == "Yes."


@pytest.mark.parametrize(
    ("name", "error", "says_what"),
    [
        ("miras-mini", WeightsError, "miras train --help"),
        ("miras-tini", InputError, "miras-tiny"),
        ("no/such/folder", WeightsError, "no folder"),
    ],
)
def test_what_is_missing(
    name: str, error: type[Exception], says_what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "WEIGHTS_FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says_what):
        load(name, runtime="torch")


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        load(tmp_path)


def test_no_threads(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="thread"):
        load("miras-tiny", threads=0)
