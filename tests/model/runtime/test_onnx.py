"""An exported model holds the same conversations, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.chat.load import load
from miras.chat.session import ChatSession
from miras.core.errors import InputError, WeightsError
from miras.core.grammar import ADD, CUT, OBJ, REF, SEG
from miras.model.config import MirasConfig
from miras.model.export.folder import export
from miras.model.miras import Miras
from miras.model.presets import configuration
from miras.model.runtime.manifest import MANIFEST
from miras.model.runtime.onnx import OnnxRuntime

pytest.importorskip("onnxscript")
PHOTO = np.random.default_rng(3).integers(0, 255, (90, 130, 3), dtype=np.uint8)
SCRIPT = (
    ("the cup", ("I found the", OBJ, " cup", SEG)),
    ("also the lid", (ADD, "Added the", OBJ, " lid", SEG)),
    ("the cup again", (CUT, "Without the", OBJ, " cup", REF)),
)


@pytest.fixture(scope="module")
def model() -> Miras:
    """Random, with everything that a conversation may need."""
    import torch

    torch.manual_seed(5)
    changes = {
        "points": True,
        "complements": True,
        "instances": True,
        "semantic_head": True,
        "tags": ["a cup", "a lid"],
    }
    made = Miras(MirasConfig(**{**configuration("miras-tiny").to_diff_dict(), **changes}))
    made.instruction.answer_fast(made.config.max_tokens, torch.float32)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def folder(model: Miras, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("exported")
    export(model, where)
    return where


def ids_of(model: Miras, pieces: tuple[str, ...]) -> list[int]:
    special = {token: model.grammar.id(token) for token in (OBJ, SEG, REF, ADD, CUT)}
    return [i for piece in pieces for i in ([special[piece]] if piece in special else model.tokenizer.encode(piece))]


def same(one: ChatSession, other: ChatSession) -> None:
    assert [reply.ids for reply in one.history] == [reply.ids for reply in other.history]
    for ours, theirs in zip(one.regions, other.regions, strict=True):
        assert (ours.mask != theirs.mask).mean() < 1e-3
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)


def test_the_same_conversation(model: Miras, folder: Path) -> None:
    ours, theirs = load(folder).chat(PHOTO), ChatSession(model, PHOTO)
    assert ours.tags == theirs.tags
    for text, pieces in SCRIPT:
        for session in (ours, theirs):
            session.ask(text, forced=ids_of(model, pieces))
    for session in (ours, theirs):
        session.refine(points=[(20, 30, 1), (90, 60, 0)])
        session.refine(box=(10, 10, 80, 70))
        session.ask("and now?")  # generated
        session.refine(points=[(60, 60, 1)], region=1)
    same(ours, theirs)
    for session in (ours, theirs):
        session.undo()
        session.undo()
        session.ask("what else?")
    same(ours, theirs)
    assert abs(ours.evidence.presence - theirs.evidence.presence) < 1e-3 if ours.evidence.presence else True


def test_a_session_goes_on_in_the_other_engine(model: Miras, folder: Path) -> None:
    ours = load(folder).chat(PHOTO)
    ours.ask(*SCRIPT[:1][0][:1], forced=ids_of(model, SCRIPT[0][1]))
    theirs = ChatSession.from_json(model, ours.to_json(), PHOTO)
    back = load(folder).restore(theirs.to_json(), PHOTO)
    for session in (ours, theirs, back):
        session.ask("also the lid", forced=ids_of(model, SCRIPT[1][1]))
    same(ours, theirs)
    same(ours, back)


def test_forks_do_not_see_each_other(model: Miras, folder: Path) -> None:
    session = load(folder).chat(PHOTO)
    session.ask("the cup", forced=ids_of(model, SCRIPT[0][1]))
    one, other = session.fork(), session.fork()
    first = one.ask("what is left?")
    other.ask("also the lid", forced=ids_of(model, SCRIPT[1][1]))
    assert session.fork().ask("what is left?").ids == first.ids
    assert one.undo().expression == other.undo().expression == session.selection.expression


WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "peft", "safetensors", "gguf", "scipy", "onnx"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import miras
folder, photo, out = sys.argv[1:]
loaded = miras.load(folder)
session = loaded.chat(photo)
session.ask("the cup")
session.refine(points=[(20, 30, 1)])
session.ask("and what is beside it?")
session.undo()
twin = session.fork()
twin.export(out)
again = loaded.restore(session.to_json())
assert again.selection.expression == session.selection.expression
from miras.cli.main import call
code = call(["ask", photo, "the cup", "--model", folder, "--out", out + "/ask"])
assert not code, code
print(sorted(name for name in sys.modules if name in {"torch", "transformers", "scipy"}))
"""


def test_no_torch_is_needed(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(folder), str(tmp_path / "photo.png"), str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "format 99"),
        ({"facts": None, "surprise": 1}, "surprise"),
        ({"files": {"image.onnx": 3}}, "3 bytes"),
        ({"files": {"nothing.onnx": 3}}, "no such file"),
        ({"config": {}}, "no template"),
    ],
)
def test_another_version_is_told_in_a_line(folder: Path, tmp_path: Path, change: dict, said: str) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    values = json.loads((folder / MANIFEST).read_text())
    (tmp_path / MANIFEST).unlink()
    (tmp_path / MANIFEST).write_text(json.dumps({**values, **change}))
    with pytest.raises(WeightsError, match=said) as raised:
        OnnxRuntime(tmp_path)
    assert "\n" not in str(raised.value) and "miras export onnx" in str(raised.value)


@pytest.mark.parametrize("options", [{"device": "cuda"}, {"dtype": "bfloat16"}, {"runtime": "tea"}, {"threads": 0}])
def test_what_it_cannot_is_refused(folder: Path, options: dict) -> None:
    with pytest.raises(InputError):
        load(folder, **options)


def test_nothing_exported_is_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="miras export onnx --model miras-tiny"):
        load("miras-tiny", runtime="onnx")
