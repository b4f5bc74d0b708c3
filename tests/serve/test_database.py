"""The database: older versions are brought up, newer and damaged ones refused, one server a folder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.serve import database
from miras.serve.database import FILE, MIGRATIONS, VERSION, Database


def of_version(folder: Path, version: int) -> None:
    """A database as the program of that version left it, with a conversation in it."""
    folder.mkdir()
    db = sqlite3.connect(folder / FILE)
    for steps in MIGRATIONS[:version]:
        for step in steps:
            db.execute(step)
    db.execute("INSERT INTO photos VALUES ('p', 'local', 'cup.jpg', 64, 48, 9, 'jpg', NULL, 1.0)")
    db.execute("INSERT INTO conversations (id, owner, photo, created, updated) VALUES ('c', 'local', 'p', 1.0, 2.0)")
    db.execute("INSERT INTO turns VALUES ('c', 1, 't', 1.5, '{}', '{}', NULL)")
    db.execute(f"PRAGMA user_version={version}")
    db.commit()
    db.close()


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_every_older_version_keeps_what_is_in_it(tmp_path: Path, version: int) -> None:
    of_version(tmp_path / "data", version)
    found = Database(tmp_path / "data")
    assert found.rows("PRAGMA user_version")[0][0] == VERSION
    assert [tuple(row) for row in found.rows("SELECT conversation, number, key FROM turns")] == [("c", 1, "t")]
    assert found.check() == "ok"
    fresh = Database(tmp_path / "fresh")
    tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
    assert [tuple(row) for row in found.rows(tables)] == [tuple(row) for row in fresh.rows(tables)]
    for one in (found, fresh):
        one.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_version(tmp_path / "data", VERSION)
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE more (a TEXT) STRICT", "nonsense")))
    with pytest.raises(InputError, match="syntax error"):
        Database(tmp_path / "data")
    monkeypatch.undo()
    found = Database(tmp_path / "data")
    assert found.row("SELECT 1 FROM sqlite_master WHERE name='more'") is None
    found.close()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"this is no database at all, but long enough for a header" * 20, "not a database"), (None, "version 99")],
)
def test_what_cannot_be_opened_is_told_and_left_alone(tmp_path: Path, content: bytes | None, told: str) -> None:
    folder = tmp_path / "data"
    if content is None:
        of_version(folder, VERSION)
        with sqlite3.connect(folder / FILE) as db:
            db.execute("PRAGMA user_version=99")
    else:
        folder.mkdir()
        (folder / FILE).write_bytes(content)
    before = (folder / FILE).read_bytes()
    for _ in range(2):  # the lock is let go
        with pytest.raises(InputError, match=told):
            Database(folder)
    assert (folder / FILE).read_bytes()[:16] == before[:16]


def test_one_server_a_folder(tmp_path: Path) -> None:
    first = Database(tmp_path)
    with pytest.raises(InputError, match="another miras serve"):
        Database(tmp_path)
    first.close()
    Database(tmp_path).close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--data"):
        Database(tmp_path / "file" / "data")


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    found = Database(tmp_path)

    def fail() -> None:
        with found.write() as db:
            db.execute("INSERT INTO logins VALUES ('h', 'o', 'c', 1.0)")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert found.rows("SELECT * FROM logins") == []
    assert found.rows("PRAGMA journal_mode")[0][0] == "wal"
    found.close()
