"""Photo pixels to the model's frame: the library's own mapping, and properties that any mapping must have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import Sam2Processor, SamImageProcessorPil, SamProcessor

from miras.core.errors import InputError
from miras.core.masks import box_of
from miras.core.segmenter import Prompt
from miras.segmenters.clicks import Frame, candidates, enlarged, inputs, is_ambiguous, logits, sharpened

CPU = torch.device("cpu")
sides = st.integers(8, 4000)


@st.composite
def cases(draw: Any) -> tuple[tuple[int, int], np.ndarray]:
    """A photo's size (H, W) and points in it, (P, 3)."""
    size = draw(sides), draw(sides)
    x, y = st.floats(0, size[1], width=32), st.floats(0, size[0], width=32)
    rows = draw(st.lists(st.tuples(x, y, st.sampled_from([0.0, 1.0])), min_size=1, max_size=4))
    return size, np.array(rows, np.float32)


@given(cases(), st.sampled_from([64, 1008, 1024]))
def test_a_square_frame_maps_as_the_library_does(case: tuple[tuple[int, int], np.ndarray], side: int) -> None:
    size, rows = case
    got = Frame(size, (side, side)).points(rows)
    processor: Any = object.__new__(Sam2Processor)
    expected = processor._normalize_coordinates(side, torch.from_numpy(rows[:, :2].copy()), size)
    assert torch.equal(got, expected)
    assert got.min() >= 0 and got.max() <= side * (1 + 1e-6)


@given(cases())
def test_the_longest_side_frame_maps_as_the_library_does(case: tuple[tuple[int, int], np.ndarray]) -> None:
    size, rows = case
    processor = SamProcessor(SamImageProcessorPil())
    inner = processor.image_processor._get_preprocess_shape(size, longest_edge=1024)
    expected = processor._normalize_coordinates(1024, rows[:, :2], size)
    np.testing.assert_allclose(Frame(size, inner).points(rows).numpy(), expected, rtol=1e-6, atol=1e-4)


@given(cases(), st.integers(8, 2000), st.integers(8, 2000))
def test_corners_go_to_corners_and_the_order_stays(
    case: tuple[tuple[int, int], np.ndarray], height: int, width: int
) -> None:
    size, rows = case
    frame = Frame(size, (height, width))
    corners = np.array([[0, 0, 1], [size[1], size[0], 1]], np.float32)
    np.testing.assert_allclose(frame.points(corners).numpy(), [[0, 0], [width, height]], rtol=1e-6)
    back = Frame((height, width), size).points(frame.points(rows).numpy())
    np.testing.assert_allclose(back.numpy(), rows[:, :2], rtol=1e-4, atol=1e-2)
    order = np.argsort(rows[:, 0], kind="stable")
    assert (np.diff(frame.points(rows)[order, 0].numpy()) >= 0).all()


def test_a_prompt_as_tensors() -> None:
    prompt = Prompt(points=np.array([[10, 4, 1], [0, 8, 0]], np.float32), box=(0, 2, 20, 8))
    given_ = inputs(prompt, Frame((8, 20), (64, 40)), CPU)
    assert given_["input_points"].tolist() == [[[[20.0, 32.0], [0.0, 64.0]]]]
    assert given_["input_labels"].tolist() == [[[1, 0]]]
    assert given_["input_boxes"].tolist() == [[[0.0, 16.0, 40.0, 64.0]]]
    assert set(inputs(Prompt(box=(0, 0, 1, 1)), Frame((8, 20), (64, 40)), CPU)) == {"input_boxes"}


MASK = np.zeros((8, 20), np.bool_)
MASK[2:5, 3:9] = True
POINT = np.array([[4, 3, 1]], np.float32)


@pytest.mark.parametrize(
    ("prompt", "ambiguous"),
    [
        (Prompt(points=POINT), True),
        (Prompt(points=np.repeat(POINT, 2, 0)), False),
        (Prompt(points=POINT, box=(0, 0, 9, 8)), False),
        (Prompt(points=POINT, mask=MASK), False),
        (Prompt(box=(0, 0, 9, 8)), False),
    ],
)
def test_what_may_mean_several_things(prompt: Prompt, ambiguous: bool) -> None:
    assert is_ambiguous(prompt) is ambiguous


def test_a_mask_gets_its_box_where_it_is_alone() -> None:
    assert sharpened(Prompt(mask=MASK), "x").box == box_of(MASK) == (3, 2, 9, 5)
    clicked = Prompt(mask=MASK, points=POINT)
    assert sharpened(clicked, "x") is clicked
    assert sharpened(Prompt(mask=MASK & False, points=POINT), "x").kinds == {"points"}
    with pytest.raises(InputError, match="a mask with pixels for x"):
        sharpened(Prompt(mask=MASK & False), "x")


def test_a_mask_as_logits() -> None:
    made = logits(MASK)
    assert made.shape == (1, 1, 8, 20) and made.dtype == torch.float32
    assert ((made[0, 0] > 0).numpy() == MASK).all() and made.abs().unique().tolist() == [10]


def test_many_masks_are_enlarged_as_they_would_be_together() -> None:
    low = torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(1))
    together = F.interpolate(low[None], (33, 20), mode="bilinear", align_corners=False)[0] > 0.2
    assert torch.equal(enlarged(low, (33, 20), 0.2), together)
    assert enlarged(low[:0], (33, 20)).shape == (0, 33, 20)


def test_predicted_iou_is_kept_within_its_range() -> None:
    found = candidates(torch.from_numpy(MASK[None]).repeat(3, 1, 1), torch.tensor([1.02, -0.1, 0.5]))
    assert found.scores.tolist() == [1.0, 0.0, 0.5] and found.best == 0
