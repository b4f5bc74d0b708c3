"""Coordinates by family: which a model's name means, and pixels of the photo by them and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.chat.composed.families import FAMILIES, OTHER, Grid, family_of, grid_of, seen_size

NAMES = [
    ("Qwen/Qwen3-VL-4B-Instruct", "Qwen3-VL"),
    ("qwen3-vl:8b", "Qwen3-VL"),
    ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL"),
    ("qwen2.5vl:7b", "Qwen2.5-VL"),
    ("qwen2_5_vl", "other"),
    ("Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL"),
    ("OpenGVLab/InternVL3_5-8B-HF", "InternVL"),
    ("zai-org/GLM-4.5V", "GLM-V"),
    ("gemini-2.5-flash", "Gemini"),
    ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "LLaVA-OneVision"),
    ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "SmolVLM"),
    ("gpt-5", "other"),
    ("", "other"),
]


@pytest.mark.parametrize(("model", "family"), NAMES)
def test_a_models_family(model: str, family: str) -> None:
    assert family_of(model).name == family


def test_every_family_names_where_it_is_documented() -> None:
    assert all(family.documentation for family in (*FAMILIES, OTHER))
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize(
    ("model", "answered", "pixels"),
    [
        ("qwen3-vl", [250, 500, 500, 1000], (200, 300, 400, 600)),
        ("qwen2.5vl", [196, 294, 392, 588], (200, 300, 400, 600)),
        ("gemini-3", [500, 250, 1000, 500], (200, 300, 400, 600)),
    ],
)
def test_a_box_in_a_familys_own_coordinates(model: str, answered: list[int], pixels: tuple[int, ...]) -> None:
    """Of a photo of 800 x 600 pixels, which Qwen2.5-VL sees at 784 x 588."""
    family = family_of(model)
    seen = seen_size(family, (600, 800), 1024)
    assert seen == ((588, 812) if family.pixels else (600, 800))
    grid = grid_of(family, seen)
    scaled = [round(side * 812 / 784) if family.pixels and place % 2 == 0 else side
              for place, side in enumerate(answered)]  # fmt: skip
    assert grid.box(scaled, (600, 800)) == pytest.approx(pixels, abs=1.0)
    assert grid.answer(pixels, (600, 800)) == pytest.approx(scaled, abs=1)  # type: ignore[arg-type]


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 2048), st.sampled_from((*FAMILIES, OTHER)))
def test_what_is_seen_fits(height: int, width: int, most: int, family: object) -> None:
    seen = seen_size(family, (height, width), most)  # type: ignore[arg-type]
    step = family.multiple  # type: ignore[attr-defined]
    assert all(side % step == 0 and 1 <= side <= max(most, step) for side in seen)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.integers(1, 4000), st.integers(1, 4000))
def test_a_box_stays_inside_the_photo(sides: list[int], height: int, width: int) -> None:
    box = [min(sides[0], sides[2]), min(sides[1], sides[3]), max(sides[0], sides[2]), max(sides[1], sides[3])]
    x1, y1, x2, y2 = Grid().box(box, (height, width))
    assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
