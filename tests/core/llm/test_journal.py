"""The journal: what is in it is there, a torn line is cut off, and no answer is paid twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Estimate, Message, NoAnswer, Usage
from miras.core.llm.journal import Journal, Journaled


@dataclass(frozen=True)
class Said:
    messages: tuple[Message, ...]
    step: str = "elements"
    key: str = "r1"


class Fake:
    """Answers after a while, or fails."""

    def __init__(self, error: NoAnswer | None = None, seconds: float = 0.0) -> None:
        self.name, self.error, self.seconds = "fake", error, seconds
        self.requests: list[Said] = []
        self.closed = self.stopped = False

    async def answer(self, request: Said, /) -> Answer:
        self.requests.append(request)
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Answer("said", Usage(100, 10), 0.001)

    def estimate(self, requests, /) -> Estimate:
        return Estimate(len(requests), 0, 0, 0.0)

    def stop(self) -> None:
        self.stopped = True

    async def close(self) -> None:
        self.closed = True


ANSWERS = [Answer(f"text {i} ü\n", Usage(i, 2 * i), i / 10, 1 + i, "length" if i else "stop") for i in range(3)]
REQUEST = Said((Message("user", "List."),))


def filled(path: Path) -> Path:
    journal = Journal(path)
    for index, answer in enumerate(ANSWERS):
        journal.put(f"k{index}", answer, step="elements")
    journal.close()
    return path


def test_answers_come_back_after_reopening(tmp_path: Path) -> None:
    journal = Journal(filled(tmp_path / "j.jsonl"))
    assert [journal.get(f"k{index}") for index in range(3)] == ANSWERS
    assert (journal.get("k3"), len(journal), "k1" in journal, "k3" in journal) == (None, 3, True, False)
    assert (journal.usage, round(journal.cost, 6)) == (Usage(3, 6), 0.3)
    journal.put("k3", ANSWERS[0])
    assert (journal.get("k3"), journal.get("k2")) == (ANSWERS[0], ANSWERS[2])
    journal.close()


def test_a_file_cut_at_any_byte_keeps_every_whole_line(tmp_path: Path) -> None:
    whole = filled(tmp_path / "j.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(0, len(whole) + 1, 7):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        lines = sum(end <= cut for end in ends)
        assert len(journal) == lines
        assert path.stat().st_size == ([0, *ends][lines])
        journal.put("new", ANSWERS[1])
        assert journal.get("new") == ANSWERS[1]
        journal.close()
        assert len(Journal(path, read_only=True)) == lines + 1


@pytest.mark.parametrize("line", ["[]", "{}", '{"key": 1}', "nonsense", '{"key": "a", "text": "b", "usage": {}}'])
def test_a_damaged_line_inside_is_named(tmp_path: Path, line: str) -> None:
    path = filled(tmp_path / "j.jsonl")
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\n{line}\n{rest}")
    with pytest.raises(InputError, match="damaged line 2"):
        Journal(path)


def test_read_only_changes_nothing(tmp_path: Path) -> None:
    assert len(Journal(tmp_path / "none.jsonl", read_only=True)) == 0
    assert not (tmp_path / "none.jsonl").exists()
    path = filled(tmp_path / "j.jsonl")
    path.write_bytes(torn := path.read_bytes() + b'{"key": "to')
    journal = Journal(path, read_only=True)
    assert len(journal) == 3
    assert path.read_bytes() == torn
    with pytest.raises(InputError, match="opened to read"):
        journal.put("k", ANSWERS[0])


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    code = f"from miras.core.llm.journal import Journal; from pathlib import Path; Journal(Path({str(path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert "another run that writes it" in done.stderr
    journal.close()
    Journal(path).close()


def test_no_room_leaves_no_torn_line(tmp_path: Path) -> None:
    journal = Journal(filled(tmp_path / "j.jsonl"))
    size = journal.path.stat().st_size

    class Full:
        def __init__(self, file):
            self.file, self.calls = file, 0

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            self.calls += 1
            if self.calls > 1:
                raise OSError(28, "No space left on device")
            return self.file.write(bytes(data[:10]))

    journal._file = Full(journal._file)
    with pytest.raises(InputError, match="No space left"):
        journal.put("k9", ANSWERS[1])
    assert journal.path.stat().st_size == size
    journal.close()


def test_an_answer_is_paid_once_and_kept_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"

    async def twice(teacher: Fake) -> tuple[int, int]:
        journaled = Journaled(teacher, Journal(path))
        one, two = await asyncio.gather(journaled.answer(REQUEST), journaled.answer(REQUEST))
        assert json.loads(path.read_text())["text"] == one.text == two.text
        await journaled.answer(REQUEST)
        await journaled.close()
        return journaled.paid, journaled.replayed

    first, second = Fake(seconds=0.01), Fake()
    assert asyncio.run(twice(first)) == (1, 1)
    assert asyncio.run(twice(second)) == (0, 3)
    assert (len(first.requests), len(second.requests), first.stopped, first.closed) == (1, 0, True, True)


def test_another_teacher_pays_for_itself(tmp_path: Path) -> None:
    async def run(name: str) -> int:
        teacher = Fake()
        teacher.name = name
        journaled = Journaled(teacher, Journal(tmp_path / "j.jsonl"))
        await journaled.answer(REQUEST)
        await journaled.close()
        return journaled.paid

    assert [asyncio.run(run(name)) for name in ("one", "two", "one")] == [1, 1, 0]


def test_a_cancelled_run_keeps_what_was_on_its_way(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"

    async def run() -> None:
        journaled = Journaled(Fake(seconds=0.05), Journal(path))
        task = asyncio.ensure_future(journaled.answer(REQUEST))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        await journaled.close()

    asyncio.run(run())
    assert len(path.read_text().splitlines()) == 1


def test_a_failed_call_is_not_kept(tmp_path: Path) -> None:
    async def run() -> None:
        journaled = Journaled(Fake(NoAnswer("an answer", "none")), Journal(tmp_path / "j.jsonl"))
        with pytest.raises(NoAnswer):
            await journaled.answer(REQUEST)
        await journaled.close()

    asyncio.run(run())
    assert (tmp_path / "j.jsonl").read_bytes() == b""


def test_an_estimate_leaves_out_what_is_held(tmp_path: Path) -> None:
    async def run() -> tuple[int, dict[str, str]]:
        journaled = Journaled(Fake(), Journal(tmp_path / "j.jsonl"), "judge")
        await journaled.answer(REQUEST)
        rest = journaled.estimate([REQUEST, Said(REQUEST.messages, key="r2")]).requests
        await journaled.close()
        return rest, json.loads((tmp_path / "j.jsonl").read_text())

    rest, line = asyncio.run(run())
    assert rest == 1
    assert (line["judge"], line["step"], line["request"]) == ("fake", "elements", "r1")
