from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.predict.questions import questions_of


@pytest.mark.parametrize(
    ("asks", "script", "expected"),
    [
        (["Where is the cup?"], None, [("Where is the cup?",)]),
        (["one", "two", "one"], None, [("one",), ("two",)]),
        ([], "one\ntwo\n\nthree\n", [("one", "two"), ("three",)]),
        ([], "# a remark\none\n# another\ntwo\n\n\n\n# end\n", [("one", "two")]),
        ([" a "], "\ufeffone\r\n\r\ntwo", [("a",), ("one",), ("two",)]),
    ],
)
def test_each_question_is_a_conversation(tmp_path: Path, asks, script, expected):
    path = tmp_path / "script.txt"
    path.write_bytes((script or "").encode())
    assert questions_of(asks, path if script else None) == tuple(expected)


@pytest.mark.parametrize(
    ("asks", "script", "says"),
    [([], None, "a question"), ([" "], None, "empty"), ([], "# only\n\n", "without any"), (["a"], 1, "No such file")],
)
def test_no_question_is_one_line(tmp_path: Path, asks, script, says):
    path = tmp_path / "script.txt"
    if isinstance(script, str):
        path.write_text(script)
    with pytest.raises(InputError, match=says) as error:
        questions_of(asks, path if script else None)
    assert "\n" not in str(error.value)
