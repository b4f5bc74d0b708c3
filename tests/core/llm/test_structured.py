"""Answers against their schema: what fits, what does not and why, and that nothing breaks the reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miras.core.llm.structured import faults_of, read_json

SCHEMA = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "enum": [1, 2, 3]},
        "why": {"type": "string", "maxLength": 5},
        "parts": {"type": "array", "maxItems": 2, "items": {"type": "number", "minimum": 0}},
        "sure": {"type": "boolean"},
    },
    "required": ["score", "why", "parts", "sure"],
}
GOOD: dict[str, Any] = {"score": 2, "why": "fits", "parts": [0, 0.5], "sure": True}


@pytest.mark.parametrize(
    "text", [json.dumps(GOOD), f"```json\n{json.dumps(GOOD, indent=1)}\n```", f" {json.dumps(GOOD)}\n"]
)
def test_what_fits(text: str) -> None:
    assert read_json(text, SCHEMA) == (GOOD, [])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"score": 4}, "score: must be one of 1, 2, 3 (got 4)"),
        ({"score": 2.0}, "score: must be one of 1, 2, 3 (got 2.0)"),
        ({"score": True}, "score: must be one of 1, 2, 3 (got True)"),
        ({"why": "too long"}, "why: must be at most 5 characters (got 8)"),
        ({"why": None}, "why: must be of type string (got None)"),
        ({"parts": [1, -1]}, "parts[1]: must be at least 0 (got -1)"),
        ({"parts": [float("nan")]}, "parts[0]: must be at least 0 (got nan)"),
        ({"parts": [1, 2, 3]}, "parts: must be at most 2 items (got 3)"),
        ({"sure": 1}, "sure: must be of type boolean (got 1)"),
        ({"more": 1}, "more: is no key that was asked for"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(change: dict[str, Any], fault: str) -> None:
    assert read_json(json.dumps(GOOD | change), SCHEMA) == (None, [fault])


def test_all_faults_are_told_at_once() -> None:
    _, faults = read_json('{"score": 9}', SCHEMA)
    assert [fault.partition(":")[0] for fault in faults] == ["why", "parts", "sure", "score"]


@pytest.mark.parametrize("text", ["", "{", "no", '{"score": 1', "[" * 100_000])
def test_what_is_no_json(text: str) -> None:
    value, faults = read_json(text, SCHEMA)
    assert value is None
    assert faults[0].startswith("not valid JSON")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_value_is_read_or_refused_with_a_reason(value: Any) -> None:
    found, faults = read_json(json.dumps(value), SCHEMA)
    assert (found is None) == bool(faults)
    assert list(faults_of(value, {})) == []
