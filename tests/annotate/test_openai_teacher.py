"""The endpoint teacher against a server of our own that misbehaves in every way we know."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miras.annotate.pipeline import annotate_file
from miras.annotate.schemas import Elements
from miras.annotate.teacher import Answer, Message, Request, TeacherDown, TeacherError, Usage, ask
from miras.core.errors import InputError
from tests.annotate.made import GOOD, elements, photos_file
from tests.annotate.servers import completion, cut, hang, raw, say, serve, status

pytest.importorskip("openai")

from miras.annotate.openai_teacher import OpenAITeacher, Settings, data_url, from_options

KEY = "sk-test-0123456789abcdefghij"
REQUEST = Request("elements", (Message("system", "Be brief."), Message("user", "List.")), Elements, 7)
ELEMENTS = json.dumps(elements())


def teacher(url: str, **changes: Any) -> OpenAITeacher:
    options: dict[str, Any] = {"timeout": 5.0, "wait": 0.001, "retries": 3, **changes}
    return OpenAITeacher(Settings("m", KEY, url, **options))


def answers(asked: OpenAITeacher, *requests: Request) -> list[Answer]:
    async def run() -> list[Answer]:
        try:
            return list(await asyncio.gather(*(asked.answer(request) for request in requests or (REQUEST,))))
        finally:
            await asked.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [status(429)],
        [status(408), status(409)],
        [status(500), status(502, b"<html>bad gateway"), status(503)],
        [cut],
        [cut, cut, status(529)],
        [raw(b'{"choices": [')],
        [raw(b"<html>hello</html>"), raw(b'{"choices": []}'), raw(b'{"error": "overloaded"}')],
        [raw(b'{"choices": null}'), raw(b'{"choices": [{"message": null}]}')],
    ],
    ids=["none", "429", "408 409", "5xx", "cut", "cut twice", "half JSON", "no completions", "nulls"],
)
def test_faults_on_the_way_are_tried_again_and_counted(faults: list[Any]) -> None:
    with serve(*faults, content="hello") as server:
        (answer,) = answers(teacher(server.url, price_in=1.0, price_out=2.0))
    assert answer == Answer("hello", Usage(11, 5), (11 + 10) / 1e6, attempts=len(faults) + 1)
    assert len(server.asked) == len(faults) + 1


def test_a_server_that_asks_to_wait_is_waited_for_by_everybody() -> None:
    with serve(status(429, retry_after="0.4"), content="hi") as server:
        asked = teacher(server.url, concurrency=1)
        both = answers(asked, REQUEST, REQUEST)
    assert [answer.attempts for answer in both] == [2, 1]
    assert server.times[1] - server.times[0] >= 0.39


def test_a_server_that_hangs_is_given_up_and_asked_again() -> None:
    with serve(hang(1.0), content="hi") as server:
        (answer,) = answers(teacher(server.url, timeout=0.3))
    assert answer.attempts == 2


@pytest.mark.parametrize(
    ("faults", "error", "says"),
    [
        ([status(401, {"error": {"message": f"Incorrect API key {KEY}"}})], TeacherDown, "OPENAI_API_KEY"),
        ([status(403)], TeacherDown, "403"),
        ([status(404)], TeacherDown, "the model 'm' at http://127.0.0.1"),
        ([status(402)], TeacherDown, "credit"),
        ([status(429, {"error": {"message": "no", "code": "insufficient_quota"}})], TeacherDown, "credit"),
        ([status(400, {"error": {"message": "image too large"}})], TeacherError, "image too large"),
        ([status(413, b"too large")], TeacherError, "413"),
        ([status(500)] * 4, TeacherDown, "4 calls that failed, the last: status 500"),
        ([status(503, retry_after="9999")], TeacherDown, "1 call that failed"),
        ([cut] * 4, TeacherDown, "the connection failed"),
        ([raw(b"{")] * 4, TeacherDown, "no chat completion"),
    ],
)
def test_what_no_retry_mends(faults: list[Any], error: type[TeacherError], says: str) -> None:
    with serve(*faults) as server, pytest.raises(TeacherError) as caught:
        answers(teacher(server.url))
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert len(server.asked) == len(faults)


def test_nobody_there() -> None:
    with serve() as server:
        url = server.url
    with pytest.raises(TeacherDown, match=r"an answer from http://127.0.0.1.*2 calls that failed"):
        answers(teacher(url, retries=1))


def test_one_lost_request_is_not_the_end_but_many_in_a_row_are() -> None:
    async def run(asked: OpenAITeacher) -> list[type]:
        kinds: list[type] = []
        for _ in range(7):
            try:
                kinds.append(type(await asked.answer(REQUEST)))
            except TeacherError as error:
                kinds.append(type(error))
        await asked.close()
        return kinds

    with serve(say("x"), *[status(500)] * 9) as server:
        assert asyncio.run(run(teacher(server.url, retries=0))) == [Answer, *[TeacherError] * 4, *[TeacherDown] * 2]


# Malformed answers


def test_malformed_and_wrong_answers_go_back_and_are_mended() -> None:
    two = json.dumps({"elements": elements()["elements"][:2]})
    with serve(say('{"elements": [', "length"), say(two), content=ELEMENTS) as server:
        asked = teacher(server.url)
        found = asyncio.run(ask(asked, REQUEST, Elements))
    assert len(found.value.elements) == 4
    assert (found.usage, found.attempts) == (Usage(33, 15), 3)
    sent = [message["content"] for message in server.asked[2]["messages"]]
    assert sent[2] == two and "at least 3" in sent[3]
    assert "cut off" in server.asked[1]["messages"][3]["content"]


@pytest.mark.parametrize("reply", [say(None), say(""), say(None, refusal="I cannot.")], ids=["null", "", "refusal"])
def test_an_empty_answer_is_unfit(reply: Any) -> None:
    with serve(reply, content=ELEMENTS) as server:
        assert asyncio.run(ask(teacher(server.url), REQUEST, Elements)).attempts == 2
    assert len(server.asked) == 2


# How it is asked


def test_structured_output_and_seed_are_sent() -> None:
    with serve() as server:
        answers(teacher(server.url, temperature=0.5, max_tokens=99))
    (body,) = server.asked
    described = body["response_format"]["json_schema"]
    assert (described["strict"], described["name"]) == (True, "elements")
    assert described["schema"]["required"] == ["elements"]
    assert (body["model"], body["seed"], body["temperature"], body["max_tokens"]) == ("m", 7, 0.5, 99)
    assert server.headers_seen[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("refusals", "last"),
    [
        (["response_format json_schema is not supported"], {"type": "json_object"}),
        (["unknown field response_format", "response_format: json_object is not supported"], None),
    ],
)
def test_servers_without_structured_output(refusals: list[str], last: Any) -> None:
    faults = [status(400, {"error": {"message": refusal}}) for refusal in refusals]
    with serve(*faults, content=ELEMENTS) as server:
        first, second = answers(teacher(server.url, concurrency=1), REQUEST, REQUEST)
    assert server.asked[-1].get("response_format") == last
    assert '"elements"' in server.asked[-1]["messages"][-1]["content"]
    assert first.attempts + second.attempts == len(refusals) + 2


@pytest.mark.parametrize(
    ("said", "gone", "new"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", "max_tokens", "max_completion_tokens"),
        ("'temperature' does not support 0.5 with this model.", "temperature", None),
        ("Unknown parameter: seed", "seed", None),
    ],
)
def test_options_that_a_server_refuses_are_left_out(said: str, gone: str, new: str | None) -> None:
    with serve(status(400, {"error": {"message": said}}), content="ok") as server:
        answers(teacher(server.url, temperature=0.5, max_tokens=99))
    first, second = server.asked
    assert gone in first and gone not in second
    assert new is None or second[new] == 99


def test_a_refusal_of_the_same_option_twice_is_an_end() -> None:
    faults = [status(400, {"error": {"message": "max_tokens must be lower"}})] * 5
    with serve(*faults) as server, pytest.raises(TeacherError, match="max_tokens must be lower"):
        answers(teacher(server.url, max_tokens=99))
    assert len(server.asked) == 2


# Photos


def photographed(tmp_path: Path, notes: str = "a mug") -> Request:
    path = tmp_path / "wide.png"
    Image.new("RGB", (400, 100), (200, 30, 30)).save(path)
    return Request("elements", REQUEST.messages, Elements, 1, path, "d", notes)


def test_the_photo_is_sent_small_as_a_data_url(tmp_path: Path) -> None:
    with serve() as server:
        answers(teacher(server.url, max_side=200), photographed(tmp_path))
    picture, text = server.asked[0]["messages"][1]["content"]
    assert text == {"type": "text", "text": "List."}
    head, _, data = picture["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    decoded = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (decoded.format, decoded.size) == ("JPEG", (200, 50))
    assert decoded.getpixel((100, 25))[0] > 190
    assert data_url(tmp_path / "wide.png", 1000) != picture["image_url"]["url"]


def test_a_blind_model_gets_the_list_instead(tmp_path: Path) -> None:
    with serve() as server:
        answers(teacher(server.url, photos=False), photographed(tmp_path))
    content = server.asked[0]["messages"][1]["content"]
    assert isinstance(content, str)
    assert "a mug" in content and content.endswith("List.") and "base64" not in json.dumps(server.asked)


@pytest.mark.parametrize(("options", "says"), [({"photos": False}, "no caption and no annotations"), ({}, "photo")])
def test_nothing_to_see(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    request = photographed(tmp_path, notes="")
    assert request.image is not None
    request.image.write_bytes(b"no photo")
    data_url.cache_clear()
    with serve() as server, pytest.raises(TeacherError, match=says):
        answers(teacher(server.url, **options), request)
    assert server.asked == []


# The key


def test_the_key_is_never_written(tmp_path: Path, caplog: Any, capsys: Any) -> None:
    """The server says the key in errors and in replies; nothing repeats it, not even the libraries' own logs."""
    caplog.set_level(logging.DEBUG)
    leak = {"error": {"message": f"bad key {KEY}"}}
    faults = [status(500, leak), raw(f"not JSON {KEY}".encode()), say(f'{{"elements": "{KEY}"}}'), status(401, leak)]
    source, out = photos_file(tmp_path, 1), tmp_path / "out"
    with serve(*faults) as server:
        environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url, "MIRAS_TEACHER_MODEL": "m"}
        asked = from_options(environment, wait=0.001)
        with pytest.raises(TeacherDown) as caught:
            annotate_file(source, out, asked)
        assert len(server.asked) == 4
    kept = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file()).decode()
    assert "***" in kept
    told = "".join(traceback.format_exception(caught.value))
    printed = capsys.readouterr()
    records = " ".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert "elements" in records
    for text in (kept, told, str(caught.value), repr(asked._settings), asked.name, printed.out, printed.err, records):
        assert KEY not in text


def test_a_key_on_the_edge_of_what_is_shown_is_not_shown_in_part() -> None:
    for before in range(265, 300, 6):
        with serve(status(400, f"{'x' * before}{KEY} tail".encode())) as server, pytest.raises(TeacherError) as caught:
            answers(teacher(server.url))
        assert KEY[:6] not in str(caught.value)


@pytest.mark.parametrize("url", [f"http://user:{KEY}@host/v1", f"https://host/v1?api-key={KEY}"])
def test_a_key_in_the_address_is_refused_unsaid(url: str) -> None:
    """The HTTP library logs every address."""
    with pytest.raises(InputError, match="OPENAI_API_KEY") as caught:
        from_options({"OPENAI_BASE_URL": url}, model="m")
    assert KEY not in str(caught.value)


# Options, estimates, prices


@pytest.mark.parametrize(
    ("environment", "options", "says"),
    [
        ({}, {"model": "m"}, "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "k"}, {}, "MIRAS_TEACHER_MODEL"),
        ({"OPENAI_BASE_URL": "localhost:8000"}, {"model": "m"}, "http://"),
        ({"OPENAI_API_KEY": "k", "MIRAS_TEACHER_PRICE_IN": "x"}, {"model": "m"}, "a number in MIRAS_TEACHER_PRICE_IN"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "price_in": 1.0}, "both prices"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "concurrency": 0}, "concurrency"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "retries": -1}, "retries"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "max_side": 1}, "max_side"),
        ({"OPENAI_API_KEY": "k"}, {"model": "m", "timeout": float("nan")}, "timeout"),
    ],
)
def test_bad_options(environment: dict[str, str], options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_options(environment, **options)


def test_the_name_tells_what_decides_the_answers_and_no_address() -> None:
    with serve() as server:
        seeing = from_options({"OPENAI_BASE_URL": server.url, "MIRAS_TEACHER_MODEL": "from-env"})
        blind = from_options({"OPENAI_BASE_URL": server.url}, model="given", photos=False, rpm=5)
    assert seeing.name == "openai:from-env:side=1024,quality=90,temperature=None,max_tokens=None"
    assert blind.name == "openai:given:blind,temperature=None,max_tokens=None"


def test_an_estimate_asks_nothing(tmp_path: Path) -> None:
    with serve() as server:
        asked = teacher(server.url, price_in=10.0, price_out=20.0)
        estimate = asked.estimate([REQUEST, photographed(tmp_path)])
        assert server.asked == []
    bare = asked.estimate([REQUEST])
    assert estimate.requests == 2
    assert estimate.prompt_tokens == 2 * bare.prompt_tokens + 85 + 4 * 170
    assert estimate.completion_tokens == 1200
    assert estimate.cost == pytest.approx((estimate.prompt_tokens * 10 + 1200 * 20) / 1e6)
    assert teacher("http://127.0.0.1:9/v1").estimate([REQUEST]).cost is None


def test_a_whole_run_over_http(tmp_path: Path) -> None:
    """Every step, by the name of the schema asked for; with faults on the way; the same bytes as without."""

    def by_step(handler: Any, _: bytes) -> None:
        step = handler.server.asked[-1]["response_format"]["json_schema"]["name"]
        handler.reply(completion(json.dumps(GOOD[step])))

    source = photos_file(tmp_path, 2)
    plain = [by_step] * 10
    faulty = [status(429), *[by_step] * 3, cut, *[by_step] * 4, say("{"), *[by_step] * 3]
    for name, faults in (("plain", plain), ("faulty", faulty)):
        with serve(*faults) as server:
            summary = annotate_file(source, tmp_path / name, teacher(server.url, concurrency=1), window=2)
        assert (summary.conversations, summary.failed) == (6, 0)
    written = [(tmp_path / name / "conversations.jsonl").read_bytes() for name in ("plain", "faulty")]
    assert written[0] == written[1]


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"miras\[annotate\]"):
        OpenAITeacher(Settings("m", KEY))
