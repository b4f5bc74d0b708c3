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

from miras.annotate.teacher.pipeline import annotate_file
from miras.annotate.teacher.protocol import Request, ask
from miras.annotate.teacher.schemas import Elements
from miras.core.errors import InputError
from miras.core.llm.answers import Answer, EndpointDown, Message, NoAnswer, Usage
from miras.core.llm.endpoint import Settings
from tests.annotate.made import GOOD, elements, photos_file
from tests.servers import completion, cut, raw, say, serve, status

pytest.importorskip("openai")

from miras.annotate.teacher.openai import OpenAITeacher, data_url, from_options

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
    with serve() as server, pytest.raises(NoAnswer, match=says):
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
        with pytest.raises(EndpointDown) as caught:
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
