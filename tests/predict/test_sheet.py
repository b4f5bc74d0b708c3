"""The order of the contact sheet; pages; what stands in it is escaped, and shown when it is opened alone."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from miras.predict import run as running
from miras.predict import sheet
from miras.predict.questions import questions_of
from miras.predict.run import Settings, predict
from miras.predict.sheet import row_of, rows_of
from tests.predict import made
from tests.predict.made import CUP, DRAGON, HELLO, draw, loaded


def answer(*, mask: bool = True, refused: bool = False, unsure: bool = False, score: float | None = 0.9,
           certainty: float | None = 0.9) -> dict[str, object]:  # fmt: skip
    """The part of an answer that decides where it stands."""
    selection = {"area": 1} if mask else None
    return {"selection": selection, "refused": refused, "unsure": unsure, "score": score, "certainty": certainty}


def test_what_to_check_stands_first():
    ordered = [
        answer(mask=False, certainty=0.2), answer(mask=False, certainty=0.8),
        answer(mask=False, refused=True, certainty=None), answer(refused=True, certainty=0.5),
        answer(mask=False, refused=True, certainty=0.6), answer(unsure=True, score=0.1),
        answer(unsure=True, score=0.3), answer(score=None), answer(score=0.2), answer(score=0.95),
    ]  # fmt: skip
    for shift in (0, 3, 7):
        turned = ordered[shift:] + ordered[:shift]
        rows = rows_of((n, {"answers": [one]}) for n, one in enumerate(turned))
        assert [turned[row.photo] for row in rows] == ordered


def test_equal_ones_stand_in_the_order_of_the_photos():
    rows = rows_of((n, {"answers": [answer(), answer()]}) for n in range(3))
    assert [(row.photo, row.place) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert row_of(answer(), 0, 0) < row_of(answer(), 0, 1)


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes the pages of three photos; the model says what is written."""
    monkeypatch.setattr(running, "cores", lambda: 1)
    monkeypatch.setattr(made.work, "_loaded", loaded)
    for number, name in enumerate(["a b&c.jpg", "ü#?.jpg", "z.jpg"]):
        draw(tmp_path / "photos" / name, number)
    (tmp_path / "photos" / "<b>.jpg").write_bytes(b"none")

    def write(*asks: str) -> list[str]:
        given = Settings(model="miras-tiny", jobs=1)
        predict([str(tmp_path / "photos")], questions_of(asks), tmp_path / "out", given)
        return [path.read_text(encoding="utf-8") for path in sorted((tmp_path / "out").glob("index*.html"))]

    return write


def test_the_page_of_a_run(pages, tmp_path: Path):
    (page,) = pages(CUP, HELLO, DRAGON)
    marks = re.findall(r'class="mark ([\w-]+)"', page)
    assert marks == ["no-mask"] * 3 + ["refused"] * 3 + ["others"] * 3
    assert page.count('src="data:image/jpeg;base64,') == 9
    assert not re.findall(r'(?:src|href)="(?:https?:|//)', page)
    assert "3 no mask, 3 refused, 0 unsure, 3 others" in page
    assert "&lt;b&gt;.jpg" in page
    assert "<b>.jpg" not in page
    links = re.findall(r'href="([^"]+\.(?:jpg|png))"', page)
    assert links
    assert all((tmp_path / "out" / unquote(link)).is_file() for link in links)


def test_pages_of_many_answers(pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sheet, "PAGE", 2)
    three = pages(CUP, DRAGON)
    assert [page.count("<article>") for page in three] == [2, 2, 2]
    assert 'href="index-3.html"' in three[-1]
    monkeypatch.setattr(sheet, "PAGE", 400)
    assert [page.count("<article>") for page in pages(CUP, DRAGON)] == [6]


def test_unsure_answers_are_told_by_the_model(pages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded().model.config, "unsure_below", 1.0)
    (page,) = pages(CUP)
    assert re.findall(r'class="mark ([\w-]+)"', page) == ["unsure"] * 3
    assert "I am not sure" in page
