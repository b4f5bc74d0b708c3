"""The endpoint's client against a server of our own that misbehaves in every way we know."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import sys
import traceback
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.llm.answers import Answer, EndpointDown, Message, NoAnswer, Usage
from miras.core.llm.completions import Call, Completions, data_url
from miras.core.llm.endpoint import Settings
from tests.servers import cut, hang, raw, say, serve, status

pytest.importorskip("openai")

KEY = "sk-test-0123456789abcdefghij"
SCHEMA = {"type": "object", "properties": {"elements": {"type": "string"}}, "required": ["elements"]}
CALL = Call("elements", (Message("system", "Be brief."), Message("user", "List.")), SCHEMA, 7)


def client(url: str, **changes: Any) -> Completions:
    options: dict[str, Any] = {"timeout": 5.0, "wait": 0.001, "retries": 3, **changes}
    return Completions(Settings("m", KEY, url, **options))


def answers(asked: Completions, *calls: Call) -> list[Answer]:
    async def run() -> list[Answer]:
        try:
            return list(await asyncio.gather(*(asked.answer(call) for call in calls or (CALL,))))
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
        (answer,) = answers(client(server.url, price_in=1.0, price_out=2.0))
    assert answer == Answer("hello", Usage(11, 5), (11 + 10) / 1e6, attempts=len(faults) + 1)
    assert len(server.asked) == len(faults) + 1


def test_a_server_that_asks_to_wait_is_waited_for_by_everybody() -> None:
    with serve(status(429, retry_after="0.4"), content="hi") as server:
        asked = client(server.url, concurrency=1)
        both = answers(asked, CALL, CALL)
    assert [answer.attempts for answer in both] == [2, 1]
    assert server.times[1] - server.times[0] >= 0.39


def test_a_server_that_hangs_is_given_up_and_asked_again() -> None:
    with serve(hang(1.0), content="hi") as server:
        (answer,) = answers(client(server.url, timeout=0.3))
    assert answer.attempts == 2


@pytest.mark.parametrize(
    ("faults", "error", "says"),
    [
        ([status(401, {"error": {"message": f"Incorrect API key {KEY}"}})], EndpointDown, "OPENAI_API_KEY"),
        ([status(403)], EndpointDown, "403"),
        ([status(404)], EndpointDown, "the model 'm' at http://127.0.0.1"),
        ([status(402)], EndpointDown, "credit"),
        ([status(429, {"error": {"message": "no", "code": "insufficient_quota"}})], EndpointDown, "credit"),
        ([status(400, {"error": {"message": "image too large"}})], NoAnswer, "image too large"),
        ([status(413, b"too large")], NoAnswer, "413"),
        ([status(500)] * 4, EndpointDown, "4 calls that failed, the last: status 500"),
        ([status(503, retry_after="9999")], EndpointDown, "1 call that failed"),
        ([cut] * 4, EndpointDown, "the connection failed"),
        ([raw(b"{")] * 4, EndpointDown, "no chat completion"),
    ],
)
def test_what_no_retry_mends(faults: list[Any], error: type[NoAnswer], says: str) -> None:
    with serve(*faults) as server, pytest.raises(NoAnswer) as caught:
        answers(client(server.url))
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert len(server.asked) == len(faults)


def test_nobody_there() -> None:
    with serve() as server:
        url = server.url
    with pytest.raises(EndpointDown, match=r"an answer from http://127.0.0.1.*2 calls that failed"):
        answers(client(url, retries=1))


def test_one_lost_request_is_not_the_end_but_many_in_a_row_are() -> None:
    async def run(asked: Completions) -> list[type]:
        kinds: list[type] = []
        for _ in range(7):
            try:
                kinds.append(type(await asked.answer(CALL)))
            except NoAnswer as error:
                kinds.append(type(error))
        await asked.close()
        return kinds

    with serve(say("x"), *[status(500)] * 9) as server:
        assert asyncio.run(run(client(server.url, retries=0))) == [Answer, *[NoAnswer] * 4, *[EndpointDown] * 2]


# How it is asked


def test_structured_output_and_seed_are_sent() -> None:
    with serve() as server:
        answers(client(server.url, temperature=0.5, max_tokens=99))
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
    with serve(*faults, content="{}") as server:
        first, second = answers(client(server.url, concurrency=1), CALL, CALL)
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
        answers(client(server.url, temperature=0.5, max_tokens=99))
    first, second = server.asked
    assert gone in first and gone not in second
    assert new is None or second[new] == 99


def test_a_refusal_of_the_same_option_twice_is_an_end() -> None:
    faults = [status(400, {"error": {"message": "max_tokens must be lower"}})] * 5
    with serve(*faults) as server, pytest.raises(NoAnswer, match="max_tokens must be lower"):
        answers(client(server.url, max_tokens=99))
    assert len(server.asked) == 2


# Pictures


def test_pictures_stand_before_the_words_of_the_user() -> None:
    with serve() as server:
        answers(client(server.url), Call("elements", CALL.messages, SCHEMA, pictures=("data:a", "data:b")))
    system, user = server.asked[0]["messages"]
    assert system["content"] == "Be brief."
    assert [part["type"] for part in user["content"]] == ["image_url", "image_url", "text"]
    assert [part["image_url"]["url"] for part in user["content"][:2]] == ["data:a", "data:b"]


def test_a_picture_is_sent_small() -> None:
    pixels = np.full((100, 400, 3), (200, 30, 30), np.uint8)
    head, _, data = data_url(pixels, 200).partition(",")
    assert head == "data:image/jpeg;base64"
    decoded = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (decoded.format, decoded.size) == ("JPEG", (200, 50))
    assert decoded.getpixel((100, 25))[0] > 190


# The key


def test_the_key_is_never_written(caplog: Any) -> None:
    """The server says the key in errors and in replies; nothing repeats it, not even the libraries' own logs."""
    caplog.set_level(logging.DEBUG)
    leak = {"error": {"message": f"bad key {KEY}"}}
    with serve(status(500, leak), raw(f"not JSON {KEY}".encode()), say(f"said {KEY}"), status(401, leak)) as server:
        asked = client(server.url)
        (answer,) = answers(asked)
        with pytest.raises(EndpointDown) as caught:
            answers(client(server.url))
    assert answer.text == "said ***" and "***" in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    records = " ".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert "elements" in records
    for text in (told, repr(asked._settings), asked.name, records):
        assert KEY not in text


def test_a_key_on_the_edge_of_what_is_shown_is_not_shown_in_part() -> None:
    for before in range(265, 300, 6):
        with serve(status(400, f"{'x' * before}{KEY} tail".encode())) as server, pytest.raises(NoAnswer) as caught:
            answers(client(server.url))
        assert KEY[:6] not in str(caught.value)


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"miras\[eval\]"):
        Completions(Settings("m", KEY), extra="eval")
