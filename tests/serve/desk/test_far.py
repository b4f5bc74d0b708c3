"""Models in other processes: what is answered is as here, who leaves is heard, who dies is replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miras.chat.load import Loaded
from miras.chat.session import ChatSession
from miras.core.errors import InputError, WeightsError
from miras.serve.desk.far import Replica, Work
from miras.serve.desk.local import Call, Past
from miras.serve.problems import Problem
from miras.serve.worker import Left, Lost
from tests.serve.conftest import API, Start, ask, conversation, events_of, said, stop, whole
from tests.serve.desk.replicas import far

TEXTS = ["Where is the cup?", "Also the spoon.", "Now the table."]


def free() -> None:
    """Somebody waits."""


def test_two_workers_answer_as_one_and_a_killed_one_loses_nothing(
    start: Start, loaded: Loaded, jpeg: bytes, tmp_path: Path
) -> None:
    alone = start(data=tmp_path / "alone")
    talk = conversation(alone, jpeg)
    expected = [said(ask(alone, talk, text)) for text in TEXTS]
    pairs = [far(lambda: loaded, tmp_path / "aside") for _ in range(2)]
    client = start(data=tmp_path / "shared", desks=[desk for desk, _ in pairs])
    worker = client.app.state.service.worker  # type: ignore[attr-defined]
    talks = [conversation(client, jpeg) for _ in range(4)]
    answers: dict[str, list[Any]] = {talk: [] for talk in talks}

    def hold(talk: str) -> None:
        answers[talk] += [said(ask(client, talk, text)) for text in TEXTS[:2]]

    threads = [threading.Thread(target=hold, args=(talk,)) for talk in talks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert all(found == expected[:2] for found in answers.values())
    assert all("run" in handle.asked for _, handle in pairs)
    first = talks[0]
    dead = worker.place(first)
    pairs[dead][1].kill()
    assert said(ask(client, first, TEXTS[2])) == expected[2]
    assert worker.place(first) != dead and worker.up == 1 and client.get(f"{API}/ready").status_code == 200
    metrics = client.get("/metrics").text
    assert "miras_workers 1.0" in metrics and "miras_sessions_restored_total 0.0" not in metrics
    pairs[dead][1].revive()
    until = time.monotonic() + 60
    while worker.up < 2:
        assert time.monotonic() < until
        time.sleep(0.02)
    undone = client.post(f"{API}/conversations/{first}/undo").json()
    assert [said(turn) for turn in undone["history"]] == expected[:2]
    twin = client.post(f"{API}/conversations/{first}/fork", json={}).json()["id"]
    assert worker.place(twin) == worker.place(first)
    assert said(ask(client, twin, TEXTS[2])) == said(ask(client, first, TEXTS[2])) == expected[2]
    refused = client.post(f"{API}/conversations/{first}/refine", json={"box": [1, 1, 900, 900], "region": 1})
    assert refused.status_code == 422 and "inside the photo" in refused.json()["expected"]
    assert client.delete(f"{API}/conversations/{first}").status_code == 204
    stop(client)


def test_one_that_dies_within_a_turn_leaves_its_question_open(
    start: Start, loaded: Loaded, jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, handle = far(lambda: loaded, tmp_path / "aside")
    client = start(desks=[desk])
    talk = conversation(client, jpeg)
    first = ask(client, talk, TEXTS[0])
    stream = ChatSession.stream

    def slow(session: ChatSession, text: str, **more: Any) -> Iterator[Any]:
        for number, event in enumerate(stream(session, text, **more)):
            yield event
            if number == 0:
                assert handle.heard.wait(60)
                handle.kill()

    monkeypatch.setattr(ChatSession, "stream", slow)
    handle.heard.clear()
    answer = client.post(f"{API}/conversations/{talk}/ask", json={"text": TEXTS[1]})
    name, problem = events_of(answer.text)[-1]
    assert (name, problem["status"], problem["type"]) == ("error", 503, "urn:miras:problem:lost")
    view = whole(client, talk)
    assert view["history"] == [first] and view["state"] == "open" and view["open"]["text"] == TEXTS[1]
    assert client.get(f"{API}/ready").status_code == 503
    monkeypatch.undo()
    handle.revive()
    turn = events_of(client.post(f"{API}/conversations/{talk}/retry").text)[-1][1]
    assert turn["user"] == TEXTS[1] and whole(client, talk)["open"] is None
    stop(client)


def test_who_leaves_is_heard_while_nothing_is_said(loaded: Loaded, jpeg: bytes, tmp_path: Path) -> None:
    desk, handle = far(lambda: loaded, tmp_path)
    held, go = threading.Event(), threading.Event()
    assert handle.replica is not None
    handle.replica.thread.submit(lambda: (held.set(), go.wait(60)))  # the model is busy with something
    assert held.wait(60)
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Left

    call = Call("one", (), None, "ask", {"text": TEXTS[0]})
    with pytest.raises(Left):
        list(desk.run(call, lambda: Past(jpeg, None), check))
    assert handle.asked[-1] == "leave"
    go.set()
    names = [name for name, _ in desk.run(call, lambda: Past(jpeg, None), free)]
    assert names[0] == "read" and names[-1] == "said" and desk.facts.sessions == 1
    desk.drop("one")
    assert [name for name, _ in desk.run(call, lambda: Past(jpeg, None), free)].count("read") == 1


@pytest.mark.parametrize(("error", "kind"), [(InputError("a", "b"), "invalid"), (RuntimeError("words"), "internal")])
def test_faults_come_back_as_they_are(
    error: Exception, kind: str, loaded: Loaded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk, handle = far(lambda: loaded, tmp_path)

    def past() -> Past:
        raise error

    call = Call("one", (), None, "ask", {"text": TEXTS[0]})
    with pytest.raises(type(error)):
        list(desk.run(call, past, free))
    with pytest.raises(Problem) as caught:  # no photo: the fault is the replica's
        list(desk.run(call, lambda: Past(b"no photo", None), free))
    assert caught.value.kind == "invalid"
    handle.kill()
    with pytest.raises(Lost):
        list(desk.run(call, past, free))
    assert not desk.back()
    assert "words" not in caplog.text


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    def load() -> Loaded:
        raise WeightsError("weights", "none", "fetch them")

    desk, _ = far(load, Path("nowhere"))
    fault, process, size = desk.handle.ready.remote().result()
    assert isinstance(fault, WeightsError) and fault.cure == "fetch them" and process > 0 and size > 0
    assert not desk.back()
    assert Replica(Work(load, 0, Path(), 0)).fault is not None
