"""A whole judgement over HTTP: figures, faults on the way, what is paid once, kills, dry runs; and a real server.

The server of our own judges by rule, so that every figure is known beforehand.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.core.llm.answers import EndpointDown
from miras.eval.judge.judging import FILE, PAIRS, RATINGS, journal_name, judge, rehearse
from miras.eval.rating.criteria import CRITERIA
from tests.eval.judged import by_rule, judges, make_run, rated
from tests.servers import cut, garble, real_server, say, serve, status

pytest.importorskip("openai")

MANY = 200


def good(text: str) -> int:
    """5 for the assistant that says "Here.", 2 for the other."""
    return 5 if '"Here."' in text else 2


def better(text: str) -> str:
    return "first" if text.index('"Here."') < text.index('"Hm."') else "second"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [make_run(tmp_path / "one", 3, "m1"), make_run(tmp_path / "two", 3, "m2", says=("Hm.", "Hm."))]


def test_two_runs_and_two_judges(tmp_path, runs):
    """The first judge is right; the second always prefers what stands first."""
    out, told = tmp_path / "out", list[tuple[int, int]]()
    with serve(*[by_rule(good, better)] * MANY) as one, serve(*[by_rule(good, lambda _: "first")] * MANY) as two:
        asked = judges(f"wise@{one.url}", f"hasty@{two.url}", price_in=[1.0], price_out=[2.0])
        result = judge(runs, asked, out=out, on_answer=lambda done, total: told.append((done, total)), draws=100)
        assert len(one.asked) == len(two.asked) == 3 * 2 + 3 * 2
    assert told[-1] == (24, 24)
    means = {run: [result["ratings"][run]["all"][name]["value"] for name in CRITERIA] for run in "AB"}
    assert means == {"A": [5.0] * 4, "B": [2.0] * 4}
    assert result["difference"]["relevance"]["value"] == 3
    assert result["agreement"]["coherence"]["value"] == 1
    wise, hasty = (result["pairs"]["judges"][name] for name in ("wise", "hasty"))
    assert (wise["wins"], wise["ties"], wise["win_rate"]["value"], wise["position"]["first"]["value"]) == (3, 0, 1, 0.5)
    assert (hasty["wins"], hasty["ties"], hasty["win_rate"]["value"], hasty["position"]["first"]["value"]) == (
        0,
        3,
        0.5,
        1,
    )
    assert hasty["position"]["flipped"] == 1 and result["pairs"]["all"]["wins"] == 3
    assert result["n"] == 6 and result["failed"]["n"] == 0
    spent = result["judges"][0]
    assert (spent["paid"], spent["replayed"], spent["calls"], spent["prompt_tokens"]) == (12, 0, 12, 12 * 11)
    assert spent["cost"] == pytest.approx(12 * (11 + 2 * 5) / 1e6)
    assert json.loads((out / FILE).read_text()) == result
    assert len(lines(out / RATINGS)) == 12 and len(lines(out / PAIRS)) == 12
    assert {line["order"] for line in lines(out / PAIRS)} == {"AB", "BA"}
    assert result["prompts"]["criteria"]["digest"] and result["runs"]["B"]["model"] == "m2"


def test_the_same_again_asks_nothing_and_more_judges_only_themselves(tmp_path, runs):
    out = tmp_path / "out"
    with serve(*[by_rule(good, better)] * MANY) as server:
        first = judge(runs, judges(f"a@{server.url}"), out=out, draws=100)
        count = len(server.asked)
        written = (out / RATINGS).read_bytes()
        second = judge(runs, judges(f"a@{server.url}"), out=out, draws=100)
        assert len(server.asked) == count == 12
        assert (out / RATINGS).read_bytes() == written
        both = judge(runs, judges(f"a@{server.url}", f"b@{server.url}"), out=out, draws=100)
        assert len(server.asked) == 2 * count
    assert (second["judges"][0]["paid"], second["judges"][0]["replayed"]) == (0, 12)
    assert first["ratings"] == second["ratings"]
    assert second["judges"][0]["prompt_tokens"] == first["judges"][0]["prompt_tokens"], "what was paid stays counted"
    assert [one["paid"] for one in both["judges"]] == [0, 12]


def test_faults_on_the_way_change_nothing(tmp_path, runs):
    """A 429 that asks to wait, a cut connection, a 500, an answer torn in the middle, a score that does not exist."""
    faults = [status(429, retry_after="0.1"), cut, status(500), garble, say(rated(9))]
    found = []
    for name, before in (("plain", []), ("faulty", faults)):
        with serve(*before, *[by_rule(good)] * MANY, content=rated(5)) as server:
            result = judge(runs[:1], judges(f"a@{server.url}"), out=tmp_path / name, draws=100)
            assert len(server.asked) == 3 + len(before) == result["judges"][0]["calls"]
        journal = next((tmp_path / name).glob("journal-*.jsonl"))
        assert len(lines(journal)) == 3 + 2 * bool(before), "paid: the unfit answers too"
        assert result["failed"]["n"] == 0
        found.append(result["ratings"])
    assert found[0] == found[1]


def test_a_conversation_without_a_usable_answer_is_named(tmp_path, runs):
    with serve(*[say("I would rather not.")] * 3, *[by_rule(good)] * MANY) as server:
        result = judge(runs[:1], judges(f"a@{server.url}"), out=tmp_path / "out", draws=100)
        assert len(server.asked) == 5
    assert result["failed"]["n"] == 1 and "not valid JSON" in result["failed"]["named"][0]
    assert result["ratings"]["A"]["all"]["relevance"]["n"] == 2
    kept = lines(tmp_path / "out" / RATINGS)
    assert [line["scores"] is None for line in kept].count(True) == 1
    assert len((tmp_path / "out" / journal_name(judges("a@http://x/v1")[0])).read_text().splitlines()) == 5


def test_a_judge_that_is_down_ends_the_run_and_nothing_paid_is_lost(tmp_path, runs):
    out = tmp_path / "out"
    with serve(by_rule(good), by_rule(good), status(401)) as server:
        with pytest.raises(EndpointDown, match="OPENAI_API_KEY"):
            judge(runs[:1], judges(f"a@{server.url}"), out=out)
        server.faults[:] = [by_rule(good)] * MANY
        result = judge(runs[:1], judges(f"a@{server.url}"), out=out, draws=100)
    assert (result["judges"][0]["paid"], result["judges"][0]["replayed"]) == (1, 2)


RUN = """
import sys
from pathlib import Path
from miras.eval.judge.judging import judge
from tests.eval.judged import judges
url, run, out = sys.argv[1:]
judge([Path(run)], judges(f"a@{url}"), out=Path(out), draws=100)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_kill_loses_no_answer_that_had_arrived(tmp_path):
    """Killed after its fifth question was asked: at most the one on its way is asked again."""
    run, out = make_run(tmp_path / "run", 8), tmp_path / "out"
    with serve(*[by_rule(good)] * MANY) as server:
        command = [sys.executable, "-c", RUN, server.url, str(run), str(out)]
        process = subprocess.Popen(command, env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 60
        while len(server.asked) < 5 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        before = len(server.asked)
        assert 5 <= before < 8, "it was killed in the middle"
        result = judge([run], judges(f"a@{server.url}"), out=out, draws=100)
        assert len(server.asked) <= before + (8 - before) + 1
    assert result["judges"][0]["replayed"] >= before - 1
    assert result["ratings"]["A"]["all"]["relevance"]["n"] == 8


def test_a_judge_that_sees_gets_the_pictures(tmp_path, runs):
    with serve(*[by_rule(good)] * MANY) as server:
        judge(runs[:1], judges(f"a@{server.url}", blind=False), out=tmp_path / "out", draws=100)
        content = server.asked[0]["messages"][1]["content"]
    assert [part["type"] for part in content] == ["image_url"] * 3 + ["text"]
    assert server.asked[0]["response_format"]["json_schema"]["strict"] is True
    assert "authorization" in server.headers_seen[0]


def test_a_missing_photo_is_left_out_for_those_who_see(tmp_path, runs):
    (tmp_path / "photo1.png").unlink()
    with serve(*[by_rule(good)] * MANY) as server:
        asked = [*judges(f"a@{server.url}", blind=False), *judges(f"b@{server.url}")]
        result = judge(runs[:1], asked, out=tmp_path / "out", draws=100)
    assert result["left_out"]["n"] == 1 and "photo1.png" in result["left_out"]["named"][0]
    assert [result["ratings"]["A"]["judges"][name]["relevance"]["n"] for name in "ab"] == [2, 3]


def test_a_limit_draws_the_same_of_both_runs(tmp_path, runs):
    with serve(*[by_rule(good, better)] * MANY) as server:
        result = judge(runs, judges(f"a@{server.url}"), out=tmp_path / "out", limit=2, seed=3, draws=100)
        assert len(server.asked) == 8
    assert result["n"] == 4 and result["pairs"]["all"]["n"] == 2
    rated_records = [
        {line["record"] for line in lines(tmp_path / "out" / RATINGS) if line["run"] == run} for run in "AB"
    ]
    assert rated_records[0] == rated_records[1]


def test_without_pairs_two_runs_are_only_rated(tmp_path, runs):
    with serve(*[by_rule(good)] * MANY) as server:
        result = judge(runs, judges(f"a@{server.url}"), out=tmp_path / "out", pairs=False, draws=100)
    assert "pairs" not in result and not (tmp_path / "out" / PAIRS).exists()


def test_people_beside_the_judges(tmp_path, runs):
    sheet = tmp_path / "sheet.csv"
    rows = [f"r{i},relevance,{4 + i % 2},{who},{run}" for i in range(3) for who in ("ann", "bob") for run in "AB"]
    sheet.write_text("\n".join(["record,criterion,score,rater,run", *rows]) + "\n")
    with serve(*[by_rule(good)] * MANY) as server:
        result = judge(
            runs, judges(f"a@{server.url}"), out=tmp_path / "out", people=[sheet], pairs=False, draws=100
        )  # fmt: skip
    found = result["people"]["relevance"]
    assert found["people"]["value"] == 1 and found["people"]["n"] == 6
    assert found["a"]["bias"]["value"] == pytest.approx((5 + 2) / 2 - 13 / 3)


def test_a_dry_run_asks_nothing_and_knows_what_is_held(tmp_path, runs):
    out = tmp_path / "out"
    with serve(*[by_rule(good)] * MANY) as server:
        first = rehearse(runs, judges(f"a@{server.url}", price_in=[1.0], price_out=[1.0]), out=out)
        assert server.asked == [] and not out.exists()
        judge(runs[:1], judges(f"a@{server.url}"), out=out, draws=100)
        rest = rehearse(runs, judges(f"a@{server.url}"), out=out)
    assert first["requests"] == 12 and first["judges"][0]["held"] == 0
    assert first["cost"] == pytest.approx((first["prompt_tokens"] + first["completion_tokens"]) / 1e6)
    assert (rest["requests"], rest["judges"][0]["held"], rest["cost"]) == (9, 3, None)


def test_a_folder_holds_one_judgement(tmp_path, runs):
    with serve(*[by_rule(good)] * MANY) as server:
        judge(runs[:1], judges(f"a@{server.url}"), out=tmp_path / "out", draws=100)
        with pytest.raises(InputError, match="give another --out"):
            judge(runs[1:], judges(f"a@{server.url}"), out=tmp_path / "out")


def test_a_real_model_behind_a_real_server_judges(tmp_path):
    """llama.cpp's server with a small language model: what it says is worth nothing, that it can be said is the point.

    A proxy before it makes a 429. A second run asks nothing.
    """
    run, out = make_run(tmp_path / "run", 1), tmp_path / "out"
    options: dict[str, Any] = {"timeout": 120.0, "max_tokens": 500, "temperature": 0.0}
    with real_server(context=4096) as upstream:
        with serve(status(429, retry_after="0.2"), upstream=upstream) as proxy:
            first = judge([run], judges(f"smollm2@{proxy.url}", **options), out=out, draws=100)
            assert len(proxy.asked) == 2
        again = judge([run], judges("smollm2@http://127.0.0.1:9/v1", **options), out=out, draws=100)
    spent = first["judges"][0]
    assert (spent["paid"], spent["calls"], spent["answered"], first["failed"]["n"]) == (1, 2, 1, 0)
    assert spent["prompt_tokens"] > 1000 and spent["completion_tokens"] > 40
    (line,) = lines(out / RATINGS)
    assert set(line["scores"]) == set(CRITERIA) and all(1 <= score <= 5 for score in line["scores"].values())
    assert (again["judges"][0]["paid"], again["ratings"]) == (0, first["ratings"])
