"""The reader reads: real text on a real photo, tight boxes, and nothing where there is nothing."""

from __future__ import annotations

import builtins
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miras.core.masks import iou
from miras.core.text_regions import find
from miras.model import reading


@pytest.fixture(scope="module")
def sign(photo: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The photo with a plate that says "WET PAINT", and the box of its letters."""
    image = Image.fromarray(photo)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(30)
    draw.rectangle((180, 20, 400, 80), fill=(250, 250, 245))
    draw.text((200, 32), "WET PAINT", font=font, fill=(20, 20, 20))
    x0, y0, x1, y1 = (round(value) for value in draw.textbbox((200, 32), "WET PAINT", font=font))
    box = np.zeros(photo.shape[:2], np.bool_)
    box[y0:y1, x0:x1] = True
    return np.asarray(image), box


def test_text_is_read_with_a_tight_box(sign: tuple[NDArray[np.uint8], NDArray[np.bool_]]) -> None:
    pixels, box = sign
    lines = reading.read(pixels)
    found = find("Wet paint", lines)
    assert found
    assert iou(np.logical_or.reduce([line.mask(box.shape) for line in found]), box) > 0.5
    assert reading.Page(pixels).text_regions == lines


def test_a_photo_without_text_has_none(photo: NDArray[np.uint8]) -> None:
    assert reading.read(photo) == ()


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (30, 4000), (24, 24)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    assert reading.read(np.zeros((*size, 3), np.uint8)) == ()


def test_boxes_are_drawn_in_evenly() -> None:
    quad = np.array(reading.tightened([[0, 0], [100, 0], [100, 20], [0, 20]]))
    margin = reading.TIGHT * 20
    right, lower = 100 - margin, 20 - margin
    np.testing.assert_allclose(quad, [[margin, margin], [right, margin], [right, lower], [margin, lower]])
    narrow = np.array(reading.tightened([[0, 0], [4, 0], [4, 40], [0, 40]]))
    assert narrow[0, 0] < narrow[1, 0]


@pytest.mark.parametrize(
    ("message", "told"), [("What does the sign say?", True), ('Where is "OPEN"?', True), ("Where is the cup?", False)]
)
def test_without_the_package_nothing_is_read_and_it_is_said_when_it_matters(
    photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, message: str, told: bool
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "rapidocr":
            raise ImportError("No module named 'rapidocr'")
        return real(name, *args, **kwargs)

    reading._reader.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(reading.importlib.util, "find_spec", lambda _: None)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        assert reading.read(photo) == ()
        reading.tell_unread(message)
    reading._reader.cache_clear()
    assert [str(one.message) for one in noted if "pip install 'miras[ocr]'" in str(one.message)][int(told) :] == []
    assert len(noted) == told
