"""The database: one SQLite file (WAL), its versions, its transactions.

In: a folder. Out: a connection that is safe in threads; what is committed is on the disk, whatever happens to the
process or the machine. Knows the tables; what stands in them is `records.py`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from miras.core.errors import InputError

FILE = "miras.sqlite3"
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE photos (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, width INTEGER NOT NULL,
            height INTEGER NOT NULL, bytes INTEGER NOT NULL, suffix TEXT NOT NULL, sample TEXT, created REAL NOT NULL
        ) STRICT""",
        "CREATE INDEX photos_of ON photos (owner, created)",
        """CREATE TABLE conversations (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, photo TEXT NOT NULL REFERENCES photos (id), title TEXT,
            created REAL NOT NULL, updated REAL NOT NULL, parent TEXT, parent_turns INTEGER, head TEXT,
            question TEXT, asked REAL
        ) STRICT""",
        "CREATE INDEX conversations_of ON conversations (owner, updated, id)",
        "CREATE INDEX conversations_about ON conversations (photo)",
        """CREATE TABLE turns (
            conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE, number INTEGER NOT NULL,
            key TEXT NOT NULL, created REAL NOT NULL, event TEXT NOT NULL, reply TEXT NOT NULL, record TEXT,
            PRIMARY KEY (conversation, number)
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE logins (
            hash TEXT PRIMARY KEY, owner TEXT NOT NULL, csrf TEXT NOT NULL, expires REAL NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)
"""What leads from each version of the database to the next; the first from an empty file to version 1."""
VERSION = len(MIGRATIONS)
Row = sqlite3.Row


class Database:
    """The file `miras.sqlite3` in a folder, brought to the newest version. One process at a time.

    Raises InputError when another server has the folder, and for a file that is damaged or of a newer program.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._guard = _alone(folder)
            os.close(os.open(folder / FILE, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(folder / FILE, isolation_level=None, timeout=5, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"a folder to write into at {folder}", str(error), "give another --data") from error
        self._db.row_factory = sqlite3.Row
        try:
            self._open(folder)
        except sqlite3.DatabaseError as error:
            self.close()
            cure = "move it away and start anew, or put a copy back"
            raise InputError(f"a database of miras at {folder / FILE}", str(error), cure) from error
        except InputError:
            self.close()
            raise

    def _open(self, folder: Path) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        with self.write() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > VERSION:
                cure = "install the newer miras again, or give another --data"
                raise InputError(f"a database of version {VERSION} or older in {folder}", f"version {version}", cure)
            for steps in MIGRATIONS[version:]:
                for step in steps:
                    db.execute(step)
            db.execute(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is durable after the block, or nothing of it when the block raises."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def row(self, query: str, values: Sequence[Any] = ()) -> Row | None:
        """The first that a query finds."""
        found = self.rows(query, values)
        return found[0] if found else None

    def forget(self) -> None:
        """Leave nothing of what was deleted in the journal beside the file."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def check(self) -> str:
        """`ok`, or what is wrong with the file."""
        return str(self.rows("PRAGMA integrity_check")[0][0])

    def close(self) -> None:
        """Close the file; others may open it then."""
        with self._lock:
            self._db.close()
            self._guard.close()


def _alone(folder: Path) -> TextIO:
    """A file that is locked as long as it is open. Raises InputError when another process has it."""
    file = open(folder / "lock", "w")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        cure = "stop the other one, or give this one its own --data"
        raise InputError(f"a folder of its own at {folder}", "one that another miras serve uses", cure) from error
    return file
