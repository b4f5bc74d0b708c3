from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle, polygons_to_mask
from miras.core.types import Mask
from miras.eval.report import gallery
from miras.eval.runs.samples import Row
from tests.eval.runs.test_samples import row

SCRIPT = '<script>alert("x")</script>'


def transcript(record: str, iou: float | None, photo: str | None = None) -> list[Row]:
    return [row(record, photo=photo or record, iou=iou, gold=None if iou is None else 40)]


def held(*ious: float | None, photo: str | None = None) -> list[gallery.Transcript]:
    return gallery.transcripts(row for place, iou in enumerate(ious) for row in transcript(f"r{place}", iou, photo))


def names(chosen: list[gallery.Transcript]) -> list[str]:
    return [one.rows[0].record for one in chosen]


def masked(size: tuple[int, int], *corners: int) -> Mask:
    mask = np.zeros(size, np.bool_)
    top, left, bottom, right = corners
    mask[top:bottom, left:right] = True
    return mask


# Which


def test_a_conversation_is_its_turns_in_order_and_the_mean_of_those_with_a_target():
    rows = [row(turn=2, iou=0.5), row(turn=1, iou=1.0), row(turn=3, iou=1.0, gold=0), row(turn=4, iou=None)]
    rows += [row("alone", history="alone"), row("bad", blame="data", fault="no photo")]
    (only,) = gallery.transcripts(rows)
    assert [one.turn for one in only.rows] == [1, 2, 3, 4]
    assert only.mean == 0.75
    assert gallery.transcripts([row(gold=None, iou=None)])[0].mean is None


def test_best_and_worst_are_of_those_that_were_not_drawn():
    transcripts = held(*(place / 29 for place in range(30)))
    chosen = gallery.choose(transcripts, 4, seed=1)
    drawn = {name for group in chosen.values() for name in names(group)}
    assert [len(chosen[role]) for role in gallery.ROLES] == [4, 4, 4]
    assert len(drawn) == 12
    left = [one for one in transcripts if one not in chosen["random"]]
    assert chosen["best"] == left[:-5:-1]
    assert chosen["worst"] == left[:4]


def test_the_random_ones_do_not_hang_on_figures():
    up, down = (gallery.choose(held(*ious), 3, seed=5) for ious in ([0.1] * 9 + [0.9], [0.9] + [0.1] * 9))
    assert names(up["random"]) == names(down["random"])
    other = [names(gallery.choose(held(*[0.5] * 10), 3, seed=seed)["random"]) for seed in range(5)]
    assert len({tuple(one) for one in other}) > 1


@pytest.mark.parametrize(
    ("ious", "counts"),
    [([], [0, 0, 0]), ([0.5], [1, 0, 0]), ([0.5, 0.6], [1, 1, 0]), ([None] * 9, [3, 0, 0]), ([0.5] * 5, [1, 1, 1])],
)
def test_few_conversations(ious: list[float | None], counts: list[int]):
    chosen = gallery.choose(held(*ious), 6)
    assert [len(chosen[role]) for role in gallery.ROLES] == counts


def test_photos_differ_where_there_are_enough():
    rows = [r for place in range(20) for r in transcript(f"r{place}", 0.9, "same")]
    rows += [r for place in range(5) for r in transcript(f"s{place}", 0.1 * place, f"p{place}")]
    chosen = gallery.choose(gallery.transcripts(rows), 2, seed=3)
    photos = [one.photo for group in chosen.values() for one in group]
    assert len(set(photos)) == 6
    assert len(gallery.choose(held(*[0.5] * 9, photo="same"), 3)["best"]) == 3


def test_no_conversation_of_each_sort():
    with pytest.raises(InputError, match="at least 1"):
        gallery.choose([], 0)


# Photos


def test_photos_are_found_where_the_row_says_or_in_the_folder(tmp_path: Path):
    file = tmp_path / "photos" / "cars" / "a.jpg"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    for image in (str(file), "/gone/photos/cars/a.jpg", "cars/a.jpg", "../cars/a.jpg"):
        assert gallery.find(image, tmp_path / "photos") == file
    assert gallery.find("cars/a.jpg", None) is None
    for image in ("", "b.jpg", "a\0b", "x" * 5000):
        assert gallery.find(image, tmp_path / "photos") is None


@pytest.mark.parametrize(
    ("size", "content", "said"),
    [
        ((60, 80), None, "photo not found: p.jpg"),
        ((60, 80), b"no photo", "photo not readable: p.jpg"),
        ((50, 80), "photo", "photo of another size: p.jpg (60 x 80 instead of 50 x 80)"),
        ((60, 80), "photo", ""),
    ],
)
def test_a_photo_that_cannot_be_shown_is_named(tmp_path: Path, size: tuple[int, int], content: Any, said: str):
    file = tmp_path / "p.jpg"
    if content == "photo":
        Image.new("RGB", (80, 60), (200, 10, 10)).save(file)
    elif content is not None:
        file.write_bytes(content)
    found = gallery.scene(row(image=str(file), size=size))
    assert found.said.startswith(said)
    assert (found.url is None) == bool(said)
    assert found.size == size


def test_large_photos_are_made_small(tmp_path: Path):
    file = tmp_path / "p.png"
    Image.new("RGB", (960, 1440), (200, 10, 10)).save(file)
    found = gallery.scene(row(image=str(file), size=(1440, 960)))
    assert found.size == (480, 320)
    assert found.url is not None
    assert found.url.startswith("data:image/jpeg;base64,")
    assert len(found.url) < 20_000


# Masks


def rings_of(path: str) -> list[list[tuple[float, float]]]:
    """The corners of path data: M x y, then h and v steps, z."""
    rings = []
    for part in path.split("z")[:-1]:
        x, y = map(float, re.match(r"M(\S+) (-?[\d.]+)", part).groups())  # type: ignore[union-attr]
        ring = [(x, y)]
        for step, by in re.findall(r"([hv])(-?[\d.]+)", part):
            x, y = (x + float(by), y) if step == "h" else (x, y + float(by))
            ring.append((x, y))
        rings.append(ring)
    return rings


@settings(max_examples=40)
@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_an_outline_is_the_mask(mask: Mask):
    assert (polygons_to_mask(rings_of(gallery.outline(mask, mask.shape)), mask.shape) == mask).all()


def test_an_outline_of_noise_is_coarser_but_not_endless():
    noise = np.random.default_rng(0).random((240, 240)) > 0.5
    path = gallery.outline(noise, noise.shape)
    assert 0 < len(path) <= gallery.LONGEST_PATH
    assert max(x for ring in rings_of(path) for x, _ in ring) <= 240


def test_what_is_small_does_not_vanish():
    mask = masked((1000, 2000), 701, 1503, 702, 1504)
    small = gallery.shrunk(mask, (100, 200))
    assert np.argwhere(small).tolist() == [[70, 150]]
    assert not gallery.shrunk(np.zeros((1000, 2000), np.bool_), (100, 200)).any()


# A conversation


def shown(**changes: Any) -> str:
    mask = encode_rle(masked((60, 80), 10, 10, 50, 70))
    return gallery.card(gallery.transcripts([row(size=(60, 80), **{"rle": mask, "gold_rle": mask, **changes})])[0], 7)


def test_a_card_without_its_photo_has_the_masks_on_grey():
    html = shown()
    assert "photo not found: p.jpg" in html
    assert "<image" not in html
    assert html.count('class="picture"') == 2
    assert html.count('href="#photo-7"') == 2
    assert 'class="both"' in html
    assert 'class="missed"' not in html
    assert 'class="extra"' not in html
    assert html.count("aria-label") == 2


@pytest.mark.parametrize(
    ("got", "there"),
    [(None, {"missed"}), ((10, 10, 50, 40), {"both", "missed"}), ((0, 0, 60, 80), {"both", "extra"})],
)
def test_what_was_missed_and_what_is_too_much(got: Any, there: set[str]):
    html = shown(rle=None if got is None else encode_rle(masked((60, 80), *got)))
    assert {kind for kind in ("both", "missed", "extra") if f'class="{kind}"' in html} == there


@pytest.mark.parametrize(
    "changes",
    [
        {"rle": None, "gold_rle": None},
        {"rle": {"size": [60, 80], "counts": "broken"}, "gold_rle": None},
        {"rle": encode_rle(masked((5, 5), 0, 0, 5, 5)), "gold_rle": None},
    ],
)
def test_turns_without_a_mask_that_fits(changes: dict[str, Any]):
    assert "Nothing selected" in shown(**changes)


def test_turns_that_are_not_compared_show_only_what_is_selected():
    html = shown(gold_rle=None, iou=None)
    assert html.count('class="picture"') == 1
    assert "not compared" in html
    assert 'class="extra"' not in html


def test_small_targets_are_shown_closer():
    tiny = encode_rle(masked((60, 80), 30, 40, 32, 42))
    html = shown(rle=tiny, gold_rle=tiny)
    assert html.count('viewBox="0 0 80 60"') == 1
    (view,) = re.findall(r'viewBox="(\d+ \d+ 16 12)"', html)
    x, y, wide, high = map(int, view.split())
    assert x <= 40 < 42 <= x + wide
    assert y <= 30 < 32 <= y + high
    assert 'class="window"' in html
    assert 'class="window"' not in shown()


@pytest.mark.parametrize(
    "name", ["record", "user", "text", "gold_text", "kind", "source", "image", "operator_got", "fault", "photo"]
)
def test_everything_that_is_given_is_escaped(name: str):
    changes: dict[str, Any] = {name: SCRIPT, "blame": "system" if name == "fault" else None}
    if name == "photo":
        changes["image"] = ""
    html = shown(**changes)
    assert "<script" not in html
    assert "&lt;script&gt;" in html or "script&gt;" in html


def test_long_messages_are_cut():
    html = gallery.card(gallery.transcripts([row(user="a" * 5000, rle=None, gold_rle=None)])[0], 1)
    assert "3,800 more letters" in html
    assert "a" * (gallery.LONGEST_TEXT + 1) not in html


def test_pictures_can_be_left_out():
    only = gallery.transcripts([row()])[0]
    html = gallery.card(only, 1, pictures=False)
    assert "<svg" not in html
    assert "page is full" in html
    assert "Here." in html
