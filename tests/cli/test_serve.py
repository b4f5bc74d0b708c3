"""`miras serve`: what is wrong is told in one line, before a model is loaded."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from miras.cli.main import call


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "expected a token for 0.0.0.0, an address that others reach"),
        (["--host", "192.168.1.5"], "--token-file tokens.txt"),
        (["--token-file", "nowhere.txt"], "a file of tokens"),
        (["--port", "70000"], "a port from 0 to 65535"),
        (["--queue", "0"], "queue of at least 1"),
        (["--allow-origin", "example.org"], "an origin as https://example.org"),
        (["--model", "no-such-model", "--port", "0"], "the name of a preset"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIRAS_TOKEN", raising=False)
    assert call(["serve", "--data", str(tmp_path / "data"), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0]
    assert not (tmp_path / "data").exists()


def test_an_address_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert call(["serve", "--port", str(other.getsockname()[1])]) == 2
    assert "give another --port" in capsys.readouterr().err
