"""What the service keeps true when things go wrong: a full queue, a stop, another model."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from miras.chat.composed.compose import compose
from miras.chat.load import Loaded
from miras.serve.settings import Limits
from tests.serve.conftest import API, Start, ask, conversation, events_of, stop, whole

TEXTS = ["Where is the cup?", "Also the spoon.", "Now the table."]


def offered(service: Any, hold: Any, running: threading.Event) -> bool:
    """Whether it runs. Offered again: such work is forgotten while as much of it waits as the queue may hold."""
    if not running.is_set():
        service.worker.when_idle("hold", hold)
    return running.wait(0.1)


def test_a_full_queue_says_when_to_come_back(start: Start, jpeg: bytes) -> None:
    client = start(limits=Limits(queue=1))
    service = client.app.state.service  # type: ignore[attr-defined]
    talks = [conversation(client, jpeg) for _ in range(3)]
    gate, running = threading.Event(), threading.Event()

    def hold() -> None:
        running.set()
        gate.wait(300)

    until(lambda: offered(service, hold, running))  # the model's thread is busy
    answers: dict[int, Any] = {}

    def send(n: int) -> None:
        answers[n] = client.post(f"{API}/conversations/{talks[n]}/ask", json={"text": TEXTS[0]})

    thread = threading.Thread(target=send, args=(0,))
    thread.start()
    until(lambda: service.worker.length == 1)
    busy = client.post(f"{API}/conversations/{talks[0]}/undo")
    assert busy.status_code == 409 and "not done" in busy.json()["got"]
    assert whole(client, talks[0])["state"] == "running"
    send(1)
    gate.set()
    thread.join(300)
    assert answers[1].status_code == 429 and int(answers[1].headers["retry-after"]) >= 1
    assert whole(client, talks[1])["open"] is None
    assert events_of(answers[0].text)[-1][0] == "reply"


def test_a_stop_leaves_questions_open_and_a_start_finds_them(start: Start, jpeg: bytes) -> None:
    client = start()
    service = client.app.state.service  # type: ignore[attr-defined]
    talk = conversation(client, jpeg)
    first = ask(client, talk, TEXTS[0])
    gate, running = threading.Event(), threading.Event()
    until(lambda: offered(service, lambda: (running.set(), gate.wait(300)), running))
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(client.post(f"{API}/conversations/{talk}/ask", json={"text": TEXTS[1]}))
    )
    thread.start()
    until(lambda: service.worker.length == 1)
    service.worker.drain()
    thread.join(300)
    answer = answers[0]  # told in its stream, or before it when it was not in the queue yet
    problem = answer.json() if answer.status_code == 503 else dict(events_of(answer.text))["error"]
    assert problem["status"] == 503 and problem["type"].endswith(":stopping")
    assert client.get(f"{API}/ready").status_code == 503
    gate.set()
    stop(client)
    again = start()
    view = whole(again, talk)
    assert view["state"] == "open" and view["open"]["text"] == TEXTS[1] and view["history"] == [first]
    turn = events_of(again.post(f"{API}/conversations/{talk}/retry").text)[-1][1]
    assert turn["user"] == TEXTS[1] and whole(again, talk)["open"] is None
    service = again.app.state.service  # type: ignore[attr-defined]
    service.records.begin(talk, TEXTS[2])
    dropped = again.delete(f"{API}/conversations/{talk}/open").json()
    assert dropped["open"] is None and dropped["turns"] == 2


def test_a_conversation_of_another_model_can_still_be_read(
    start: Start, loaded: Loaded, jpeg: bytes, tmp_path: Path
) -> None:
    client = start()
    talk = conversation(client, jpeg)
    turn = ask(client, talk, TEXTS[0])
    service = client.app.state.service  # type: ignore[attr-defined]
    with service.database.write() as db:
        db.execute('UPDATE conversations SET head=replace(head, \'"language": "tiny"\', \'"language": "other"\')')
    service.desks[0].drop(talk)
    answer = client.post(f"{API}/conversations/{talk}/ask", json={"text": TEXTS[1]})
    name, problem = events_of(answer.text)[-1]
    assert name == "error" and problem["status"] == 409 and "of this model" in problem["expected"]
    view = whole(client, talk)
    assert view["history"] == [turn] and view["state"] == "open"


def test_a_pair_answers_over_http(start: Start, jpeg: bytes, tmp_path: Path) -> None:
    """Ask, point, fork, undo, export; and a server that starts anew goes on from the disk."""
    box = {"id": 0, "phrase": "cup", "box": [100, 100, 600, 600], "points": []}
    again = {"id": 1, "phrase": "", "box": [], "points": []}
    steps = [[{"do": "replace", "regions": [box]}], [{"do": "all_but", "regions": [again]}], []]
    lines = [
        json.dumps({"text": text, "steps": each})
        for text, each in zip(["The cup.", "All but it.", "Bye."], steps, strict=True)
    ]
    (tmp_path / "script").write_text("\n".join(lines))
    pair = compose(f"scripted:{tmp_path / 'script'}", "miras-tiny", look=True)
    client = start(model=pair)
    talk = conversation(client, jpeg)
    first = ask(client, talk, "the cup")
    assert first["text"] == "The cup." and [part["region"] for part in first["pieces"]] == [None, 1, None]
    assert ask(client, talk, "all but it")["selection"]["expression"] == "~1"
    stop(client)
    client = start(model=pair)
    assert ask(client, talk, "thanks")["text"] == "Bye."
    assert client.post(f"{API}/conversations/{talk}/undo").status_code == 200
    assert whole(client, talk)["selection"]["expression"] == "~1"
    answer = client.post(f"{API}/conversations/{talk}/refine", json={"box": [1, 1, 30, 30], "region": 1})
    assert answer.status_code == 200 and whole(client, talk)["turns"] == 3


def until(true: Any, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
