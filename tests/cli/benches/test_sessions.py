"""Conversations at once say what they say alone, and both ways are told."""

from __future__ import annotations

import json

import pytest

from miras.cli import main
from tests.cli.test_main import TINY


def test_both_ways_are_measured(capsys):
    assert main.call(["bench", "sessions", "--count", "1", "3", "--turns", "1", "--repeats", "1", "--json", *TINY]) == 0
    one, three = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert (one["conversations"], three["conversations"]) == (1, 3)
    assert one["in_a_pass"] == 1.0 < three["in_a_pass"]
    assert one["same_replies"] == three["same_replies"] == 1.0
    assert three["gain"] == pytest.approx(
        three["together_turns_per_second"] / three["alone_turns_per_second"], rel=0.2
    )  # fmt: skip


@pytest.mark.parametrize("words", [["--count", "0"], ["--turns", "9"], ["--repeats", "0"]])
def test_bad_counts_are_one_line(capsys, words):
    assert main.call(["bench", "sessions", *words, *TINY]) == 2
    assert "of at least 1 and --turns up to" in capsys.readouterr().err
