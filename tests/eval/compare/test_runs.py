from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from miras.core.errors import InputError
from miras.eval.compare.page import forest_svg, html, markdown
from miras.eval.compare.runs import compare
from miras.eval.runs import samples, summary
from miras.eval.runs.samples import Row
from tests.eval.runs.test_samples import row

DATA = {"data": "d1", "format": "jsonl", "split": "val", "history": "own", "limit": None, "seed": 0}


def write_run(folder: Path, rows: Sequence[Row], **settings: Any) -> Path:
    """A run as `miras eval` leaves it."""
    folder.mkdir(parents=True)
    samples.append(folder / samples.FILE, rows)
    about = {"settings": {"model": folder.name, **DATA, **settings}, "commit": "abc"}
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def scored(record: str, both: int, **changes: Any) -> Row:
    """A photo of its own; `both` of 40 pixels right, none too many."""
    counts = {"intersection": both, "predicted": both, "gold": 40, "union": 40, "iou": both / 40}
    band = {
        "band_intersection": both // 2,
        "band_predicted": both // 2,
        "band_gold": 40,
        "boundary_iou": both // 2 / 40,
    }
    return row(record, photo=record, **{**counts, **band, "region_iou": both / 40, "score": 0.5, **changes})


def rows_of(pixels: Sequence[int], **changes: Any) -> list[Row]:
    return [scored(f"r{number}", both, **changes) for number, both in enumerate(pixels)]


ONE, TWO = [40, 30, 20, 10, 36, 32], [20, 30, 10, 12, 16, 22]
REFUSED = {"graded": False, "phrase": "", "gold": None, "iou": None, "intersection": None, "union": None,
           "predicted": None, "region_iou": None, "score": None, "boundary_iou": None, "operator_wanted": "reject",
           "refused_wanted": True}  # fmt: skip


@pytest.fixture(autouse=True)
def origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git, which takes longer than all else here."""
    monkeypatch.setattr(summary, "provenance", lambda: {"commit": "abc"})


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "one", [*rows_of(ONE), scored("n", 0, **REFUSED, refused=True)]),
        write_run(tmp_path / "two", [*rows_of(TWO), scored("n", 0, **REFUSED, refused=False)]),
    ]


def test_figures_are_those_of_the_summary(runs):
    result = compare(runs, draws=500)
    for run, told in zip(runs, result["runs"], strict=True):
        known = summary.figures(samples.read(run / samples.FILE))
        known |= {"ece": known["calibration"]["ece"], "refusals": known["refusals"]["right"],
                  "false_refusals": known["false_refusals"]["rate"]}  # fmt: skip
        for name, figure in told["figures"].items():
            assert figure["value"] == pytest.approx(known[name]), name
        assert set(told["figures"]) == {"giou", "ciou", "p50", "boundary_iou", "refusals", "false_refusals", "ece"}
    assert result["shared"] == {"rows": 7, "samples": 6, "photos": 7}


def test_a_pair_by_hand(runs):
    """Differences 20, 0, 10, -2, 20, 10 of 40 pixels: of 32 swaps 4 are as far apart (-2 either way, both signs)."""
    result = compare(runs, draws=500)
    (pair,) = result["pairs"]
    giou = pair["figures"]["giou"]
    assert giou["value"] == pytest.approx(100 * 58 / 240) == pair["figures"]["ciou"]["value"]
    assert giou["p"] == pytest.approx(4 / 32) == pair["figures"]["ciou"]["p"]
    assert (giou["wins"], giou["ties"], giou["losses"]) == (4, 1, 1)
    assert "wins" not in pair["figures"]["ciou"]
    assert giou["bca"][0] < giou["value"] < giou["bca"][1]
    assert "p" not in pair["figures"]["ece"]
    assert pair["kinds"]["progressive"]["value"] == giou["value"]
    assert result["families"]["figures"] == {
        "tests": 6, "pairs": 1, "of": ["boundary_iou", "ciou", "false_refusals", "giou", "p50", "refusals"],
    }  # fmt: skip
    assert giou["p_holm"] == pytest.approx(6 * 4 / 32)
    assert [line["record"] for line in pair["largest"]["a"]] == ["r0", "r4", "r2", "r5"]
    assert [(line["record"], line["a"], line["b"]) for line in pair["largest"]["b"]] == [("r3", 0.25, 0.3)]
    json.dumps(result, allow_nan=False)


def test_three_runs_share_one_family(runs, tmp_path):
    third = write_run(tmp_path / "three", [*rows_of(TWO), scored("n", 0, **REFUSED, refused=False)])
    result = compare([*runs, third], draws=500)
    assert [(pair["a"], pair["b"]) for pair in result["pairs"]] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert result["families"]["figures"]["tests"] == 18
    assert result["families"]["kinds"]["tests"] == 3
    alike = result["pairs"][2]["figures"]["giou"]
    assert (alike["value"], alike["p"], alike["p_holm"], alike["bca"]) == (0, 1, 1, (0, 0))


def test_rows_of_one_run_only_are_named_and_left_out(tmp_path):
    one = write_run(tmp_path / "one", rows_of(ONE))
    two = write_run(tmp_path / "two", rows_of(TWO)[1:], limit=5)
    result = compare([one, two], draws=500)
    assert result["left_out"]["missing"] == {"B": {"n": 1, "named": ["r0, turn 1"]}}
    assert result["shared"]["samples"] == 5
    assert result["runs"][0]["figures"]["giou"]["value"] == pytest.approx(100 * sum(ONE[1:]) / 200)
    assert any("limit differs: A None, B 5" in note for note in result["notes"])


def test_what_the_data_is_at_fault_for_is_left_out_of_both(tmp_path):
    faulty = {"gold": None, "iou": None, "fault": "gone", "blame": "data", "phrase": "", "operator_wanted": None}
    one = write_run(tmp_path / "one", [*rows_of(ONE[:-1]), scored("r5", 0, **faulty)])
    two = write_run(tmp_path / "two", rows_of(TWO))
    result = compare([one, two], draws=500)
    assert result["left_out"]["data"] == {"n": 1, "named": ["r5, turn 1"]}
    assert result["shared"]["samples"] == 5


def test_a_fault_of_the_system_counts_as_nothing(tmp_path):
    missed = {"predicted": 0, "has_mask": False, "fault": "no answer", "blame": "system", "score": None}
    one = write_run(tmp_path / "one", [scored("r0", 0, **missed), *rows_of(ONE)[1:]])
    result = compare([one, write_run(tmp_path / "two", rows_of(TWO))], draws=500)
    assert result["runs"][0]["figures"]["giou"]["value"] == pytest.approx(100 * (sum(ONE) - 40) / 240)
    assert result["pairs"][0]["figures"]["ece"]["n"] == 5  # scored by both


def broken(tmp_path: Path, name: str) -> list[Path]:
    """Two runs with something wrong."""
    one = write_run(tmp_path / "one", rows_of(ONE))
    two = tmp_path / "two"
    if name == "other data":
        return [one, write_run(two, rows_of(TWO), data="d2", split="test", limit=7)]
    if name == "other history":
        return [one, write_run(two, rows_of(TWO, history="gold"), history="gold")]
    if name == "other target":
        return [one, write_run(two, [scored("r0", 20, gold=39), *rows_of(TWO)[1:]])]
    if name == "nan":
        return [one, write_run(two, rows_of(TWO))] if not _with_nan(two) else [one, two]
    if name == "twice":
        return [one, write_run(two, [*rows_of(TWO), *rows_of(TWO[:1])])]
    if name == "nothing shared":
        return [one, write_run(two, [scored("x", 3)])]
    if name == "no rows":
        return [one, write_run(two, [])]
    if name == "not json":
        write_run(two, rows_of(TWO)).joinpath("run.json").write_text("{")
        return [one, two]
    if name == "no digest":
        write_run(two, rows_of(TWO)).joinpath("run.json").write_text('{"settings": {"model": "m"}}')
        return [one, two]
    return {"same": [one, one], "single": [one], "missing": [one, two]}[name]


def _with_nan(folder: Path) -> bool:
    file = write_run(folder, rows_of(TWO)) / samples.FILE
    file.write_text(file.read_text().replace('"iou": 0.5,', '"iou": NaN,', 1))
    return "NaN" in file.read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other data", ["data d1", "d2", "split val", "test", "limit None", "7"]),
        ("other history", ["history own", "gold"]),
        ("other target", ["gold of r0, turn 1", "40", "39"]),
        ("nan", ["iou from 0 to 1", "nan in r0, turn 1"]),
        ("twice", ["r0, turn 1 twice"]),
        ("nothing shared", ["none of 7"]),
        ("no rows", ["rows in", "none"]),
        ("not json", ["run.json", "no JSON"]),
        ("no digest", ["digest of the data"]),
        ("same", ["the same folder twice"]),
        ("single", ["2 to 26 runs", "got 1"]),
        ("missing", ["run.json", "No such file"]),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path, name, said):
    with pytest.raises(InputError) as caught:
        compare(broken(tmp_path, name), draws=100)
    assert [text for text in said if text not in str(caught.value)] == []


def test_what_is_read_is_escaped(tmp_path):
    bad = "<script>|x\n"
    one = write_run(tmp_path / "one", [*rows_of(ONE), scored("r|<b>", 40, kind=bad, user=bad)], model=bad)
    two = write_run(tmp_path / "two", [*rows_of(TWO), scored("r|<b>", 10, kind=bad, user=bad)], model=bad)
    result = compare([one, two], draws=200)
    page, text, drawn = html(result), markdown(result), forest_svg(result)
    assert "<script>" not in page + text + drawn
    assert "&lt;script&gt;" in page and "r|&lt;b&gt;" in page
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} <= {4, 5, 9}
    assert any("&lt;script&gt;\\|x" in line for line in tables)
    root = ElementTree.fromstring(drawn)
    assert len(root.findall(".//{*}title")) == len(result["pairs"][0]["figures"])


def test_the_same_seed_gives_the_same_numbers(runs):
    first, again, other = (compare(runs, draws=300, seed=seed)["pairs"][0] for seed in (1, 1, 2))
    assert first == again
    assert first["figures"]["giou"]["value"] == other["figures"]["giou"]["value"]
    assert first["figures"]["giou"]["percentile"] != other["figures"]["giou"]["percentile"]
