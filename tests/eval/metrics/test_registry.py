"""A metric is one line: where it then stands, and that the figures are what their parts sum to."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.eval.compare.page import markdown
from miras.eval.compare.runs import compare
from miras.eval.metrics import pixels
from miras.eval.metrics.registry import METRICS, Metric, compared, grouped
from miras.eval.report import page
from miras.eval.runs import samples, summary
from tests.eval.compare.test_runs import rows_of, write_run

NEW = Metric("P@0.3", lambda turn: (turn.iou or 0.0) > 0.3, meaning="share of turns with IoU above 0.3")


def test_a_new_metric_stands_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "p30", NEW)
    runs = [write_run(tmp_path / name, rows_of(both)) for name, both in (("a", (40, 20, 4, 0)), ("b", (40, 4, 4, 0)))]
    told = summary.write(runs[0])
    assert told["p30"] == 50.0 and len(told["intervals"]["p30"]) == 2
    assert {line["p30"] for line in told["by"]["kind"]} == {50.0}
    assert "P@0.3" in page.write(runs[0]).read_text() and NEW.meaning in page.write(runs[0]).read_text()
    found = compare(runs, draws=100)
    assert found["pairs"][0]["figures"]["p30"]["value"] == 25.0 and "P@0.3" in markdown(found)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.corpus is not None])
def test_published_definitions_are_the_quotients_of_their_sums(name: str) -> None:
    """What is told and what is drawn again for its interval are one figure."""
    metric, rows = METRICS[name], rows_of((40, 33, 25, 21, 20, 8, 0))
    whole = sum(metric.whole(row) for row in rows)
    quotient = metric.scale * sum(metric.part(row) for row in rows) / whole
    assert metric.over(rows) == pytest.approx(quotient)
    counted = pixels.summary([overlap for row in rows if (overlap := row.overlap) is not None])
    assert metric.over(rows) == pytest.approx(counted[name])
    assert metric.over([]) is None


def test_which_are_told_and_which_are_tested() -> None:
    assert [name for name in METRICS if name not in grouped()] == ["refusals", "false_refusals", "operators_obeyed"]
    assert [*compared()] == [
        "giou", "ciou", "p50", "boundary_iou", "refusals", "false_refusals", "operators_obeyed"
    ]  # fmt: skip
    assert {name for name, metric in METRICS.items() if metric.lower_is_better} == {"no_mask_rate", "false_refusals"}


def test_an_interval_holds_its_figure(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows_of((40, 33, 25, 21, 20, 8, 0)))
    told = summary.figures(samples.read(run / samples.FILE))
    assert set(told["intervals"]) == {name for name, metric in grouped().items() if metric.interval}
    assert all(low <= told[name] <= high for name, (low, high) in told["intervals"].items())
