"""The whole run: order, rejections, faulty lines, and a kill at any moment that loses and repeats nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from miras.annotate.teacher.pipeline import CONVERSATIONS, JOURNAL, REJECTED, annotate_file
from miras.annotate.teacher.protocol import Request
from miras.core.errors import InputError
from miras.core.llm.answers import EndpointDown, NoAnswer
from miras.data.record import example_of
from tests.annotate import made
from tests.annotate.made import GOOD, Fake, dialogue, photos_file, reasoning, turn


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_photos_in_conversations_out(tmp_path: Path) -> None:
    source, out = photos_file(tmp_path, 3), tmp_path / "out"
    seen: list[str] = []
    summary = annotate_file(source, out, Fake(seconds=0.002), on_photo=lambda outcome: seen.append(outcome.photo.id))
    records = lines(out / CONVERSATIONS)
    assert seen == ["p0", "p1", "p2"]
    assert [record["id"] for record in records] == [f"p{photo}-{path}" for photo in range(3) for path in (1, 2, 3)]
    assert records[0]["image"] == "../img/0.png"
    example = example_of(records[0], out)
    assert example.image.resolve() == (tmp_path / "img" / "0.png").resolve()
    assert (summary.photos, summary.conversations, summary.utterances, summary.masks) == (3, 9, 54, 27)
    assert (summary.paid, summary.replayed, summary.rejected, summary.failed) == (15, 0, 0, 0)
    assert (summary.prompt_tokens, summary.completion_tokens, summary.cost) == (1500, 150, 0.015)
    assert sorted(path.name for path in out.iterdir()) == sorted([CONVERSATIONS, REJECTED, JOURNAL])
    versions = records[0]["meta"]["prompts"]
    assert set(versions) == {"elements", "reasoning", "dialogues"} and all(len(v) == 12 for v in versions.values())


def test_a_second_run_pays_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    source, out = photos_file(tmp_path, 4), tmp_path / "out"
    annotate_file(source, out, Fake(), window=1)
    first = (out / CONVERSATIONS).read_bytes()
    again = Fake()
    summary = annotate_file(source, out, again)
    assert (len(again.requests), summary.paid, summary.replayed) == (0, 0, 20)
    annotate_file(source, tmp_path / "other", Fake(seconds=0.003), window=16)
    assert first == (out / CONVERSATIONS).read_bytes() == (tmp_path / "other" / CONVERSATIONS).read_bytes()
    annotate_file(source, tmp_path / "third", Fake(), seed=1)
    assert first != (tmp_path / "third" / CONVERSATIONS).read_bytes()


JOINED = dialogue(rounds=[dialogue()["rounds"][0], turn("And?", "The mug and spoon.", 1, "mug and spoon")], focus=1)


@pytest.mark.parametrize(
    ("answers", "conversations", "rejected"),
    [
        ({"elements": "{"}, 0, [("elements", 0, True)]),
        ({"reasoning": {}}, 0, [("reasoning", 0, True)]),
        ({"reasoning": reasoning((1, 2, 1))}, 1, [("reasoning", 1, False), ("reasoning", 3, False)]),
        (
            {"reasoning": reasoning((1, 1, 1))},
            0,
            [("reasoning", 1, False), ("reasoning", 2, False), ("reasoning", 3, False)],
        ),
        ({"dialogues": JOINED}, 0, [("dialogues", 1, True), ("dialogues", 2, True), ("dialogues", 3, True)]),
        (
            {"dialogues": NoAnswer("an answer", "7 calls that failed")},
            0,
            [("dialogues", n, True) for n in (1, 2, 3)],
        ),
    ],
)
def test_what_comes_to_nothing_is_listed(tmp_path: Path, answers: Any, conversations: int, rejected: Any) -> None:
    source, out = photos_file(tmp_path, 1), tmp_path / "out"
    summary = annotate_file(source, out, Fake(GOOD | answers))
    assert summary.conversations == conversations == len(lines(out / CONVERSATIONS))
    found = lines(out / REJECTED)
    assert [(line["step"], line["path"], line["failed"]) for line in found] == rejected
    assert all(line["id"] == "p0" and line["reason"] for line in found)
    assert summary.failed == sum(failed for _, _, failed in rejected)


def test_a_teacher_that_is_down_stops_the_run_and_keeps_what_was_paid(tmp_path: Path) -> None:
    source, out = photos_file(tmp_path, 3), tmp_path / "out"
    (out).mkdir()
    (out / CONVERSATIONS).write_text("earlier\n")
    teacher = Fake(GOOD | {"dialogues": EndpointDown("credit", "none")})
    with pytest.raises(EndpointDown):
        annotate_file(source, out, teacher)
    assert teacher.stopped and teacher.closed
    assert (out / CONVERSATIONS).read_text() == "earlier\n"
    steps = Counter(line["step"] for line in lines(out / JOURNAL))
    assert steps["elements"] == 3 and steps["dialogues"] == 0
    again = Fake()
    annotate_file(source, out, again)
    assert sum(request.step == "elements" for request in again.requests) == 0


def test_faulty_lines_are_named_and_the_rest_is_done(tmp_path: Path) -> None:
    source, out = photos_file(tmp_path, 2), tmp_path / "out"
    source.write_text("{\n" + source.read_text())
    faults: list[str] = []
    summary = annotate_file(source, out, Fake(), on_fault=faults.append)
    assert summary.conversations == 6 and len(faults) == 1 and "line 1" in faults[0]
    with pytest.raises(InputError, match="line 1"):
        annotate_file(source, tmp_path / "other", Fake())
    assert len(lines(tmp_path / "other" / CONVERSATIONS)) == 6


def test_an_unpaid_run_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl"):
        annotate_file(tmp_path / "none.jsonl", tmp_path / "out", Fake())


# Killed


def run_and_kill(arguments: list[str], journal: Path, answers: int, how: signal.Signals = signal.SIGKILL) -> int:
    """Start a run, kill it once the journal holds so many lines; its exit code. It minds Ctrl-C also where the tests
    themselves run in the background of a shell that has it ignored."""
    process = subprocess.Popen(
        [sys.executable, made.__file__, *arguments],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= answers:
            os.kill(process.pid, how)
            break
        time.sleep(0.001)
    return process.wait(60)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_kill_9_loses_no_paid_answer_and_repeats_none(tmp_path: Path) -> None:
    source, count = photos_file(tmp_path, 12), 12 * 5
    annotate_file(source, tmp_path / "whole", Fake(), window=3)
    out, log = tmp_path / "out", tmp_path / "calls.log"
    journal = out / JOURNAL
    arguments = [str(source), str(out), str(log), "0.004", "3"]
    cut, in_flight = 0, 0
    for wanted in (7, 24, 41):
        before, kept = len(noted(log, "call")), keys(journal)
        assert run_and_kill(arguments, journal, wanted) == -signal.SIGKILL
        called = noted(log, "call")[before:]
        assert not set(called) & kept, "a paid answer was asked for again"
        in_flight += len(set(called) - keys(journal))
        # One at most: the answer whose line was being written.
        assert len(set(noted(log, "came")) - keys(journal)) <= 1, "an answer had come and was not kept"
        # What a kill inside a write leaves: a line without its end.
        journal.write_bytes(journal.read_bytes() + b'{"key": "torn", "te')
        cut += 1
    assert run_and_kill(arguments, journal, 10**9) == 0
    calls = Counter(noted(log, "call"))
    assert cut == 3
    assert len(keys(journal)) == len(calls) == count
    assert len(journal.read_bytes().splitlines()) == count, "an answer stands in the journal twice"
    assert sum(calls.values()) == count + in_flight, "only calls whose answer had not arrived are asked again"
    for name in (CONVERSATIONS, REJECTED):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child there")
def test_ctrl_c_waits_for_the_answers_on_their_way(tmp_path: Path) -> None:
    source, out, log = photos_file(tmp_path, 12), tmp_path / "out", tmp_path / "calls.log"
    assert run_and_kill([str(source), str(out), str(log), "0.03", "3"], out / JOURNAL, 5, signal.SIGINT) != 0
    called = set(noted(log, "call"))
    assert 5 <= len(called) < 60
    assert called == keys(out / JOURNAL)
    assert sorted(path.name for path in out.iterdir()) == [JOURNAL]


def noted(log: Path, what: str) -> list[str]:
    """The keys that the fake noted as called, or as come."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [key for kind, key in lines if kind == what]


def keys(journal: Path) -> set[str]:
    """The requests whose answers are whole lines of the journal, by the key that the fake writes down."""
    if not journal.exists():
        return set()
    whole = journal.read_bytes().rpartition(b"\n")[0].splitlines()
    return {json.loads(line)["request"] for line in whole}


def test_the_journal_names_the_request(tmp_path: Path) -> None:
    source, out = photos_file(tmp_path, 1), tmp_path / "out"
    teacher = Fake()
    annotate_file(source, out, teacher)
    asked: set[str] = {request.key for request in teacher.requests if isinstance(request, Request)}
    assert keys(out / JOURNAL) == asked
