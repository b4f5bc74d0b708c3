"""`miras export onnx`: what cannot be exported is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.cli.main import call


def test_an_unknown_model_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["export", "onnx", "--model", "nothing-of-this-name", "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
