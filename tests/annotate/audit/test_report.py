"""The report on ratings: its figures, its worst items, what it says where there is nothing to say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from miras.annotate.audit.read import Rating
from miras.annotate.audit.report import FIGURES, figure_text, markdown, summarise
from miras.annotate.audit.sheets import SCALES, code_of
from miras.core.agreement import icc, krippendorff_alpha
from miras.core.errors import InputError
from miras.data.record import Record

SCORES = {
    "a": (5, 5, 4), "b": (1, 2, 1), "c": (4, 4, 5), "d": (1, 5, 3), "e": (3, 3, 3), "f": (2, 2, None),
}  # fmt: skip
"""Record id -> the scores of three raters, on every scale."""
RATERS = ("ann", "bo", "cy")


def record(id: str) -> Record:
    turns: list[Any] = [
        {"role": "user", "text": f"Where is | *{id}*?", "content": [], "regions": []},
        {"role": "assistant", "text": "Here.", "content": [], "regions": []},
    ]
    kind = "absent" if id in "ab" else "edit"
    return {"id": id, "image_id": f"photo-{id in 'abc'}", "image": f"/data/{id}.jpg", "height": 6, "width": 9,
            "split": "", "source": "coco", "kind": kind, "hops": 1, "focus": "cup", "turns": turns,
            "meta": {}}  # fmt: skip


def ratings(scores: dict[str, tuple[int | None, ...]] | None = None, masks: bool = False) -> list[Rating]:
    made = []
    for id, given in (SCORES if scores is None else scores).items():
        for column, (rater, score) in enumerate(zip(RATERS, given, strict=False)):
            if score is not None:
                drawn = np.zeros((6, 9), bool)
                drawn[: 2 + column, :4] = True
                made.append(
                    Rating(code_of(id), rater, dict.fromkeys(SCALES, score), "odd" if score == 1 else "",
                           drawn if masks and id in "ac" else None)
                )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return summarise(ratings(), [record(id) for id in "abcdefxyz"], n=200, worst=2)


def test_figures_are_those_of_the_table(summary: dict[str, Any]) -> None:
    columns = np.array([[np.nan if s is None else s for s in given] for given in SCORES.values()], float).T
    scale = summary["scales"]["fluency"]
    assert scale["alpha_ordinal"]["value"] == pytest.approx(krippendorff_alpha(columns, "ordinal"), abs=1e-4)
    assert scale["alpha_interval"]["value"] == pytest.approx(krippendorff_alpha(columns, "interval"), abs=1e-4)
    assert scale["icc_2_k"]["value"] == pytest.approx(icc(columns[:, :5]), abs=1e-4)
    assert scale["mean"]["value"] == pytest.approx(np.nanmean(columns, axis=0).mean(), abs=1e-4)
    assert scale["ratings"] == 17
    assert [pair["items"] for pair in scale["weighted_kappa"]] == [6, 5, 5]
    for figure in FIGURES:
        part = scale[figure]
        assert part["low"] <= part["value"] <= part["high"]
    assert (summary["items"], summary["photos"], summary["raters"]) == (6, 2, list(RATERS))


def test_kinds(summary: dict[str, Any]) -> None:
    assert {kind: part["items"] for kind, part in summary["kinds"].items()} == {"absent": 2, "edit": 4}
    absent = summary["kinds"]["absent"]["mask_fit"]
    assert absent["value"] == pytest.approx((14 / 3 + 4 / 3) / 2, abs=1e-4)
    assert absent["low"] is None, "one photo gives no interval"


def test_the_worst_items_are_named(summary: dict[str, Any]) -> None:
    assert [item["id"] for item in summary["worst"]["lowest"]] == ["b", "f"]
    assert [item["id"] for item in summary["worst"]["spread"]] == ["d", "b"]
    worst = summary["worst"]["spread"][0]
    assert (worst["spread"], worst["mean"], worst["scores"]["fluency"]) == (4, 3.0, {"ann": 1, "bo": 5, "cy": 3})
    assert worst["conversation"][1] == ["Assistant", "Here."]
    assert worst["comments"] == {"ann": "odd"} and worst["image"] == "d.jpg"


def test_the_page_says_what_the_summary_holds(summary: dict[str, Any]) -> None:
    page = markdown(summary, "Audit of x")
    assert page.startswith("# Audit of x\n\n6 items of 2 photos, 3 raters (ann, bo, cy), 17 ratings")
    for head in ("## Scales", "## Pairs of raters", "## By kind: means", "## Lowest means", "## Raters furthest apart"):
        assert head in page
    assert "## Masks" not in page
    assert f"| mask_fit | 17 | {figure_text(summary['scales']['mask_fit']['mean'])} |" in page
    assert "> **User:** Where is \\| \\*d\\*?" in page
    tables = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(tables) == 1 + 4 + 1 + 12 + 1 + 2 + 4 * 5
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_masks_that_raters_drew() -> None:
    masks = summarise(ratings(masks=True), [record("a"), record("c")], n=50)["masks"]
    assert (masks["items"], masks["pairs"], masks["of_unequal_size"]) == (2, 6, [])
    assert masks["iou"]["value"] == pytest.approx((2 / 3 + 2 / 4 + 3 / 4) / 3, abs=1e-4)
    assert masks["boundary_f"]["value"] > masks["iou"]["value"]
    odd = [
        *ratings(masks=True),
        Rating(code_of("b"), "dy", {}, "", np.ones((3, 3), bool)),
        Rating(code_of("b"), "ed", {}, "", np.ones((4, 4), bool)),
    ]
    result = summarise(odd, n=50)
    assert result["masks"]["of_unequal_size"] == [code_of("b")] and result["masks"]["items"] == 2
    assert f"different sizes: {code_of('b')}." in markdown(result)
    unequal = summarise(odd[-2:], n=50)
    assert unequal["masks"]["iou"] == {"value": None, "low": None, "high": None}
    assert unequal["worst"] == {"lowest": [], "spread": []}


@pytest.mark.parametrize(
    "scores",
    [{"a": (3,), "b": (4,)}, {"a": (3, 3, 3), "b": (3, 3, 3)}, {"a": (1, 5)}, {"a": (5,), "b": (None, 1)}],
    ids=["one rater", "all alike", "one item", "nothing in common"],
)
def test_figures_that_are_not_defined_are_dashes(scores: dict[str, tuple[int | None, ...]]) -> None:
    result = summarise(ratings(scores), n=20)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["scales"]["fluency"]["icc_2_k"]["value"] is None
    assert result["scales"]["fluency"]["mean"]["value"] is not None
    row = next(line for line in markdown(result).splitlines() if line.startswith("| fluency"))
    assert row.endswith("| - |")


def test_without_records_an_item_is_its_own_photo() -> None:
    result = summarise(ratings(), n=20)
    assert result["photos"] == 6 and result["kinds"] == {}
    assert "conversation" not in result["worst"]["lowest"][0]
    assert "User:" not in markdown(result)


def test_photos_are_the_clusters() -> None:
    """With all items of one photo there is no interval; with each on its own there is."""
    records = [{**record(id), "image_id": "same"} for id in SCORES]
    assert summarise(ratings(), records, n=20)["scales"]["fluency"]["mean"]["low"] is None  # type: ignore[arg-type]
    assert summarise(ratings(), n=20)["scales"]["fluency"]["mean"]["low"] is not None


def test_no_rating_is_bad_input() -> None:
    with pytest.raises(InputError, match="at least one rating"):
        summarise([])
