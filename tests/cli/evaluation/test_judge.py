"""`miras judge`: one JSON object, tables, exit codes, a dry run that asks nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from miras.cli import main
from miras.cli.evaluation.judge import judge
from tests.eval.judged import by_rule, make_run
from tests.servers import say, serve, status

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command by itself, called as the door calls it; no key in the environment."""
    app = cyclopts.App(name="miras", result_action="return_value")
    app.command(judge)
    monkeypatch.setattr(main, "app", app)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MIRAS_JUDGE_KEY_1", "MIRAS_JUDGE_KEY_2"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [str(make_run(tmp_path / name, 2, name, says=(name, name))) for name in ("one", "two")]


def last(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


RULE = by_rule(lambda text: 4 if '"one"' in text else 3, lambda text: "first")


def test_two_runs_two_judges_and_the_same_again(capsys, tmp_path, runs, monkeypatch):
    monkeypatch.setenv("MIRAS_JUDGE_KEY_2", "key-of-the-second-judge")
    with serve(*[RULE] * 99) as server:
        words = ["judge", *runs, "--judge", f"a@{server.url}", "--blind-judge", f"b@{server.url}",
                 "--out", str(tmp_path / "out"), "--max-side", "64", "--price-in", "1",
                 "--price-out", "2", "--json"]  # fmt: skip
        assert main.call(words) == 0
        first = last(capsys)
        assert len(server.asked) == 16
        assert main.call(words) == 0
        second = last(capsys)
        assert len(server.asked) == 16
        assert main.call(words[:-1]) == 0
    sent = {headers["authorization"] for headers in server.headers_seen}
    assert sent == {"Bearer none", "Bearer key-of-the-second-judge"}
    assert {body["temperature"] for body in server.asked} == {0.0}
    assert [one["paid"] for one in first["judges"]] == [8, 8]
    assert [one["paid"] for one in second["judges"]] == [0, 0]
    assert first["judges"][0]["cost"] == second["judges"][0]["cost"] > 0
    assert first["difference"]["relevance"]["value"] == 1
    shown = capsys.readouterr().out
    assert "A: one" in shown and "4.00 [4.00, 4.00]" in shown and "chose the first" in shown and "1.00" in shown
    assert "key-of-the-second-judge" not in "".join(path.read_text() for path in (tmp_path / "out").iterdir())


def test_a_dry_run_asks_nothing(capsys, tmp_path, runs):
    with serve() as server:
        words = ["judge", runs[0], "--blind-judge", f"a@{server.url}", "--out", str(tmp_path / "out"), "--dry-run"]
        assert main.call([*words, "--json"]) == 0
        result = last(capsys)
        assert main.call(words) == 0
        assert server.asked == []
    assert (result["dry_run"], result["requests"], result["cost"]) == (True, 2, None)
    assert "requests" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_questions_without_an_answer_give_exit_code_1(capsys, tmp_path, runs):
    with serve(*[say("no")] * 3, *[RULE] * 99) as server:
        words = ["judge", runs[0], "--blind-judge", f"a@{server.url}", "--out", str(tmp_path / "out"), "--json"]
        assert main.call([*words, "--concurrency", "1"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out.strip().splitlines()[-1])["failed"]["n"] == 1
    assert "miras: failed: a: r0" in printed.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "at least one judge"),
        (["--judge", "a"], "OPENAI_API_KEY"),
        (["--judge", "a@http://u:secret@h/v1"], "without a user, password"),
        (["--blind-judge", "a@http://h/v1", "--limit", "0"], "--limit of at least 1"),
        (["--blind-judge", "a@http://h/v1", "--people", "none.csv"], "a rating sheet at none.csv"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, runs, words, says):
    assert main.call(["judge", runs[0], "--out", str(tmp_path / "out"), *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.strip().splitlines()) == 1
    assert says in printed.err and "secret" not in printed.err


def test_a_judge_that_refuses_the_key(capsys, tmp_path, runs):
    with serve(*[status(401)] * 9) as server:
        assert main.call(["judge", runs[0], "--judge", f"a@{server.url}", "--out", str(tmp_path / "out")]) == 2
    assert "a key that the server takes" in capsys.readouterr().err


def test_no_run(capsys, tmp_path):
    assert main.call(["judge", str(tmp_path), "--judge", "a@http://h/v1", "--out", str(tmp_path / "out")]) == 2
    assert "samples.jsonl" in capsys.readouterr().err
