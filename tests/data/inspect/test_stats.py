"""Figures of a dataset, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.core.masks import encode_rle
from miras.data.inspect.stats import AREA_EDGES, final_region, is_fine_grained, statistics, table, target_share
from miras.data.record import Record
from tests.data.made import singles, talk


def sized(folder: Path, pixels: int, phrase: str = "cup", **changes: Any) -> Record:
    """One exchange about a target of so many of 100 x 100 pixels."""
    record: Any = singles(folder)[0]
    mask = np.zeros((100, 100), np.bool_)
    mask.flat[:pixels] = True
    record["turns"][1]["regions"][0] |= {"rle": encode_rle(mask), "phrase": phrase}
    return {**record, "focus": phrase, "image_id": f"{pixels} {phrase}", **changes}  # type: ignore[return-value]


def test_counts(tmp_path: Path) -> None:
    one = talk(tmp_path / "a.jpg")
    record: Any = {**singles(tmp_path, "val")[0], "kind": "single", "hops": 1}
    figures = statistics([one, record, {**one, "id": "b", "split": "train"}])
    counts = {"conversations": 3, "images": 2, "utterances": 14, "masks": 5, "targets": 3, "duplicates": 1}
    assert {key: figures[key] for key in counts} == counts
    assert figures["turns"] == {"1": 1, "3": 2}
    assert figures["kinds"] == {"edit": 2, "single": 1}
    assert figures["hops"] == {"1": 1, "2": 2}
    assert figures["splits"] == {"": 1, "train": 1, "val": 1}
    assert figures["sources"] == {"made": 3}
    assert figures["operators"] == {"replace": 3, "add": 2}
    assert figures["distinct_questions_share"] == 4 / 7
    assert figures["question_words"]["histogram"] == {"3": 2, "4": 5}
    assert figures["answer_words"]["mean"] == pytest.approx(
        (2 * (3 + 1 + 3) + len(record["turns"][1]["text"].split())) / 7
    )
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@pytest.mark.parametrize(
    ("pixels", "phrase", "meta", "fine"),
    [
        (500, "cup", {}, False),
        (499, "cup", {}, True),
        (5000, "handle of the cup", {}, True),
        (5000, "Handle Of The cup", {}, True),
        (5000, "cup of tea", {}, False),
        (5000, "cup", {"part": True}, True),
        (5000, "top of the hill", {"part": False}, False),
        (10, "top of the hill", {"part": False}, True),
    ],
)
def test_fine_grained(tmp_path: Path, pixels: int, phrase: str, meta: dict[str, Any], fine: bool) -> None:
    record = sized(tmp_path, pixels, phrase, meta=meta)
    assert target_share(record) == pixels / 10_000
    assert is_fine_grained(record, pixels / 10_000) == fine
    figures = statistics([record, sized(tmp_path, 9000)])
    assert figures["fine_grained_share"] == (0.5 if fine else 0)


def test_sizes_of_targets(tmp_path: Path) -> None:
    figures = statistics(sized(tmp_path, pixels) for pixels in (1, 50, 500, 1000, 10_000))["target_share"]
    assert figures["mean"] == pytest.approx(0.23102)
    assert figures["quantiles"]["0.5"] == 0.05
    counted = {float(edge): count for edge, count in figures["histogram"].items() if count}
    assert counted == {0.0001: 1, 0.005: 1, 0.05: 1, 0.1: 1, 0.5: 1}
    assert (len(figures["histogram"]), 0.05 in AREA_EDGES) == (len(AREA_EDGES) - 1, True)


def test_the_final_target(tmp_path: Path) -> None:
    record = talk(tmp_path / "a.jpg")
    for focus, phrase in (("hole", "hole"), ("block", "block"), ("", "hole"), ("stone", "hole")):
        region = final_region({**record, "focus": focus})
        assert region is not None
        assert region["phrase"] == phrase
    refusal: Any = {**record, "turns": record["turns"][4:], "focus": "", "kind": "absent"}
    assert (final_region(refusal), target_share(refusal)) == (None, None)
    assert target_share({**record, "focus": "", "kind": "absent"}) is None
    assert statistics([refusal, {**record, "focus": "", "kind": "absent"}])["targets"] == 0
    broken: Any = {**record, "turns": [{**record["turns"][1], "regions": [
        {"id": 1, "phrase": "x", "operator": "add", "rle": {"size": [2, 2], "counts": "??"}}]}]}  # fmt: skip
    assert target_share(broken) is None


def test_long_utterances_share_a_bar(tmp_path: Path) -> None:
    record: Any = talk(tmp_path / "a.jpg")
    record["turns"] = [{**record["turns"][0], "text": "word " * 500}]
    assert statistics([record])["question_words"]["histogram"] == {"40+": 1}


def test_the_table_says_it_all(tmp_path: Path) -> None:
    lines = table(statistics([talk(tmp_path / "a.jpg")])).splitlines()
    assert lines[0].split() == ["conversations", "1"]
    assert any(line.startswith("turns ") and line.endswith("3: 1") for line in lines)
    assert any(line.startswith("splits ") and line.endswith("(none): 1") for line in lines)
    assert len({line.index(line.split("  ", 1)[1].strip()) for line in lines}) == 1


def test_nothing_at_all() -> None:
    figures = statistics([])
    assert (figures["conversations"], figures["fine_grained_share"], figures["target_share"]["mean"]) == (0, None, None)
    assert "fine-grained targets" in table(figures)
