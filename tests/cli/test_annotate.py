"""`miras annotate`: one JSON object, exit codes, a dry run that asks nothing, faults named line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from miras.cli.annotate import annotate
from miras.core.errors import InputError, MirasError
from tests.annotate.made import GOOD, photos_file
from tests.servers import completion, say, serve, status

pytest.importorskip("openai")

app = cyclopts.App(result_action="return_value")
app.command(annotate)


def by_step(handler: Any, _: bytes) -> None:
    handler.reply(completion(json.dumps(GOOD[handler.server.asked[-1]["response_format"]["json_schema"]["name"]])))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MIRAS_TEACHER_MODEL", "MIRAS_TEACHER_PRICE_IN"):
        monkeypatch.delenv(name, raising=False)


def call(*arguments: object) -> Any:
    return app(["annotate", *map(str, arguments)], exit_on_error=False, print_error=False)


def last(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_run_and_the_same_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = photos_file(tmp_path, 3), tmp_path / "out"
    with serve(*[by_step] * 10) as server:
        line = (source, "--out", out, "--model", "m", "--base-url", server.url, "--concurrency", 1, "--limit", 2)
        line += ("--price-in", 1, "--price-out", 1, "--json")
        assert call(*line) == 0
        first = last(capsys)
        assert call(*line) == 0
        second = last(capsys)
        assert len(server.asked) == 10
    assert (first["photos"], first["conversations"], first["paid"], first["replayed"]) == (2, 6, 10, 0)
    assert (second["paid"], second["replayed"]) == (0, 10)
    assert first["cost"] == second["cost"] == pytest.approx(160e-6)
    assert len((out / "conversations.jsonl").read_text().splitlines()) == 6


def test_a_dry_run_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = photos_file(tmp_path, 3)
    with serve() as server:
        line = (source, "--out", tmp_path / "out", "--model", "m", "--base-url", server.url, "--dry-run")
        assert call(*line, "--json") == 0
        report = last(capsys)
        assert server.asked == []
        assert call(*line) == 0
        assert "prompt_tokens" in capsys.readouterr().out
    assert (report["dry_run"], report["requests"], report["cost"]) == (True, 15, None)
    assert report["prompt_tokens"] > 15 * 85
    assert not (tmp_path / "out").exists()


def test_exit_codes_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = photos_file(tmp_path, 1)
    with serve(*[say("no")] * 3) as server:
        assert call(source, "--out", tmp_path / "a", "--model", "m", "--base-url", server.url, "--json") == 1
        assert last(capsys)["failed"] == 1
    source.write_text(source.read_text() + '{"id": 3}\n')
    with serve(*[by_step] * 5) as server:
        line = (source, "--out", tmp_path / "b", "--model", "m", "--base-url", server.url, "--concurrency", 1, "--json")
        assert call(*line) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out.strip().splitlines()[-1])["conversations"] == 3
    assert "photos.jsonl: line 2: " in captured.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base-url", "http://127.0.0.1:9/v1"], "MIRAS_TEACHER_MODEL"),
        (["--model", "m"], "OPENAI_API_KEY"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--limit", "0"], "--limit"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--concurrency", "0"], "concurrency"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--rpm", "0"], "rpm"),
        (["--teacher", "oracle"], "oracle"),
        (
            ["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--retries", "0"],
            "an answer from http://127.0.0.1:9",
        ),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(MirasError) as caught:
        call(photos_file(tmp_path, 1), "--out", tmp_path / "out", *arguments)
    assert says in str(caught.value)


def test_no_input_file_and_no_folder(tmp_path: Path) -> None:
    server = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    with pytest.raises(InputError, match="nowhere"):
        call(tmp_path / "nowhere.jsonl", "--out", tmp_path / "out", *server)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a folder to write into"):
        call(photos_file(tmp_path, 1), "--out", tmp_path / "file", *server)


def test_no_credit_stops_the_run(tmp_path: Path) -> None:
    out_of_credit = status(429, {"error": {"message": "no", "code": "insufficient_quota"}})
    with serve(out_of_credit) as server, pytest.raises(MirasError, match="credit"):
        call(photos_file(tmp_path, 1), "--out", tmp_path / "out", "--model", "m", "--base-url", server.url)


def test_without_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from pathlib import Path; from miras.cli.annotate import run\n"
        "run(Path('p'), out=Path('o'), teacher='openai', options={}, dry_run=False, limit=None, jobs=1, ray=False,"
        "seed=0, as_json=True)"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert "the package pydantic, got none; pip install 'miras[annotate]'" in done.stderr
