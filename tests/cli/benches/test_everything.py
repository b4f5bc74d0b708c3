"""Bad input is one line; the page of the figures is what the script makes of them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from miras.cli import main
from miras.cli.benches import everything, machine, parts, whole

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--repeats", "0"], "--repeats"), (["--photos", "0"], "--photos"), (["--jobs", "0"], "--jobs"),
     (["--data", "nowhere"], "nowhere")],
)  # fmt: skip
def test_bad_input_is_one_line(arguments, says, capsys):
    assert main.call(["bench", "all", "--model", "miras-tiny", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A small machine; what starts other processes is told, not started."""
    monkeypatch.setattr(machine, "READ_BYTES", 2**16)
    monkeypatch.setattr(machine, "SIDE", 32)
    monkeypatch.setattr(parts, "BATCHES", (1,))
    monkeypatch.setattr(parts, "TOKENS", (1,))
    monkeypatch.setattr(parts, "MASKS", (1,))
    monkeypatch.setattr(everything, "TURNS", 2)
    monkeypatch.setattr(everything, "QUESTIONS", (1,))
    monkeypatch.setattr(whole, "cold_start", lambda *_: {"seconds": 1.0})
    monkeypatch.setattr(parts, "reading", lambda *_: {"seconds": 0.1})
    return tmp_path


def test_all_runs_to_its_end_and_a_part_that_fails_costs_no_other(tiny, capsys):
    (tiny / "empty").mkdir()
    line = [
        "bench",
        "all",
        "--quick",
        "--model",
        "miras-tiny",
        "--data",
        str(tiny / "empty"),
        "--threads",
        "1",
        "--json",
    ]
    assert main.call(line) == 1
    told = capsys.readouterr()
    found = json.loads(told.out.splitlines()[-1])
    assert list(found["failed"]) == ["training"] and found["training"] is None
    for row in (*found["turns"], found["encoding"][0], *found["language"], *found["decoder"]):
        assert row["times_the_limit"] > 0 and row["limit_seconds"] >= 0
    assert [(row["jobs"], row["questions"]) for row in found["predict"]] == [(1, 1)]
    assert all(row["photos_per_second"] > 0 for row in found["predict"])
    first, second = (row for row in found["held"])
    assert second["limit_mb"] >= first["limit_mb"] > 0
    assert "training: " in told.err and told.err.count("measured") == 8


def made() -> dict:
    """As `miras bench all --json` prints it, small."""
    limit = {"seconds": 0.2, "megabytes": 0.0, "giga_operations": 9.0, "limit_seconds": 0.1, "times_the_limit": 2.0}
    hardware = {
        "cpu": "A processor", "instructions": ["avx2"], "machine": "x86_64", "system": "Linux 6", "cores": 2,
        "memory_gb": 8.0, "threads": 1, "load_before": 0.1, "load_after": 3.0, "seconds_are": "processor time",
        "python": "3.11", "packages": {"torch": "2"},
        "measured": {"read_gb_per_second": 10.0, "float32_giga_operations_per_second": 50.0,
                     "bfloat16_giga_operations_per_second": 90.0},
    }  # fmt: skip
    return {
        "repeats": 3, "hardware": hardware, "encoding": [{"batch": 1, **limit}], "language": [{"tokens": 8, **limit}],
        "decoder": [{"masks": 4, **limit}], "reading": {"seconds": 0.21},
        "turns": [{"turn": 1, "new_tokens": 95, **limit}],
        "predict": [{"engine": "onnx", "jobs": 2, "questions": 1, "photos": 8, "photos_per_second": 2.5,
                     "processor_seconds": None, "limit_photos_per_second": 10.0, "share_of_the_limit": 0.25}],
        "held": [{"photos": 4, "resident_mb": 900, "limit_mb": 400}],
        "cold_start": {"seconds": 3.5, "processor_seconds": 3.0, "load_seconds": 1.0, "encode_seconds": 0.2,
                       "limit_seconds": 0.5, "times_the_limit": 7.0},
        "training": None, "failed": {"training": "no room"},
    }  # fmt: skip


def script():
    spec = importlib.util.spec_from_file_location("performance", ROOT / "benchmarks" / "performance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("load", "line", "there"),
    [
        (0.1, "| 1 | 9.0 | 200 | 100 | 2.0 |", True),
        (0.1, "| 4 | 9.0 | 200 | 100 | 2.0 |", True),
        (0.1, "| 8 | 0.0 | 9.0 | 200 | 100 | 2.0 |", True),
        (0.1, "| 1 | 95 | 9.0 | 200 | 100 | 2.0 |", True),
        (0.1, "| onnxruntime | 2 | 1 | 8 | 2.50 | 10.0 | 25% | - |", True),
        (0.1, "| 4 | 900 | 400 |", True),
        (0.1, "so this is 7 times the least", True),
        (0.1, "- training: no room", True),
        (0.1, "Other programs took part of this machine", False),
        (5.0, "Other programs took part of this machine", True),
        (0.1, "## Training", False),
    ],
)
def test_the_page_says_the_figures_beside_their_limits(load, line, there):
    found = made()
    found["hardware"]["load_before"] = load
    assert (line in script().page(found)) is there


def test_the_page_is_made_from_the_figures():
    figures = ROOT / "benchmarks" / "performance.json"
    if not figures.exists():
        pytest.skip("miras bench all has not been run for it")
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "performance.py"), "--check"], check=False)
    assert done.returncode == 0
