"""What is a prompt, what are candidates; what is refused, and how."""

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.core.segmenter import PROMPTS, Candidates, Prompt

ALL = frozenset(PROMPTS)
CLICKS = frozenset({"points", "box"})
MASK = np.zeros((4, 6), np.bool_)


def test_a_prompt_says_what_it_holds_and_keeps_its_own_numbers() -> None:
    rows = [(1, 2, 1), (3, 4, 0)]
    prompt = Prompt(phrase="the cup", points=rows, box=[0, 1, 5, 4], mask=MASK)  # type: ignore[arg-type]
    assert prompt.kinds == {"phrase", "points", "box", "mask"}
    assert prompt.points is not None
    assert prompt.points.dtype == np.float32
    assert prompt.points.tolist() == [[1, 2, 1], [3, 4, 0]]
    assert prompt.box == (0.0, 1.0, 5.0, 4.0)
    assert prompt.fits((4, 6), ALL, "all") is prompt


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "none of them"),
        ({"phrase": "  "}, "a phrase with words"),
        ({"points": np.zeros((0, 3))}, "points as rows"),
        ({"points": [(1, 2)]}, "points as rows"),
        ({"points": [(1, 2, 2)]}, "label 1 (inside) or 0 (outside)"),
        ({"points": [(float("nan"), 2, 1)]}, "finite"),
        ({"points": "here"}, "points as numbers"),
        ({"box": (1, 2, 3)}, "a box (x1, y1, x2, y2)"),
        ({"box": (3, 0, 3, 2)}, "x1 < x2"),
        ({"mask": np.full((4, 6), 0.5)}, "a mask"),
    ],
)
def test_what_is_no_prompt(given: dict[str, object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        Prompt(**given)  # type: ignore[arg-type]
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("given", "takes", "says"),
    [
        ({"points": [(6.5, 1, 1)]}, ALL, "points inside the photo, 6 x 4 pixels, got (6.5, 1)"),
        ({"points": [(1, -1, 1)]}, ALL, "got (1, -1)"),
        ({"box": (0, 0, 7, 4)}, ALL, "a box inside the photo, 6 x 4 pixels, got (0, 0, 7, 4)"),
        ({"mask": MASK.T}, ALL, "a mask of shape (4, 6), got shape (6, 4)"),
        ({"phrase": "cup", "box": (0, 0, 1, 1)}, CLICKS, "a prompt that sam2:x takes: points, box, got phrase; take y"),
    ],
)
def test_what_does_not_fit(given: dict[str, object], takes: frozenset[str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        Prompt(**given).fits((4, 6), takes, "sam2:x", "take y")  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_the_border_of_the_photo_is_inside() -> None:
    prompt = Prompt(points=np.array([[0, 0, 1], [6, 4, 0]], np.float32), box=(0, 0, 6, 4))
    assert prompt.fits((4, 6), CLICKS, "x") is prompt


def test_the_best_is_the_first_of_the_highest() -> None:
    masks = np.stack([MASK, ~MASK, MASK])
    candidates = Candidates(masks, np.array([0.2, 0.9, 0.9], np.float32))
    assert (candidates.best, len(candidates)) == (1, 3)
    assert candidates.mask.all()
    assert candidates.score == pytest.approx(0.9)


def test_no_candidates_are_an_answer() -> None:
    none = Candidates(np.zeros((0, 4, 6), np.bool_), np.zeros(0, np.float32), presence=0.1)
    assert (len(none), none.score, none.mask.shape, none.mask.any()) == (0, 0.0, (4, 6), False)
    with pytest.raises(InputError, match="at least one candidate"):
        _ = none.best


@pytest.mark.parametrize(
    ("masks", "scores", "presence"),
    [
        (MASK, np.zeros(1, np.float32), None),
        (MASK[None].astype(np.uint8), np.zeros(1, np.float32), None),
        (MASK[None], np.zeros(2, np.float32), None),
        (MASK[None], np.zeros(1), None),
        (MASK[None], np.array([1.5], np.float32), None),
        (MASK[None], np.array([np.nan], np.float32), None),
        (MASK[None], np.zeros(1, np.float32), 2.0),
    ],
)
def test_what_are_no_candidates(masks: np.ndarray, scores: np.ndarray, presence: float | None) -> None:
    with pytest.raises(InputError):
        Candidates(masks, scores, presence)
