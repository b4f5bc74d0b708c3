"""Filled sheets: what is read, and every fault of a row or task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.annotate.audit.read import Rating, read_sheets
from miras.annotate.audit.sheets import SCALES
from miras.core.errors import InputError

HEAD = "item,rater,conversation,mask_fit,answer_correct,needs_reasoning,fluency,comment,own_mask"
GOOD = "i1,ann,talk,5,4,3,2,fine,"


def sheet(folder: Path, *rows: str, head: str = HEAD, name: str = "s.csv") -> Path:
    path = folder / name
    path.write_bytes("\r\n".join([head, *rows, ""]).encode("utf-8-sig"))
    return path


def plain(rating: Rating) -> tuple[str, str, tuple[int | None, ...], str]:
    return rating.item, rating.rater, tuple(rating.scores.get(name) for name in SCALES), rating.comment


@pytest.mark.parametrize(
    ("head", "row", "expected"),
    [
        (HEAD, GOOD, ("i1", "ann", (5, 4, 3, 2), "fine")),
        (HEAD, "i1,,x, 5 ,4.0,\"3,0\",,\"a, \"\"b\"\"\"", ("i1", "s", (5, 4, 3, None), 'a, "b"')),
        (HEAD.replace(",", ";"), "i1;bo;a, b, c;1;2;3;4;schön", ("i1", "bo", (1, 2, 3, 4), "schön")),
        (HEAD.replace(",", "\t"), GOOD.replace(",", "\t"), ("i1", "ann", (5, 4, 3, 2), "fine")),
        ("fluency,Item,needs_reasoning,answer_correct,MASK_FIT", "1,i2,2,3,4", ("i2", "s", (4, 3, 2, 1), "")),
        (HEAD, '"i1",ann,"two\r\nlines",5,5,5,5', ("i1", "ann", (5, 5, 5, 5), "")),
    ],
    ids=["plain", "spreadsheet", "semicolons", "tabs", "any order", "lines in a cell"],
)  # fmt: skip
def test_a_row(tmp_path: Path, head: str, row: str, expected: tuple[Any, ...]) -> None:
    assert [plain(rating) for rating in read_sheets([sheet(tmp_path, row, head=head)])] == [expected]


def test_rows_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    assert [r.item for r in read_sheets([sheet(tmp_path, "i0,ann,x,,,,,", GOOD, "", ",,,,,,,", "i0,ann,x,1,,,,")])] == [
        "i1", "i0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("i2,ann,x,6,1,1,1,", "mask_fit as a whole number from 1 to 5, got '6'"),
        ("i2,ann,x,1,0,1,1,", "answer_correct as a whole number"),
        ("i2,ann,x,1,1,4.5,1,", "'4.5'"),
        ("i2,ann,x,1,1,1,good,", "fluency as a whole number"),
        ("i2,ann,x,1,1,1,nan,", "'nan'"),
        (",ann,x,1,1,1,1,", "empty cell"),
        ("i9,ann,x,1,1,1,1,", "an item of this dataset, got 'i9'"),
        (GOOD, "i1 by ann again, first in s.csv, line 2"),
        ("i2,ann," + 200_000 * "x" + ",1,1,1,1,,", "a row of cells"),
        ("i2,ann,x,1,1,1,1,,gone.png", "gone.png"),
        ("i2,ann,x,1,1,1,1,,../s.csv", "inside"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_goes_on(tmp_path: Path, row: str, says: str) -> None:
    path = sheet(tmp_path, GOOD, '"i3",bo,"a\r\nb",1,1,1,1,', row, "i4,ann,x,2,2,2,2,")
    faults: list[str] = []
    ratings = read_sheets([path], {"i1", "i2", "i3", "i4"}, faults.append)
    assert [rating.item for rating in ratings] == ["i1", "i3", "i4"]
    assert len(faults) == 1
    assert faults[0].startswith("s.csv: line 5: ") and says in faults[0]
    with pytest.raises(InputError, match="line 5"):
        read_sheets([path], {"i1", "i2", "i3", "i4"})


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    rows = ["i1,ann,caf\xe9,5,4,3,2,fine", "i2,ann,x,5,4,3,2,sch\xf6n", "i3,ann,x,1,1,1,1,"]
    path.write_bytes("\n".join([HEAD, *rows]).encode("latin-1"))
    faults: list[str] = []
    assert [r.item for r in read_sheets([path], None, faults.append)] == ["i1", "i3"], (
        "what is not read does not matter"
    )
    assert len(faults) == 1 and "line 3" in faults[0] and "byte 0xf6 in comment" in faults[0]
    path.write_bytes("\n".join([HEAD, *rows]).encode("utf-16"))
    assert [(r.item, r.comment) for r in read_sheets([path])] == [("i1", "fine"), ("i2", "sch\xf6n"), ("i3", "")]


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (HEAD.replace("fluency", "flow"), "named fluency"),
        ("", "named item, mask_fit, answer_correct"),
        (HEAD.replace("item", "id").replace("mask_fit", "fit"), "named item, mask_fit"),
    ],
)
def test_missing_columns_are_one_fault(tmp_path: Path, head: str, says: str) -> None:
    faults: list[str] = []
    assert read_sheets([sheet(tmp_path, GOOD, head=head)], None, faults.append) == []
    assert len(faults) == 1 and faults[0].startswith("s.csv: line 1: ") and says in faults[0]


def test_an_own_mask_is_read(tmp_path: Path) -> None:
    drawn = np.zeros((6, 9), np.uint8)
    drawn[2:4, 3:7] = 255
    Image.fromarray(drawn).save(tmp_path / "mine.png")
    rating = read_sheets([sheet(tmp_path, "i1,ann,x,,,,,,mine.png")])[0]
    assert rating.mask is not None and np.array_equal(rating.mask, drawn > 0)
    drawn[2, 3] = 90  # a soft edge
    Image.fromarray(drawn).save(tmp_path / "mine.png")
    with pytest.raises(InputError, match=r"a mask \(mine.png\) of True and False.*threshold"):
        read_sheets([sheet(tmp_path, "i1,ann,x,,,,,,mine.png")])


def result(kind: str, name: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"id": "x", "type": kind, "from_name": name, "to_name": "photo", "value": value, **more}


def polygon(points: Any, width: int = 9) -> dict[str, Any]:
    return result("polygonlabels", "own_mask", {"points": points}, original_width=width, original_height=9)


def annotation(who: Any = 7, *, results: Any = None, **more: Any) -> dict[str, Any]:
    given = [result("rating", name, {"rating": score}) for name, score in zip(SCALES, (5, 4, 3, 2), strict=True)]
    return {
        "id": 1,
        "completed_by": who,
        "was_cancelled": False,
        "result": given if results is None else results,
        **more,
    }


def export(folder: Path, *tasks: Any, name: str = "e.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return path


def task(code: str, *annotations: Any, number: int = 11) -> dict[str, Any]:
    return {"id": number, "data": {"item": code, "target": "Target: cup"}, "annotations": list(annotations),
            "predictions": []}  # fmt: skip


def test_an_export(tmp_path: Path) -> None:
    choices = [
        result("choices", "fluency", {"choices": ["2"]}), result("textarea", "comment", {"text": ["too", "small "]}),
        result("choices", "something_else", {"choices": ["9"]}),
    ]  # fmt: skip
    path = export(
        tmp_path, task("i1", annotation(7), annotation({"id": 8, "email": "bo@example.org"}, results=choices)),
        task("i2", annotation(7, was_cancelled=True), annotation({"id": 9}, results=[])),
    )  # fmt: skip
    assert [plain(rating) for rating in read_sheets([path])] == [
        ("i1", "7", (5, 4, 3, 2), ""),
        ("i1", "bo@example.org", (None, None, None, 2), "too small"),
    ]


def test_polygons_are_a_mask(tmp_path: Path) -> None:
    corners = [[[0, 0], [50, 0], [50, 50], [0, 50]], [[50, 50], [100, 50], [100, 100], [50, 100]]]
    results = [
        result("polygonlabels", "own_mask", {"points": ring, "polygonlabels": ["target"]}, original_width=10,
               original_height=6) for ring in corners
    ]  # fmt: skip
    mask = read_sheets([export(tmp_path, task("i1", annotation(results=results)))])[0].mask
    wanted = np.zeros((6, 10), bool)
    wanted[:3, :5] = wanted[3:, 5:] = True
    assert mask is not None and np.array_equal(mask, wanted)


BAD_RESULTS: list[tuple[Any, str]] = [
    (result("rating", "fluency", {"rating": 9}), "fluency as a whole number from 1 to 5, got 9"),
    (result("rating", "fluency", {"rating": True}), "got True"),
    (result("rating", "fluency", {}), "got None"),
    (result("choices", "fluency", {"choices": ["3", "4"]}), "['3', '4']"),
    ({"type": "rating"}, '"from_name"'),
    ("rating", '"type"'),
    (polygon([[1, 1], [2, 2]]), "3 finite"),
    (polygon([[1, 1, 1]]), "points of a polygon"),
    (polygon([1, 2]), "points of a polygon"),
    (polygon(None), "points of a polygon"),
    (polygon([], width=10**9), "20000 pixels"),
]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        *((task("i2", annotation(results=[bad])), says) for bad, says in BAD_RESULTS),
        (task("i2", annotation(None)), "completed_by"),
        (task("i2", {"completed_by": 7}), '"result"'),
        (task("i9", annotation()), "'i9'"),
        (task("i1", annotation()), "i1 by 7 again, first in e.json, task 11"),
        ({"id": 11, "data": {"item": "i2"}, "fluency": {"rating": 3}}, "JSON-MIN"),
        ({"id": 11, "data": {"text": "x"}}, '"item"'),
        ([], '"data"'),
    ],
)
def test_a_bad_task_is_named_and_the_rest_goes_on(tmp_path: Path, bad: Any, says: str) -> None:
    path = export(tmp_path, task("i1", annotation(7)), bad, task("i3", annotation(7), number=13))
    faults: list[str] = []
    assert [r.item for r in read_sheets([path], {"i1", "i2", "i3"}, faults.append)] == ["i1", "i3"]
    assert len(faults) == 1
    assert faults[0].startswith(("e.json: task 11: ", "e.json: task number 2: ")) and says in faults[0]


def test_sheets_together(tmp_path: Path) -> None:
    paths = [
        sheet(tmp_path, GOOD), sheet(tmp_path, GOOD, "i2,bo,x,1,1,1,1,", name="t.csv"),
        export(tmp_path, task("i1", annotation("ann"), annotation("cy"))),
    ]  # fmt: skip
    faults: list[str] = []
    ratings = read_sheets(paths, {"i1", "i2"}, faults.append)
    assert [(r.item, r.rater) for r in ratings] == [("i1", "ann"), ("i2", "bo"), ("i1", "cy")]
    assert [line.split(": ")[0] for line in faults] == ["t.csv", "e.json"]
    assert all("first in s.csv, line 2" in line for line in faults)
    with pytest.raises(InputError, match=r"2: t\.csv"):
        read_sheets(paths)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("s.xlsx", b"PK", ".csv or .json"), ("gone.csv", None, "No such file"), ("e.json", b"{}", "a JSON list"),
     ("e.json", b"\xff[]", "UTF-8")],
)  # fmt: skip
def test_files_that_are_no_sheets(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_sheets([tmp_path / name])
    assert says in str(caught.value)
