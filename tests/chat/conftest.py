"""A tiny random model, a photo, and a way to write what a reply says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miras.chat.session import ChatSession
from miras.core.grammar import SPECIAL_TOKENS
from miras.model import presets
from miras.model.miras import Miras
from tests.centred import centred

Says = Callable[..., tuple[int, ...]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> Miras:
    """Random weights; mask logits are centred, so that masks are neither empty nor full."""
    tiny = presets.build("miras-tiny", seed=0)

    centred(tiny)
    return tiny


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    picture = rng.integers(0, 255, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
    return picture.astype(np.uint8)


@pytest.fixture
def session(model: Miras, photo: NDArray[np.uint8]) -> ChatSession:
    return ChatSession(model, photo, max_new_tokens=24)


@pytest.fixture(scope="session")
def says(model: Miras) -> Says:
    """Ids of a reply: special tokens by name, everything else as text."""

    def write(*pieces: str) -> tuple[int, ...]:
        ids: list[int] = []
        for piece in pieces:
            ids += [model.grammar.id(piece)] if piece in SPECIAL_TOKENS else model.tokenizer.encode(piece)
        return tuple(ids)

    return write
