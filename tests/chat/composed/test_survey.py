"""What a pair would load, what is missing, and a server that is tried: of our own, with faults on demand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from miras.chat.composed import survey as module
from miras.chat.composed.survey import survey
from miras.cli import main
from miras.core.errors import InputError
from tests.chat.composed.checkpoints import qwen3
from tests.chat.composed.pairs import answer
from tests.checkpoints import sam2
from tests.servers import Handler, Server, say, serve, status

pytest.importorskip("openai")

KEY = "sk-test-0123456789abcdefghij"
HERE = answer("Here.")


def looked(server: Server, model: str = "qwen3-vl:4b", **options: Any) -> module.Survey:
    endpoint = {"wait": 0.001, **options}
    return survey(
        f"openai:{model}@{server.url}", "miras-mini", endpoint=endpoint, environment={"OPENAI_API_KEY": KEY}
    )  # fmt: skip


def blind(handler: Handler, reply: bytes) -> None:
    """Refuses pictures, as servers of models without eyes do."""
    handler.reply(json.dumps({"error": {"message": "this model does not support image input"}}).encode(), 400)


NO_SCHEMA = status(400, {"error": {"message": "response_format json_schema is not supported"}})
CASES: list[tuple[list[Any], bool, str, int, str]] = [
    ([], True, "sees pictures and answers in the JSON that is asked for (coordinates: Qwen3-VL)", 1, "json_schema"),
    ([NO_SCHEMA], True, "sees pictures", 2, "json_object"),
    ([say("Sure! Here it is.")], False, "answers, but not in the JSON", 1, "json_schema"),
    ([blind], False, "takes no pictures there", 2, ""),
    ([status(401)] * 2, False, "check OPENAI_API_KEY", 2, ""),
    ([status(404)] * 2, False, "the model 'qwen3-vl:4b'", 2, ""),
    ([status(500)] * 2, False, "status 500", 2, ""),
]


@pytest.mark.parametrize(("faults", "ok", "told", "calls", "held"), CASES, ids=range(len(CASES)))
def test_a_server_is_tried(faults: list[Any], ok: bool, told: str, calls: int, held: str) -> None:
    with serve(*faults, content=HERE) as server:
        found = looked(server)
        assert found.server is not None and found.server.ok is ok and told in found.server.told
        assert "\n" not in found.server.told and KEY not in json.dumps(found.to_dict())
        assert len(server.asked) == calls and found.server.held == held
        content = server.asked[0]["messages"][1]["content"]
        assert content[0]["type"] == "image_url" and server.asked[0]["max_tokens"] == 256


def test_no_server_is_one_line() -> None:
    with serve() as server:
        pass
    found = looked(server)
    assert found.server is not None and not found.server.ok and not found.ok
    assert "the connection failed" in found.server.told and "check the server" in found.server.told


def test_nothing_is_sent_without_a_key_or_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = survey("openai:gpt-5", "miras-mini", environment={})
    assert found.server is None and not found.ok and "OPENAI_API_KEY" in found.parts[0].missing[0]
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openai" else find(name))
    found = survey("openai:gpt-5", "miras-mini", environment={"OPENAI_API_KEY": KEY})
    assert found.server is None and "pip install 'miras[composed]'" in found.parts[0].missing[0]


def test_models_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talker, segmenter = qwen3(tmp_path / "talker"), sam2(tmp_path / "sam2")
    found = survey(f"hf:{talker}", f"sam2:{segmenter}", dtype="bfloat16")
    words, pixels = found.parts
    assert words.parameters and words.weights == 2 * words.parameters and words.folder == str(talker)
    assert words.cache == 2 * 2 * 2 * 8 * 4096 * 2  # keys and values, layers, heads, width, tokens, bytes
    assert pixels.parameters and pixels.weights == 4 * pixels.parameters and not words.missing + pixels.missing
    assert found.here == words.total + pixels.total and found.ok is True
    assert survey(f"hf:{talker}", f"sam2:{segmenter}").parts[0].weights == 4 * words.parameters
    monkeypatch.setattr(module, "_free", lambda place: 1000)
    assert survey(f"hf:{talker}", f"sam2:{segmenter}").ok is False


def test_what_is_not_here_is_said_with_its_size_and_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = survey(preset="qwen3-vl+sam3")
    assert [part.missing for part in found.parts] == [
        ("Qwen/Qwen3-VL-4B-Instruct is not on this machine (about 8.8 GB once it is loaded): hf download "
         "Qwen/Qwen3-VL-4B-Instruct",),
        ("facebook/sam3 is not on this machine (about 3.4 GB once it is loaded): hf download facebook/sam3",),
    ]  # fmt: skip
    found = survey("miras-mini", "gdino:IDEA-Research/grounding-dino-tiny+sam2:someone/unknown")
    assert [part.role for part in found.parts] == ["talker", "detector", "segmenter"]
    assert found.here is None and found.fits is None and not found.ok


@pytest.mark.parametrize(
    ("talker", "segmenter", "line"),
    [
        (None, "miras-mini", "a talker for a composed model"),
        ("opnai:m", "miras-mini", "expected a talker"),
        ("scripted:nowhere.jsonl", "miras-mini", "a file of answers"),
        ("miras-mini", "sam9:x", "a segmenter"),
        ("miras-mini", "gdino:a/b", "gdino:REPO+SEGMENTER"),
        ("miras-none", "miras-mini", "the name of a preset"),
        ("openai:m@http://u:p@h/v1", "miras-mini", "without a user"),
    ],
)
def test_what_is_no_pair(talker: str | None, segmenter: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        survey(talker, segmenter, environment={})
    assert line in str(error.value) and "\n" not in str(error.value)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    script = tmp_path / "script.jsonl"
    script.write_text(HERE)
    pair = ["doctor", "--model", "composed", "--segmenter", "miras-mini"]
    assert main.call([*pair, "--talker", f"scripted:{script}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert told["ok"] and told["pair"]["parts"][1]["bytes"] > 1e9 and told["pair"]["fits"]
    with serve(content=HERE) as server:
        assert main.call([*pair, "--talker", f"openai:m@{server.url}"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == "ready" and any(line.startswith("server    ok: http://127.0.0.1") for line in lines)
    assert main.call([*pair, "--talker", f"openai:m@{server.url}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "NOT READY" and sum(line.startswith("server    FAILED") for line in lines) == 1
    for wrong in (["doctor", "--talker", "miras-mini"], [*pair, "--preset", "best", "--talker", "miras-mini"]):
        assert main.call(wrong) == 2
