"""What all tests share: one thread, no network, a tiny model, a photograph, the data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

# Before anything imports torch: two threads on two busy cores are far slower than one.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

if TYPE_CHECKING:
    from miras.model.miras import Miras

ROOT = Path(__file__).resolve().parents[1]

# Other work on the machine makes examples slow; no test is about time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of annotated photographs beside the checkout; its layout is in its own README."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    return folder


@pytest.fixture(scope="session")
def tiny() -> Miras:
    """`miras-tiny`: random, a few thousand parameters. Shared: leave its weights as they are."""
    from miras.model import presets

    return presets.build("miras-tiny")


@pytest.fixture(scope="session")
def photo_path() -> Path:
    """A real photograph that ships with the package: a cup, a saucer, a spoon; 600 x 400."""
    return ROOT / "src" / "miras" / "assets" / "coffee.jpg"


@pytest.fixture(scope="session")
def photo(photo_path: Path) -> NDArray[np.uint8]:
    """Its pixels, (400, 600, 3) uint8 RGB."""
    from miras.core.photo import read_photo

    return read_photo(photo_path)
