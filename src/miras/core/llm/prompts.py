"""Prompt files: Markdown that ships with a room, with values to fill in and a version.

In: the name of a package and of a file in its `prompts` folder. Out: the messages of a chat. Knows no task.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from string import Template

from miras.core.llm.answers import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file. version: the first 12 digits of its SHA-256, recorded with every result."""

    system: str
    user: Template
    version: str

    def messages(self, **values: object) -> tuple[Message, ...]:
        """The two messages, filled in. A value is taken literally, whatever stands in it."""
        return Message("system", self.system), Message("user", self.user.substitute(values))

    def filled(self, **values: object) -> tuple[Message, ...]:
        """The same, the system's part filled in, too."""
        return Message("system", Template(self.system).substitute(values)), self.messages(**values)[1]


@lru_cache
def read_prompt(package: str, name: str) -> Prompt:
    """`prompts/NAME.md` of a package: the system's part and the user's with a line of three dashes between."""
    text = files(package).joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    system, _, user = text.partition("\n---\n")
    return Prompt(system.strip(), Template(user.strip()), hashlib.sha256(text.encode("utf-8")).hexdigest()[:12])
