"""Conversations over HTTP: what is asked, streamed, refined, undone, forked, exported, deleted."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from miras.chat.load import Loaded
from miras.core.masks import decode_rle, encode_rle
from tests.serve.conftest import API, Start, ask, conversation, events_of, said, stop, upload, whole

TEXTS = ["Where is the cup?", "Also the spoon.", "Now the table."]


def mask_at(client: TestClient, address: str) -> Any:
    picture = Image.open(io.BytesIO(client.get(address).content))
    assert picture.mode == "L"
    return np.asarray(picture) > 0


def refine(client: TestClient, talk: str, **body: Any) -> Any:
    answer = client.post(f"{API}/conversations/{talk}/refine", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_reply_is_streamed_kept_and_shown(client: TestClient, jpeg: bytes) -> None:
    talk = conversation(client, jpeg)
    answer = client.post(f"{API}/conversations/{talk}/ask", json={"text": TEXTS[0]})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    names = [name for name, _ in events]
    assert names[0] == "queue" and names[-1] == "reply" and names.count("reply") == 1
    turn = events[-1][1]
    assert "".join(data["text"] for name, data in events if name == "text") == turn["text"]
    assert [data["id"] for name, data in events if name == "region"] == [region["id"] for region in turn["regions"]]
    assert "".join(piece["text"] for piece in turn["pieces"]) == turn["text"]
    region = turn["regions"][0]
    assert region["rle"]["size"] == [48, 64]
    assert region["area"] == int(decode_rle(region["rle"]).sum()) > 0
    assert (mask_at(client, region["mask_url"]) == decode_rle(region["rle"])).all()
    selection = turn["selection"]
    assert (mask_at(client, selection["mask_url"]) == decode_rle(selection["rle"])).all()
    overlay = Image.open(io.BytesIO(client.get(selection["overlay_url"]).content))
    assert overlay.size == (64, 48)
    view = whole(client, talk)
    assert view["history"] == [turn] and view["state"] == "idle" and view["open"] is None
    assert view["title"] == TEXTS[0] and view["selection"] == selection
    stored = client.get(region["mask_url"]).headers["etag"]
    assert client.get(region["mask_url"], headers={"If-None-Match": stored}).status_code == 304


def test_a_session_put_aside_answers_as_the_one_that_stayed(start: Start, jpeg: bytes, tmp_path: Path) -> None:
    stayed = start()
    talk = conversation(stayed, jpeg)
    alone = [said(ask(stayed, talk, text)) for text in TEXTS]
    for room in (0, 2**30):  # made again from its record; read back as it was
        aside = start(data=tmp_path / f"other {room}", session_bytes=0, aside_bytes=room)
        first, second = conversation(aside, jpeg), conversation(aside, jpeg)
        found: dict[str, list[Any]] = {first: [], second: []}
        for text in TEXTS:
            for talk in (first, second):
                found[talk].append(said(ask(aside, talk, text)))
        assert found[first] == found[second] == alone
        sessions = aside.app.state.service.desks[0].sessions  # type: ignore[attr-defined]
        assert sessions.put_aside >= 4 and len(sessions) == 1
        assert (sessions.brought_back >= 4) == bool(room) == (sessions.bytes_aside > 0)
        assert ("miras_sessions_restored_total 0.0" in aside.get("/metrics").text) == bool(room)
        assert client_deletes(aside, first, second) and sessions.bytes_aside == len(sessions) == 0


def client_deletes(client: TestClient, *talks: str) -> bool:
    return all(client.delete(f"{API}/conversations/{talk}").status_code == 204 for talk in talks)


def test_eight_at_once_are_as_each_alone(start: Start, jpeg: bytes, tmp_path: Path) -> None:
    messages = {n: [f"{text} {n}" for text in TEXTS[:2]] for n in range(8)}
    alone = start(data=tmp_path / "alone")
    expected = {}
    for n, texts in messages.items():
        talk = conversation(alone, jpeg)
        expected[n] = [said(ask(alone, talk, text)) for text in texts]
    client = start(session_bytes=1_500_000)  # a few fit
    talks = {n: conversation(client, jpeg) for n in messages}
    found: dict[int, list[Any]] = {}

    def hold(n: int) -> None:
        found[n] = [said(ask(client, talks[n], text)) for text in messages[n]]

    threads = [threading.Thread(target=hold, args=(n,)) for n in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert found == expected
    assert len({json.dumps(turns) for turns in found.values()}) == 8
    for n, talk in talks.items():
        assert [said(turn) for turn in whole(client, talk)["history"]] == expected[n]


def test_refine_undo_and_fork(client: TestClient, jpeg: bytes) -> None:
    talk = conversation(client, jpeg)
    pointed = refine(client, talk, points=[{"x": 20, "y": 20, "label": 1}])
    assert pointed["kind"] == "pointing" and pointed["regions"][0]["id"] == 1
    refined = refine(client, talk, box=[8, 8, 40, 32], region=1)
    assert refined["kind"] == "refinement" and refined["regions"][0]["box"] == pytest.approx([8, 8, 40, 32], abs=2)
    drawn = np.zeros((48, 64), bool)
    drawn[10:20, 10:30] = True
    given = refine(client, talk, mask={"rle": encode_rle(drawn)})
    assert (decode_rle(given["regions"][0]["rle"]) == drawn).all() and given["regions"][0]["score"] is None
    rubbed = refine(client, talk, strokes=[{"path": [[10, 15], [29, 15]], "label": 0, "width": 4}], paint=True)
    left = decode_rle(rubbed["regions"][0]["rle"])
    assert not (left & ~drawn).any() and 0 < left.sum() < drawn.sum() and not left[15, 12:28].any()
    hinted = refine(client, talk, strokes=[{"path": [[10, 15], [29, 15]], "label": 1}])
    assert hinted["kind"] == "refinement" and hinted["regions"][0]["score"] is not None
    view = whole(client, talk)
    assert [turn["turn"] for turn in view["history"]] == [1, 2, 3, 4, 5]
    assert [region["id"] for region in view["regions"]] == [1] and view["regions"][0]["turn"] == 5
    undone = client.post(f"{API}/conversations/{talk}/undo").json()
    assert undone["history"] == view["history"][:4] and undone["regions"][0]["rle"] == encode_rle(left)
    twin = client.post(f"{API}/conversations/{talk}/fork", json={"turns": 3}).json()
    assert [said(turn) for turn in twin["history"]] == [said(turn) for turn in view["history"][:3]]
    assert twin["parent"] == {"conversation": talk, "turns": 3}
    assert (mask_at(client, twin["selection"]["mask_url"]) == drawn).all()
    assert said(ask(client, twin["id"], TEXTS[1]))["turn"] == 4
    assert len(whole(client, talk)["history"]) == 4


def test_another_selection_by_hand(start: Start, jpeg: bytes, tmp_path: Path) -> None:
    client = start()
    talk = conversation(client, jpeg)
    first = ask(client, talk, TEXTS[0])
    number = first["regions"][0]["id"]
    answer = client.post(f"{API}/conversations/{talk}/select", json={"expression": f" ~ ({number})"})
    assert answer.status_code == 200, answer.text
    turn = answer.json()
    assert (turn["turn"], turn["kind"], turn["user"], turn["text"], turn["regions"]) == (2, "selection", "", "", [])
    assert (turn["selection"]["expression"], turn["selection"]["left_out"]) == (f"~{number}", [number])
    mask = decode_rle(turn["selection"]["rle"])
    assert (mask == ~decode_rle(whole(client, talk)["regions"][number - 1]["rle"])).all()
    assert (mask_at(client, turn["selection"]["mask_url"]) == mask).all()
    for expression in ("1 +", "99", f"~{number}", "(" * 4000):
        refused = client.post(f"{API}/conversations/{talk}/select", json={"expression": expression})
        assert refused.status_code == 422 and refused.json()["cure"]
    with zipfile.ZipFile(io.BytesIO(client.get(f"{API}/conversations/{talk}/export?format=prist").content)) as archive:
        (line,) = archive.read("conversations.jsonl").splitlines()
    ask(client, talk, TEXTS[1])
    with zipfile.ZipFile(io.BytesIO(client.get(f"{API}/conversations/{talk}/export?format=prist").content)) as archive:
        assert archive.read("conversations.jsonl").splitlines() == [line]  # it ends before
    assert len(json.loads(line)["turns"]) == 2
    view = whole(client, talk)
    stop(client)
    client = start()
    assert whole(client, talk) == view
    before = ask(client, talk, TEXTS[2])  # from the disk
    for kept in (3, 2, 1):
        view = client.post(f"{API}/conversations/{talk}/undo").json()
        assert view["turns"] == kept
    assert said(view["history"][0]) == said(first) and before["turn"] == 4


def test_a_fork_answers_as_its_parent_would(client: TestClient, jpeg: bytes) -> None:
    talk = conversation(client, jpeg)
    for text in TEXTS:
        last = ask(client, talk, text)
    twin = client.post(f"{API}/conversations/{talk}/fork", json={"turns": 2}).json()["id"]
    assert said(ask(client, twin, TEXTS[2])) == said(last)
    client.app.state.service.desks[0].drop(talk)  # type: ignore[attr-defined]  # now it is made from the disk
    other = client.post(f"{API}/conversations/{talk}/fork", json={"turns": 2}).json()["id"]
    client.app.state.service.desks[0].drop(other)  # type: ignore[attr-defined]
    assert said(ask(client, other, TEXTS[2])) == said(last)


def test_undo_of_a_session_that_is_not_ready(start: Start, jpeg: bytes) -> None:
    client = start()
    talk = conversation(client, jpeg)
    turns = [said(ask(client, talk, text)) for text in TEXTS]
    stop(client)
    again = start()
    assert again.post(f"{API}/conversations/{talk}/undo").json()["turns"] == 2
    assert said(ask(again, talk, TEXTS[2])) == turns[2]
    for _ in range(3):
        assert again.post(f"{API}/conversations/{talk}/undo").status_code == 200
    refused = again.post(f"{API}/conversations/{talk}/undo")
    assert refused.status_code == 409 and refused.json()["cure"] == "ask for something first"


def test_an_alternative_takes_the_place_of_the_last_turn(start: Start, greedy: Loaded, jpeg: bytes) -> None:
    client = start(model=greedy)
    talk = conversation(client, jpeg)
    first = ask(client, talk, TEXTS[0])
    region = next(one for one in first["regions"] if one["alternatives"])
    taken = region["alternatives"][0]["phrase"]
    body = {"region": region["id"], "phrase": taken}
    turn = client.post(f"{API}/conversations/{talk}/alternative", json=body).json()
    assert turn["turn"] == 1 and turn["user"] == TEXTS[0] and turn["key"] != first["key"]
    found = next(one for one in turn["regions"] if one["id"] == region["id"])
    assert found["phrase"] == taken
    assert region["phrase"] in [one["phrase"] for one in found["alternatives"]]
    assert whole(client, talk)["history"] == [turn]
    back = client.post(
        f"{API}/conversations/{talk}/alternative", json={"region": region["id"], "phrase": region["phrase"]}
    ).json()
    assert [one["phrase"] for one in back["regions"]] == [one["phrase"] for one in first["regions"]]
    wrong = client.post(f"{API}/conversations/{talk}/alternative", json={"region": region["id"], "phrase": "no"})
    assert wrong.status_code == 422 and wrong.json()["field"] == "phrase"


def test_every_export_gives_the_masks_back(client: TestClient, jpeg: bytes) -> None:
    talk = conversation(client, jpeg)
    nothing = client.get(f"{API}/conversations/{talk}/export", params={"format": "mask"})
    assert nothing.status_code == 409
    for text in TEXTS:
        ask(client, talk, text)
    view = whole(client, talk)
    selected = decode_rle(view["selection"]["rle"])

    def taken(kind: str, each: bool = False) -> bytes:
        answer = client.get(f"{API}/conversations/{talk}/export", params={"format": kind, "each": each})
        assert answer.status_code == 200, answer.text
        assert "attachment" in answer.headers["content-disposition"]
        return answer.content

    assert ((np.asarray(Image.open(io.BytesIO(taken("mask")))) > 0) == selected).all()
    cut = np.asarray(Image.open(io.BytesIO(taken("cutout"))))
    assert ((cut[:, :, 3] > 0) == selected).all()
    assert Image.open(io.BytesIO(taken("overlay"))).size == (64, 48)
    assert json.loads(taken("rle", each=True))["masks"][-1]["rle"] == view["regions"][-1]["rle"]
    coco = json.loads(taken("coco", each=True))
    assert len(coco["annotations"]) == len(view["regions"]) and coco["images"][0]["file_name"] == "cup.jpg"
    assert json.loads(taken("labelme"))["imageWidth"] == 64
    assert taken("svg").startswith(b"<svg")
    with zipfile.ZipFile(io.BytesIO(taken("mask", each=True))) as archive:
        assert len(archive.namelist()) == len(view["regions"])


def test_a_conversation_goes_into_the_dataset_and_into_python(
    client: TestClient, jpeg: bytes, loaded: Loaded, tmp_path: Path
) -> None:
    from miras.data.inspect.validate import validate
    from miras.data.jsonl import read_jsonl

    talk = conversation(client, jpeg)
    for text in TEXTS:
        ask(client, talk, text)
    refine(client, talk, box=[8, 8, 40, 32])
    view = whole(client, talk)
    content = client.get(f"{API}/conversations/{talk}/export", params={"format": "prist"}).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path / "set")
    records = list(read_jsonl(tmp_path / "set"))
    # a random model may say nothing between [OBJ] and [SEG]; everything else is as a dataset has it
    assert [fault for fault in validate(records) if "expected a phrase" not in fault.what] == []
    masks = [region["rle"] for turn in records[0]["turns"] for region in turn["regions"]]
    assert masks == [region["rle"] for region in view["regions"]]
    text = client.get(f"{API}/conversations/{talk}/export", params={"format": "session"}).text
    photo = client.get(view["photo"]["image_url"]).content
    session = loaded.restore(text, photo)
    assert encode_rle(session.selection.mask) == view["selection"]["rle"]
    assert str(tmp_path) not in text


def test_lists_titles_and_deletion(client: TestClient, jpeg: bytes, tmp_path: Path) -> None:
    photo = upload(client, jpeg, "cup.jpg")
    talks = [client.post(f"{API}/conversations", json={"photo": photo["id"]}).json()["id"] for _ in range(3)]
    page = client.get(f"{API}/conversations", params={"limit": 2}).json()
    rest = client.get(f"{API}/conversations", params={"limit": 2, "before": page["next"]}).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == talks[::-1] and rest["next"] is None
    renamed = client.patch(f"{API}/conversations/{talks[0]}", json={"title": "  The   cup "}).json()
    assert renamed["title"] == "The cup" and page["items"][0]["title"] == "cup.jpg"
    secret = "Where is the zanzibar lamp?"
    ask(client, talks[0], secret)
    assert client.delete(f"{API}/photos/{photo['id']}").status_code == 409
    for talk in talks:
        assert client.get(photo["image_url"]).status_code == 200
        assert client.delete(f"{API}/conversations/{talk}").status_code == 204
        assert client.get(f"{API}/conversations/{talk}").status_code == 404
    assert client.get(photo["image_url"]).status_code == 404
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert {path.name for path in files} <= {"lock", "miras.sqlite3", "miras.sqlite3-wal", "miras.sqlite3-shm"}
    assert not any(b"zanzibar" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("route", "body", "status", "expected"),
    [
        ("ask", {"text": " "}, 422, "a message with words"),
        ("ask", {"text": "\u200b"}, 422, "a message with words"),
        ("ask", {"text": "x" * 4001}, 422, "at most 4000 characters"),
        ("ask", {"text": 3}, 422, "text: a valid string"),
        ("ask", {"text": "a", "more": 1}, 422, "known fields only"),
        ("ask", {}, 422, "text"),
        ("refine", {}, 422, "exactly one of mask, strokes, or points and box"),
        ("refine", {"points": [{"x": 65, "y": 1}]}, 422, "points inside the photo, 64 x 48 pixels"),
        ("refine", {"points": [{"x": True, "y": 1}]}, 422, "points.0.x"),
        ("refine", {"points": [{"x": 1, "y": 1, "label": 2}]}, 422, "points.0.label"),
        ("refine", {"box": [5, 5, 5, 9]}, 422, "a box (x1, y1, x2, y2) inside the photo"),
        ("refine", {"points": [{"x": 1, "y": 1}], "region": 7}, 422, "the id of a region"),
        ("refine", {"mask": {"rle": {"size": [10, 10], "counts": "00"}}}, 422, "a mask of the photo's size"),
        ("refine", {"mask": {"rle": {"size": [48, 64], "counts": "zzz"}}}, 422, "run lengths"),
        ("refine", {"mask": {"png": "!!"}}, 422, "a PNG in base64"),
        ("refine", {"mask": {"png": "aGVsbG8="}}, 422, "a whole PNG"),
        ("refine", {"strokes": [{"path": [[1, 1], [99, 1]]}]}, 422, "scribbles inside the photo"),
        ("refine", {"strokes": [{"path": [[1, 1]], "label": 0}], "paint": True}, 422, "a mask with pixels"),
        ("alternative", {"region": 1, "phrase": "mug"}, 409, "a last turn that was asked"),
        ("retry", None, 409, "an open question"),
        ("fork", {"turns": 5}, 422, "at most 0 turns to keep"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told(
    refusing: tuple[TestClient, str], route: str, body: Any, status: int, expected: str
) -> None:
    client, talk = refusing
    answer = client.post(f"{API}/conversations/{talk}/{route}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert expected in problem["expected"] and problem["status"] == status
    assert problem["detail"].startswith("expected ") and problem["got"]
    assert whole(client, talk)["turns"] == 0


@pytest.fixture(scope="module")
def refusing(loaded: Loaded, jpeg: bytes, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One server and one conversation for all the refusals: none of them changes anything."""
    from miras.serve.app import create
    from miras.serve.settings import Settings

    settings = Settings(tmp_path_factory.mktemp("refusing"))
    with TestClient(create(loaded, settings), base_url="http://localhost") as client:
        yield client, conversation(client, jpeg)
