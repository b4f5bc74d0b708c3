"""The script for a GPU at a tiny size: its parts measure, its checklist says pass, differ or not measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from miras.chat.load import load_random
from miras.cli.benches.machine import Rates
from miras.core.errors import InputError
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.hub import checkpoint
from miras.train.loop.estimate import CONTEXT, estimate
from tests import hub

ROOT = Path(__file__).parents[1]
RATES = Rates(10e9, 50e9, 200e9)
HERE = {"device": "cpu", "layers": None, "narrower": 1}


@pytest.fixture(scope="module")
def gpu():
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None and spec.loader is not None
    sys.modules["gpu"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    return hub.miras_7b(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def tiny(values, monkeypatch):
    monkeypatch.setattr(presets, "configuration", lambda name: MirasConfig(**values))


def test_decoding_with_both_caches(gpu, tiny, monkeypatch):
    monkeypatch.setattr(gpu, "PAST", 30)
    loaded = load_random("miras-7b", None, None, dtype="float32")
    found = gpu.decoding(loaded, "cpu")
    for name in ("growing", "static"):
        assert found[name]["times_the_limit"] == pytest.approx(found[name]["seconds"] / found["limit_seconds"], rel=0.1)
    assert loaded.model.instruction.language.held is None


def test_a_step_of_a_recipe_and_its_memory(gpu, tiny):
    found = gpu.training("full-80gb", 2, "miras-7b", HERE, RATES)
    assert found["teraflop"] >= 0 and found["seconds"] > 0 and found["photos"] == 2
    assert found["memory_gb"] > 0 and found["dry_run_gb"] > 0


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("name", ["cpu-layers", "cpu-qwen"])
def test_a_dry_run_says_what_was_measured_at_the_true_width(gpu, name, stage):
    """`benchmarks/gpu.py --layers 4` on a processor, bfloat16: a sum over parts that never lie there together said 1.6
    and 2 times as much."""
    run = json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())
    size = {key: run["about"][key] for key in HERE}
    with checkpoint.origin("shapes", **size):
        said = estimate(replace(gpu.here("full-80gb", stage, run["about"]["preset"], size), precision="bf16"))
    row = run[f"full-80gb {stage}"]
    assert 1e9 * row["memory_gb"] / (said.memory - CONTEXT) == pytest.approx(1, abs=0.15)
    assert 1e12 * row["teraflop"] / said.operations == pytest.approx(1, abs=0.2)


def test_memory_is_what_lives_at_once(gpu):
    held = torch.zeros(100)
    with gpu.Live([held]) as live:
        one = held + 1  # 400 bytes beside 400
        two = one.view(10, 10)
        del one
        three = two * 2
        del two, three
        held.add_(1)
    assert (live.peak, live.now) == (1200.0, 400.0)


def test_what_needs_a_gpu_is_told(gpu):
    assert "GPU" in gpu.training("full-24gb", 1, "miras-7b", HERE, RATES)["not_run"]


def broken(error):
    raise error


def test_a_part_that_fails_or_has_no_time_costs_no_other(gpu, tmp_path):
    job = gpu.Run("cpu", 1)
    job.kept = tmp_path / "kept.json"
    job.part("good", lambda: {"x": 1}, 1)
    job.part("bad", lambda: broken(InputError("a kernel", "none")), 1)
    job.part("large", lambda: broken(torch.OutOfMemoryError("too much")), 1)
    job.part("late", lambda: {"x": 2}, 1000)
    assert job.found["good"] == {"x": 1} and json.loads(job.kept.read_text()) == job.found
    assert [name for name, value in job.found.items() if "not_run" in value] == ["bad", "large", "late"]
    assert "are left" in job.found["late"]["not_run"] and "too much" in job.found["large"]["not_run"]


@pytest.mark.parametrize(
    ("ratio", "turn", "share", "memory", "says"),
    [
        (1.9, 8.5, 0.4, 1.1, ["pass"] * 4),
        (2.1, 7.9, 0.3, 1.2, ["differ"] * 4),
        (None, None, None, None, ["not measured"] * 4),
        (1.0, 30.0, 0.36, 0.8, ["pass", "pass", "pass", "differ"]),
    ],
)
def test_the_checklist(gpu, ratio, turn, share, memory, says):
    job = gpu.Run("cpu", 1)
    if ratio is not None:
        job.found = {
            "decoding": {"growing": {"times_the_limit": ratio}}, "turns": {"turns": [{"token_ratio": turn}]},
            "full-80gb 2": {"share_of_rate": share, "memory_ratio": memory}, "full-24gb 2": {"not_run": "no GPU"},
        }  # fmt: skip
    gpu.held_to(job)
    told = {row["check"]: row["says"] for row in job.checks}
    named = (
        "decoding (growing cache) over weight bytes by bandwidth", "turn 6 against the loop without a cache",
        "full-80gb, stage 2: share of the products' rate", "full-80gb, stage 2: memory over --dry-run",
    )  # fmt: skip
    assert [told[name] for name in named] == says
    assert told["full-24gb, stage 2: memory over --dry-run"] == "not measured"
