from __future__ import annotations

import json
import re
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.eval.report import page as report
from miras.eval.runs import samples, summary
from miras.eval.runs.samples import Row
from tests.eval.runs.test_samples import row
from tests.eval.runs.test_summary import NOTHING

SCRIPT = '<script>alert("x")</script>'
FULL = encode_rle(np.ones((20, 20), np.bool_))


class Page(HTMLParser):
    """Every tag with its attributes; raises nothing, but knows what was left open."""

    VOID = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def run_of(folder: Path, *rows: Row, **more: Any) -> Path:
    """A run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    samples.append(folder / samples.FILE, rows)
    if more:
        settings = {"format": "miras", "split": "val", "data": "d1"}
        (folder / "run.json").write_text(json.dumps({"settings": settings, **more}))
    summary.write(folder)
    return folder


def read(run: Path, **options: Any) -> str:
    text = report.write(run, **options).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "script" not in [tag for tag, _ in page.tags]
    assert not re.search(r"\b(nan|inf)\b|>None<|undefined", text)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            link = attributes.get(name)
            assert link is None or link.startswith(("#", "data:image/")), (tag, link)
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = {attributes["href"] for _, attributes in page.tags if (attributes.get("href") or "").startswith("#")}
    assert len(ids) == len(set(ids))
    assert {(link or "")[1:] for link in links} <= set(ids)
    return text


def plain(text: str) -> str:
    """Without tags, single spaces."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_a_run_with_photos(tmp_path: Path):
    photo = tmp_path / "p.jpg"
    Image.new("RGB", (20, 20), (10, 200, 10)).save(photo)
    rows = [
        row(f"r{place}", turn, photo=f"p{place}", image=str(photo), rle=FULL, gold_rle=FULL, kind=kind)
        for place, kind in enumerate(["progressive", "edit", "edit"] * 4) for turn in (1, 2)
    ]  # fmt: skip
    run = run_of(
        tmp_path / "run", *rows, command=["miras", "eval", "a folder"], commit="abc123", versions={"torch": "2"}
    )
    text = read(run, each=2)
    words = plain(text)
    for said in ("m: evaluation", "Commit abc123", "Command miras eval 'a folder'", "versions · torch 2", "Split val",
                 "Data format miras, digest d1", "own: the model's earlier answers",
                 "12 conversations, 12 photos, 24 turns; 24 turns compared by pixels", "gIoU 60.0 60.0 to 60.0",
                 "Random", "Best", "Worst", "ECE 0.000, n = 24", "6 of 12 conversations"):  # fmt: skip
        assert said in unescape(words), said
    assert text.count('href="data:image/jpeg') == 6
    assert text.count("<article") == 6
    assert text.count('class="chart"') == 6
    assert "n = 8" in text
    assert "n = 16" in text
    assert not list(run.glob("*.part"))
    assert not list(run.glob(".*.part"))


def test_equal_runs_give_equal_pages(tmp_path: Path):
    run = run_of(tmp_path / "run", *(row(f"r{place}", photo=f"p{place}") for place in range(12)))
    assert read(run, seed=3) == read(run, seed=3)
    assert read(run, seed=3, each=2) != read(run, seed=4, each=2)


def test_one_row(tmp_path: Path):
    words = plain(read(run_of(tmp_path / "run", row())))
    assert "None here: they need two photos." in words
    assert "photo not found: p.jpg" in words
    assert "1 of 1 conversations" in words


def test_no_graded_rows(tmp_path: Path):
    rows = [row(**{**NOTHING, "rle": None, "gold_rle": None}), row("s", **{**NOTHING, "refused_wanted": True})]
    words = plain(read(run_of(tmp_path / "run", *rows)))
    assert "there is nothing to compare by pixels" in words
    assert "Nothing to draw." in words
    assert "No groups." in words
    assert "Refusals: what is not in the photo is refused 0.0% 1" in words


def test_faults_are_all_named(tmp_path: Path):
    rows = [row()] + [row(f"bad{place}", fault="photo is missing", blame="data") for place in range(30)]
    words = plain(read(run_of(tmp_path / "run", *rows, unread=2)))
    assert all(f"bad{place}, turn 1 (own), of the data: photo is missing" in words for place in range(30))
    assert "30 turns at fault by the data" in words
    assert "2 records that could not be read" in words


def test_only_faults(tmp_path: Path):
    words = plain(read(run_of(tmp_path / "run", row(fault="mask is empty", blame="data"))))
    assert "No conversation was held." in words
    assert "mask is empty" in words


@pytest.mark.parametrize(
    "name",
    ["record", "photo", "image", "source", "split", "kind", "model", "user", "text", "gold_text", "phrase", "fault"],
)
def test_what_the_data_says_is_only_words(tmp_path: Path, name: str):
    changes: dict[str, Any] = {name: SCRIPT, "blame": "system" if name == "fault" else None}
    text = read(run_of(tmp_path / "run", row(**changes), command=["miras", SCRIPT], versions={SCRIPT: SCRIPT}))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_dollars_and_broken_letters_do_no_harm(tmp_path: Path):
    run = run_of(tmp_path / "run", row(user="costs $5, ${title} or $$"))
    rows = run / samples.FILE
    rows.write_text(rows.read_text().replace('"text": "Here."', '"text": "\\ud800 here"'))
    words = plain(read(run))
    assert "costs $5, ${title} or $$" in words
    assert "? here" in words


def test_all_of_a_summary_is_told(tmp_path: Path):
    run = run_of(tmp_path / "run", row())
    told = json.loads((run / summary.FILE).read_text())
    told |= {"trained_on": "car parts", "texts": {"bleu": 12.5}, "predictions": {"missing": ["r7", "r8"]}}
    (run / summary.FILE).write_text(json.dumps(told))
    words = plain(read(run))
    assert "Trained on car parts" in words
    assert "texts · bleu 12.5" in words
    assert "predictions · missing r7, r8" in words


def test_a_missing_summary_is_made_anew(tmp_path: Path):
    run = run_of(tmp_path / "run", row(), row("s", photo="q"))
    whole = read(run)
    (run / summary.FILE).unlink()
    assert read(run) == whole
    assert not (run / summary.FILE).exists()


def test_a_full_page_goes_on_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = run_of(tmp_path / "run", *(row(f"r{place}", photo=f"p{place}") for place in range(6)))
    monkeypatch.setattr(report, "FULL", 3000)
    text = read(run)
    assert text.count("<article") == 6
    assert 0 < text.count("pictures left out") < 6


def test_intervals_are_drawn_for_enough_photos(tmp_path: Path):
    rows = [row(f"r{place}", photo=f"p{place}", kind="many" if place < 6 else "few", iou=place / 10,
                intersection=place) for place in range(9)]  # fmt: skip
    text = read(run_of(tmp_path / "run", *rows))
    assert re.search(r"<title>many: [\d.]+, 95% interval [\d.]+ to [\d.]+, n = 6</title>", text)
    assert re.search(r"<title>few: [\d.]+, n = 3</title>", text)


def test_without_matplotlib_the_page_has_all_but_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = run_of(tmp_path / "run", row())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = read(run)
    assert "No charts: expected the package matplotlib" in plain(text)
    assert 'class="chart"' not in text.partition("</style>")[2] and "<article" in text


@pytest.mark.parametrize("content", ["[]", "{", '"x"'])
def test_a_broken_summary(tmp_path: Path, content: str):
    run = run_of(tmp_path / "run", row())
    (run / summary.FILE).write_text(content)
    with pytest.raises(InputError, match=r"summary.json"):
        report.write(run)


def test_no_run(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="folder of a run"):
            report.write(folder)
    assert not (tmp_path / report.FILE).exists()


def test_a_page_that_cannot_be_written(tmp_path: Path):
    run = run_of(tmp_path / "run", row())
    (run / report.FILE).mkdir()
    with pytest.raises(InputError, match="to write"):
        report.write(run)
    assert not list(run.glob(".*.part"))
