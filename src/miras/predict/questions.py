"""What is asked about each photo: separate questions, and conversations of several turns.

In: texts, and a script (a message a line; an empty line begins another conversation; lines that begin with # are
remarks). Out: conversations, each the messages of one talk. Knows no photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from miras.chat.inputs import clean_text
from miras.core.errors import InputError
from miras.core.text import read_text

Messages = tuple[str, ...]
"""What a person says in one conversation, turn after turn."""


def questions_of(asks: Sequence[str], script: Path | None = None) -> tuple[Messages, ...]:
    """A conversation for each of `asks`, then those of the script.

    Raises InputError for no question, an empty one, and a script that cannot be read.
    """
    found: list[Messages] = [(clean_text(text),) for text in asks]
    if script is not None:
        found += _scripted(script)
    if not found:
        raise InputError("a question", "none", 'give --ask "Where is the cup?" or --script FILE')
    return tuple(dict.fromkeys(found))


def _scripted(path: Path) -> list[Messages]:
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError("a script of messages", f"{path} ({error.strerror})") from error
    talks: list[list[str]] = [[]]
    for line in text.splitlines():
        if not line.strip():
            talks.append([])
        elif not line.startswith("#"):
            talks[-1].append(clean_text(line))
    found = [tuple(talk) for talk in talks if talk]
    if not found:
        raise InputError("a script with a message a line", f"{path} without any")
    return found
