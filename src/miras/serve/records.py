"""What is kept: photos, conversations, their turns, logins. Every query says whose.

In: owners, ids, finished turns. Out: rows, or the problem `not-found` for what is not there or somebody else's. A turn
and the session that it leads to are one transaction. Knows SQL, no model and no picture.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from miras.serve.database import Database, Row
from miras.serve.problems import Problem, not_found


def new_id(kind: str) -> str:
    """An id that nobody guesses. kind: its first letter."""
    return f"{kind}_{secrets.token_urlsafe(16)}"


@dataclass(frozen=True)
class Answered:
    """A turn as it is kept. event: of `ChatSession.to_json`; head: the rest of that document. reply: the turn object
    without what depends on where it stands. record: text and content of the reply as the dataset format has them, None
    for a refinement. key: of this turn and no other."""

    head: str
    event: str
    reply: dict[str, Any]
    record: dict[str, Any] | None
    key: str = field(default_factory=lambda: new_id("t"))


class Records:
    """The tables of a database, in the words of the API."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # Photos

    def add_photo(self, owner: str, photo: dict[str, Any], most: int) -> None:
        """A new photo. most: how many a person may have."""
        with self.database.write() as db:
            _room(db.execute("SELECT count(*) FROM photos WHERE owner=?", (owner,)).fetchone()[0], most, "photos")
            db.execute(
                "INSERT INTO photos VALUES (:id, :owner, :name, :width, :height, :bytes, :suffix, :sample, :created)",
                {**photo, "owner": owner, "created": time.time()},
            )

    def photo(self, owner: str, photo: str) -> Row:
        """One photo of a person."""
        row = self.database.row("SELECT * FROM photos WHERE id=? AND owner=?", (photo, owner))
        if row is None:
            raise not_found("a photo")
        return row

    def delete_photo(self, owner: str, photo: str) -> None:
        """Take a photo away that no conversation uses."""
        with self.database.write() as db:
            if db.execute("SELECT 1 FROM conversations WHERE photo=? AND owner=?", (photo, owner)).fetchone():
                raise Problem("conflict", "a photo that no conversation uses", "one in use", "delete those first")
            if not db.execute("DELETE FROM photos WHERE id=? AND owner=?", (photo, owner)).rowcount:
                raise not_found("a photo")
        self.database.forget()

    def photos(self) -> set[str]:
        """Ids of all photos, of everybody."""
        return {row["id"] for row in self.database.rows("SELECT id FROM photos")}

    # Conversations

    def add_conversation(self, owner: str, photo: str, title: str | None, most: int) -> str:
        """A new conversation about a photo of the same person."""
        with self.database.write() as db:
            _room_for_another(db, owner, most)
            if not db.execute("SELECT 1 FROM photos WHERE id=? AND owner=?", (photo, owner)).fetchone():
                raise not_found("a photo")
            return _insert(db, owner, photo, title)

    def conversation(self, owner: str, conversation: str) -> Row:
        """One conversation of a person."""
        row = self.database.row("SELECT * FROM conversations WHERE id=? AND owner=?", (conversation, owner))
        if row is None:
            raise not_found("a conversation")
        return row

    def conversations(self, owner: str, limit: int, before: str | None) -> tuple[list[Row], str | None]:
        """A page of a person's conversations, last used first, with the cursor of the next page."""
        updated, last = _cursor(before)
        rows = self.database.rows(
            "SELECT * FROM conversations WHERE owner=? AND (updated, id) < (?, ?) "
            "ORDER BY updated DESC, id DESC LIMIT ?",
            (owner, updated, last, limit + 1),
        )
        following = f"{rows[limit - 1]['updated']!r}~{rows[limit - 1]['id']}" if len(rows) > limit else None
        return rows[:limit], following

    def of(self, owner: str) -> list[str]:
        """Ids of all conversations of a person, oldest first."""
        rows = self.database.rows("SELECT id FROM conversations WHERE owner=? ORDER BY created, id", (owner,))
        return [row["id"] for row in rows]

    def about(self, conversation: str) -> Row:
        """The photo of a conversation, whosever it is."""
        row = self.database.row(
            "SELECT photos.* FROM photos JOIN conversations ON conversations.photo=photos.id WHERE conversations.id=?",
            (conversation,),
        )
        if row is None:
            raise not_found("a conversation")
        return row

    def rename(self, owner: str, conversation: str, title: str) -> None:
        """Give a title."""
        with self.database.write() as db:
            changed = db.execute(
                "UPDATE conversations SET title=? WHERE id=? AND owner=?", (title, conversation, owner)
            ).rowcount
            if not changed:
                raise not_found("a conversation")

    def delete(self, owner: str, conversation: str) -> str | None:
        """Take a conversation away. Returns its photo when that went with it."""
        with self.database.write() as db:
            row = db.execute(
                "DELETE FROM conversations WHERE id=? AND owner=? RETURNING photo", (conversation, owner)
            ).fetchone()
            if row is None:
                raise not_found("a conversation")
            gone = _drop_unused(db, row["photo"])
        self.database.forget()
        return gone

    def fork(self, owner: str, conversation: str, turns: int | None, title: str | None, most: int) -> str:
        """A new conversation with the first turns of another one."""
        with self.database.write() as db:
            _room_for_another(db, owner, most)
            row = db.execute("SELECT * FROM conversations WHERE id=? AND owner=?", (conversation, owner)).fetchone()
            if row is None:
                raise not_found("a conversation")
            count = _count(db, conversation)
            kept = count if turns is None else turns
            if kept > count:
                raise Problem("invalid", f"at most {count} turns to keep", str(kept), field="turns")
            twin = _insert(db, owner, row["photo"], title if title is not None else row["title"])
            db.execute(
                "UPDATE conversations SET parent=?, parent_turns=?, head=? WHERE id=?",
                (conversation, kept, row["head"], twin),
            )
            db.execute(
                "INSERT INTO turns SELECT ?, number, key, created, event, reply, record FROM turns "
                "WHERE conversation=? AND number<=?", (twin, conversation, kept),
            )  # fmt: skip
            return twin

    # Turns

    def turns(self, conversation: str) -> list[Row]:
        """The turns of a conversation, oldest first."""
        return self.database.rows("SELECT * FROM turns WHERE conversation=? ORDER BY number", (conversation,))

    def turn(self, conversation: str, number: int) -> Row:
        """One turn."""
        row = self.database.row("SELECT * FROM turns WHERE conversation=? AND number=?", (conversation, number))
        if row is None:
            raise not_found("a turn")
        return row

    def last(self, conversation: str) -> Row | None:
        """The last turn."""
        return self.database.row(
            "SELECT * FROM turns WHERE conversation=? ORDER BY number DESC LIMIT 1", (conversation,)
        )

    def count(self, conversation: str) -> int:
        """How many turns."""
        return int(self.database.rows("SELECT count(*) FROM turns WHERE conversation=?", (conversation,))[0][0])

    def keys(self, conversation: str) -> list[str]:
        """The keys of the turns, oldest first."""
        rows = self.database.rows("SELECT key FROM turns WHERE conversation=? ORDER BY number", (conversation,))
        return [row["key"] for row in rows]

    def exists(self, conversation: str) -> bool:
        """Whether a conversation is still there."""
        return self.database.row("SELECT 1 FROM conversations WHERE id=?", (conversation,)) is not None

    def begin(self, conversation: str, text: str) -> None:
        """A question is asked: from now on it is open until it is answered."""
        with self.database.write() as db:
            now = time.time()
            db.execute(
                "UPDATE conversations SET question=?, asked=?, updated=?, title=coalesce(title, ?) WHERE id=?",
                (text, now, now, " ".join(text.split())[:80], conversation),
            )

    def drop_question(self, conversation: str) -> None:
        """The open question is not wanted any more."""
        with self.database.write() as db:
            db.execute("UPDATE conversations SET question=NULL, asked=NULL WHERE id=?", (conversation,))

    def answer(self, conversation: str, done: Answered, *, replaces: bool = False, asked: bool = False) -> Row:
        """A turn is done: durable after this. replaces: the last turn. asked: it answers the open question."""
        with self.database.write() as db:
            number = _count(db, conversation) + (0 if replaces else 1)
            if replaces:
                db.execute("DELETE FROM turns WHERE conversation=? AND number=?", (conversation, number))
            now = time.time()
            changed = db.execute(
                "UPDATE conversations SET head=?, updated=? WHERE id=?", (done.head, now, conversation)
            ).rowcount
            if not changed:
                raise not_found("a conversation")
            if asked:
                db.execute("UPDATE conversations SET question=NULL, asked=NULL WHERE id=?", (conversation,))
            record = None if done.record is None else _json(done.record)
            values = (conversation, number, done.key, now, done.event, _json(done.reply), record)
            db.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            found: Row = db.execute(
                "SELECT * FROM turns WHERE conversation=? AND number=?", (conversation, number)
            ).fetchone()
            return found

    def undo(self, conversation: str) -> None:
        """Take the last turn away. Raises `conflict` when there is none."""
        with self.database.write() as db:
            number = _count(db, conversation)
            if not number:
                raise Problem("conflict", "an earlier turn", "none", "ask for something first")
            db.execute("DELETE FROM turns WHERE conversation=? AND number=?", (conversation, number))
            db.execute("UPDATE conversations SET updated=? WHERE id=?", (time.time(), conversation))
        self.database.forget()

    def session(self, conversation: str) -> str | None:
        """The session as `ChatSession.to_json` wrote it after the last turn; None before the first one."""
        row = self.database.row("SELECT head FROM conversations WHERE id=?", (conversation,))
        events = [turn["event"] for turn in self.turns(conversation)]
        if row is None or row["head"] is None or not events:
            return None
        return f'{row["head"][:-1]}, "events": [{", ".join(events)}]}}'

    # Time and disk

    def writable(self) -> bool:
        """Whether the disk takes what is written."""
        try:
            with self.database.write() as db:
                db.execute("UPDATE logins SET expires=expires WHERE hash=''")
        except (sqlite3.Error, OSError):
            return False
        return True

    def expired(self, before: float) -> list[tuple[str, str]]:
        """(owner, id) of the conversations that were last used before a time."""
        rows = self.database.rows("SELECT owner, id FROM conversations WHERE updated<?", (before,))
        return [(row["owner"], row["id"]) for row in rows]

    def drop_unused_photos(self, before: float) -> list[str]:
        """Take the photos away that were never talked about since a time. Returns their ids."""
        with self.database.write() as db:
            rows = db.execute(
                "DELETE FROM photos WHERE created<? AND id NOT IN (SELECT photo FROM conversations) RETURNING id",
                (before,),
            ).fetchall()
        return [row["id"] for row in rows]

    # Logins

    def add_login(self, hash: str, owner: str, csrf: str, expires: float) -> None:
        """A browser that has shown a token. hash: of its cookie."""
        with self.database.write() as db:
            db.execute("DELETE FROM logins WHERE expires<?", (time.time(),))
            db.execute("INSERT INTO logins VALUES (?, ?, ?, ?)", (hash, owner, csrf, expires))

    def login(self, hash: str) -> Row | None:
        """The login of a cookie, when it is still good."""
        return self.database.row("SELECT * FROM logins WHERE hash=? AND expires>=?", (hash, time.time()))

    def drop_login(self, hash: str) -> None:
        """The cookie is void from now on."""
        with self.database.write() as db:
            db.execute("DELETE FROM logins WHERE hash=?", (hash,))


def _insert(db: Any, owner: str, photo: str, title: str | None) -> str:
    now, conversation = time.time(), new_id("c")
    db.execute(
        "INSERT INTO conversations (id, owner, photo, title, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
        (conversation, owner, photo, title, now, now),
    )
    return conversation


def _count(db: Any, conversation: str) -> int:
    return int(db.execute("SELECT count(*) FROM turns WHERE conversation=?", (conversation,)).fetchone()[0])


def _drop_unused(db: Any, photo: str) -> str | None:
    row = db.execute(
        "DELETE FROM photos WHERE id=? AND id NOT IN (SELECT photo FROM conversations) RETURNING id", (photo,)
    ).fetchone()
    return None if row is None else str(row["id"])


def _room(count: int, most: int, what: str) -> None:
    if count >= most:
        raise Problem("limit", f"at most {most} {what}", f"{count}", f"delete some {what} first")


def _room_for_another(db: Any, owner: str, most: int) -> None:
    _room(db.execute("SELECT count(*) FROM conversations WHERE owner=?", (owner,)).fetchone()[0], most, "conversations")


def _cursor(before: str | None) -> tuple[float, str]:
    """Where a page begins."""
    if before is None:
        return float("inf"), ""
    updated, _, last = before.partition("~")
    try:
        return float(updated), last
    except ValueError:
        raise Problem("invalid", "a cursor that a list gave as `next`", "another text", field="before") from None


def _json(value: dict[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
