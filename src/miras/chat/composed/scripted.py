"""A talker that reads its answers from a file: for tests, and for demonstrations without any model.

In: JSON lines, the answer to the first message first (the objects that `prompts/talk.md` asks for, or any text). Out:
answers, by how many exchanges there were before: after an undo, and in a fork, the same line again. A mask that it
looks at is accepted, unless a line {"look": ...} says otherwise: those are taken by the name of the region. Sees
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from miras.chat.composed.asking import Question
from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Estimate, NoAnswer, Usage, digest_of

ACCEPT = '{"verdict": "accept", "points": []}'


class Scripted:
    """Answers from a file. Raises InputError when it cannot be read."""

    def __init__(self, file: Path) -> None:
        try:
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("a file of answers, one JSON object a line", f"{file}: {error}") from error
        self._hold(lines, digest_of(lines)[:12])

    @classmethod
    def of(cls, lines: Sequence[str], name: str) -> Scripted:
        """Answers that are no file's. `answers` may be changed while it talks."""
        made = cls.__new__(cls)
        made._hold(lines, name)
        return made

    def _hold(self, lines: Sequence[str], name: str) -> None:
        self.answers, self._looks = list[str](), dict[str, str]()
        for line in lines:
            look = _look(line)
            if look is None:
                self.answers.append(line)
            else:
                self._looks[look[0]] = look[1]
        self.name = f"scripted:{name}"

    async def answer(self, question: Question, /) -> Answer:
        """The next line. Raises NoAnswer when there is none any more."""
        if question.step == "look":
            phrase = question.messages[-1].text.rpartition(": ")[2]
            text = self._looks.get(phrase, ACCEPT)
        else:
            if question.turn >= len(self.answers):
                got = f"{len(self.answers)} lines"
                raise NoAnswer(f"an answer to message {question.turn + 1}", got, "add a line to the script")
            text = self.answers[question.turn]
        read = sum(len(message.text) for message in question.messages) // 4
        return Answer(text, Usage(read, len(text) // 4))

    def estimate(self, questions: Sequence[Question], /) -> Estimate:
        """Nothing is paid."""
        return Estimate(len(questions), 0, 0, 0.0)

    def stop(self) -> None:
        """Nothing runs."""

    async def close(self) -> None:
        """Nothing is open."""


def _look(line: str) -> tuple[str, str] | None:
    """Name and answer of a line about a mask."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or "look" not in value:
        return None
    return str(value.pop("look")), json.dumps(value)
