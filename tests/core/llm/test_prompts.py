"""Prompt files: two messages, values taken literally, and a version that follows the text."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest

from miras.core.llm.prompts import read_prompt


def test_a_prompt_is_filled_in_literally() -> None:
    prompt = read_prompt("miras.annotate.teacher", "elements")
    values = dict.fromkeys(prompt.user.get_identifiers(), "$5 ${caption} {x}")
    system, user = prompt.messages(**values)
    assert (system.role, user.role) == ("system", "user")
    assert "---" not in system.text and user.text.count("$5 ${caption} {x}") == 4
    with pytest.raises(KeyError):
        prompt.messages()


def test_the_version_is_the_digest_of_the_file() -> None:
    content = files("miras.annotate.teacher").joinpath("prompts", "elements.md").read_bytes()
    assert read_prompt("miras.annotate.teacher", "elements").version == hashlib.sha256(content).hexdigest()[:12]
