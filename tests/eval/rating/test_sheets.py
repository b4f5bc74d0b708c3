"""Rating sheets: what is read, and every fault named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.eval.rating.sheets import Score, read_people
from miras.eval.rating.transcripts import read_runs
from tests.eval.judged import make_run

HEAD = "record,criterion,score,rater"


@pytest.fixture
def runs(tmp_path: Path):
    return read_runs([make_run(tmp_path / "one", 2, "m1"), make_run(tmp_path / "two", 2, "m2")])


def sheet(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "sheet.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_sheet(tmp_path, runs, between, mark):
    text = f"{mark}Record,Criterion,Score,Rater\nr0,relevance,4,ann\nr1,coherence,,ann\nr1,coherence,2,bob\n"
    found = read_people([sheet(tmp_path, text.replace(",", between))], runs[:1])
    assert found == [Score("A", "r0", "relevance", "ann", 4), Score("A", "r1", "coherence", "bob", 2)]


@pytest.mark.parametrize("name", ["B", "two", "m2"])
def test_a_run_by_any_of_its_names(tmp_path, runs, name):
    (found,) = read_people([sheet(tmp_path, f"{HEAD},run\nr0,relevance,4,ann,{name}\n")], runs)
    assert found.run == "B"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("r9,relevance,4,ann", "a conversation of the run, got 'r9'"),
        ("r0,beauty,4,ann", "a criterion of progressiveness"),
        ("r0,relevance,6,ann", "from 1 to 5, got '6'"),
        ("r0,relevance,3.5,ann", "got '3.5'"),
        ("r0,relevance,4,", "a rater"),
        ("r1,relevance,5,ann", "a conversation once a rater and criterion"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, runs, line, says):
    with pytest.raises(InputError, match=f"line 3: .*{says}"):
        read_people([sheet(tmp_path, f"{HEAD}\nr1,relevance,4,ann\n{line}\n")], runs[:1])


def test_many_faults_are_counted(tmp_path, runs):
    text = HEAD + "\n" + "r9,relevance,4,ann\n" * 8
    with pytest.raises(InputError, match="and 3 more"):
        read_people([sheet(tmp_path, text)], runs[:1])


@pytest.mark.parametrize(
    ("text", "says"),
    [("record,score\n", "without criterion, rater"), ("", "columns"), (b"record\xff", "UTF-8")],
)
def test_what_is_no_sheet(tmp_path, runs, text, says):
    with pytest.raises(InputError, match=says):
        read_people([sheet(tmp_path, text)], runs[:1])
    with pytest.raises(InputError, match="a rating sheet at"):
        read_people([tmp_path / "none.csv"], runs[:1])


def test_two_runs_need_the_column(tmp_path, runs):
    with pytest.raises(InputError, match="without run"):
        read_people([sheet(tmp_path, f"{HEAD}\nr0,relevance,4,ann\n")], runs)
    with pytest.raises(InputError, match=r"a run of .*, A, B, .*got 'C'"):
        read_people([sheet(tmp_path, f"{HEAD},run\nr0,relevance,4,ann,C\n")], runs)
