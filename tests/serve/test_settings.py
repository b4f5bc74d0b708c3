"""Settings: an address that others reach needs a token; everything wrong is told before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.serve.settings import Limits, Settings, default_data, is_loopback, read_tokens

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("localhost", True), ("::1", True), ("[::1]", True),
        ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("example.org", False), ("", False),
        ("127.0.0.1.evil.org", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_other_addresses_need_a_token(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone
    assert Settings(Path("d"), host, tokens=(TOKEN,)).host == host
    if alone:
        assert Settings(Path("d"), host).tokens == ()
    else:
        with pytest.raises(InputError, match="token-file"):
            Settings(Path("d"), host)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"port": 70000}, "a port"),
        ({"tokens": ("short",)}, "at least 16"),
        ({"tokens": ("with a space inside it",)}, "other characters"),
        ({"tokens": ("\u00e9" * 20,)}, "other characters"),
        ({"retention_days": 0}, "at least 1 day"),
        ({"session_bytes": -1}, "0 bytes or more"),
        ({"origins": ("example.org",)}, "an origin"),
        ({"origins": ("https://example.org/",)}, "an origin"),
    ],
)
def test_wrong_settings_are_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Settings(Path("d"), **values)
    with pytest.raises(InputError, match="queue"):
        Limits(queue=0)


def test_tokens_are_never_shown() -> None:
    assert TOKEN not in repr(Settings(Path("d"), tokens=(TOKEN,)))


def test_names_of_the_server() -> None:
    settings = Settings(Path("d"), "0.0.0.0", tokens=(TOKEN,), hosts=("Photos.example.org",))
    assert settings.names == {"localhost", "127.0.0.1", "::1", "photos.example.org"} and settings.any_address


def test_tokens_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text(f"# who\n{TOKEN}\n\n  {TOKEN}b  \n{TOKEN}\n")
    monkeypatch.delenv("MIRAS_TOKEN", raising=False)
    assert read_tokens(file) == (TOKEN, f"{TOKEN}b") and read_tokens(None) == ()
    monkeypatch.setenv("MIRAS_TOKEN", f"{TOKEN}c")
    assert read_tokens(file)[-1] == f"{TOKEN}c"
    file.write_text("# nobody\n")
    with pytest.raises(InputError, match="none in"):
        read_tokens(file)
    with pytest.raises(InputError, match="a file of tokens"):
        read_tokens(tmp_path / "gone")


def test_where_conversations_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_data() == Path("/somewhere/miras")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_data().parts[-3:] == (".local", "share", "miras")
