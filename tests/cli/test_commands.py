"""`doctor`, `bench` and `eval` on `miras-tiny`: the objects that other tools rely on."""

from __future__ import annotations

import json

from miras.cli import main
from miras.cli.benches import machine
from tests.cli.test_main import TINY
from tests.eval.tasks.test_instructpart import make_folder


def last(capsys) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_doctor(capsys):
    assert main.call(["doctor", "--preset", "miras-tiny", "--json", "--threads", "1"]) == 0
    report = last(capsys)
    assert report["ok"]
    assert [check["check"] for check in report["checks"]] == [
        "load miras-tiny", "encode a photograph", "answer a message", "segment what is pointed at", "write masks",
        "save and restore",
    ]  # fmt: skip
    assert set(report["parts"]) == {"instruction", "image_encoder", "mask_encoder", "alignment", "decoder"}


def test_bench_turns(capsys, monkeypatch):
    monkeypatch.setattr(machine, "READ_BYTES", 2**16)
    monkeypatch.setattr(machine, "SIDE", 32)
    assert main.call(["bench", "turns", "--json", "--repeats", "1", *TINY]) == 0
    report = last(capsys)
    assert len(report["turns"]) == 6
    assert report["photo_encodings"] == 1
    for turn in report["turns"]:
        assert set(turn) == {
            "seconds", "recompute_seconds", "ratio", "token_recompute_seconds", "token_ratio", "new_tokens",
            "recompute_tokens", "first_token_seconds", "first_mask_seconds", "tokens_per_second", "memory_mb",
            "limit_seconds", "times_the_limit",
        }  # fmt: skip
    later = report["turns"][1:]
    assert all(turn["new_tokens"] < turn["recompute_tokens"] for turn in later)
    assert later[-1]["recompute_tokens"] > later[0]["recompute_tokens"]


def test_eval_instructpart(capsys, tmp_path):
    samples = tmp_path / "samples.jsonl"
    arguments = ["eval", str(make_folder(tmp_path)), "--format", "instructpart", "--instruction", "4", "--json"]
    assert main.call([*arguments, "--samples", str(samples), *TINY]) == 0
    report = last(capsys)
    keys = {"n", "giou", "ciou", "precision", "recall", "f1", "p50", "no_mask_rate", "model", "history", "seed"}
    assert keys <= set(report)
    assert report["n"] == 2 == len(samples.read_text().splitlines())


def test_eval_limit(capsys, tmp_path):
    assert main.call(["eval", str(make_folder(tmp_path)), "--limit", "1", "--json", *TINY]) == 0
    assert last(capsys)["n"] == 1
    assert main.call(["eval", str(tmp_path), "--limit", "0", *TINY]) == 2


def test_eval_looks_at_every_photo_before_the_model_is_loaded(capsys, tmp_path):
    folder = make_folder(tmp_path)
    photos = sorted((folder / "images").iterdir())
    for path in photos:
        path.write_bytes(path.read_bytes()[:-60])
    assert main.call(["eval", str(folder), "--format", "instructpart", "--json", "--model", "no such model"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"that can be read whole, got {len(photos)}: " in said and all(path.name in said for path in photos)
