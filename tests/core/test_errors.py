"""Errors are one line with what was expected, what was got and the cure, and survive pickling."""

from __future__ import annotations

import pickle

import pytest

from miras.core.errors import InputError, MirasError, NothingToUndo, WeightsError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MirasError("a", "b"), "expected a, got b"),
        (InputError("a", "b", "c"), "expected a, got b; c"),
        (
            WeightsError("version 2", "version 1", "run\nmiras  doctor"),
            "expected version 2, got version 1; run miras doctor",
        ),
        (InputError("a path", "x\r\ny\tz"), "expected a path, got x y z"),
        (NothingToUndo(), "expected an earlier turn, got none; ask for something first"),
    ],
)
def test_errors_are_one_line_and_cross_processes(error: MirasError, line: str) -> None:
    assert str(error) == line
    assert isinstance(error, MirasError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.expected, again.got, again.cure) == (line, error.expected, error.got, error.cure)
