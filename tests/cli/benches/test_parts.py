"""Parts of a tiny model: their operations are counted, and grow as they should."""

from __future__ import annotations

import numpy as np
import pytest

from miras.cli.benches import parts
from miras.cli.benches.machine import Rates
from miras.model import presets

RATES = Rates(10e9, 50e9, 200e9)


@pytest.fixture(scope="module")
def model():
    return presets.build("miras-tiny")


def test_rows_are_of_one_photo_and_one_mask(model):
    photo = np.zeros((40, 60, 3), np.uint8)
    encoded = parts.encoding(model, [photo], RATES, 1)
    drawn = parts.decoding(model, photo, RATES, 1)
    assert [row["batch"] for row in encoded] == [1, 2, 4, 8]
    assert [row["masks"] for row in drawn] == [1, 2, 4, 8]
    for rows in (encoded, drawn):
        assert all(row["seconds"] > 0 for row in rows)
        assert rows[0]["giga_operations"] == pytest.approx(rows[-1]["giga_operations"], rel=0.1, abs=0.01)


def test_more_tokens_are_more_operations(model):
    rows = parts.language(model, Rates(10e9, 1e6, 1e6), 1)
    limits = [row["limit_seconds"] for row in rows]
    assert limits == sorted(limits)
    assert limits[-1] > 10 * limits[0]
