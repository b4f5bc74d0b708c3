"""A run: what it leaves behind, that it goes on exactly, and what stops it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from miras.core.errors import InputError, MirasError
from miras.eval.protocol import told
from miras.model.miras import Miras
from miras.train import run
from miras.train.loop import trainer
from miras.train.recipe.recipe import load
from tests.train.tiny import corpus, recipe


def curve(folder: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "learning_rate" in row}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of stage 2."""
    where = tmp_path_factory.mktemp("whole")
    outcome = run.run(recipe("stage2"), corpus(where / "photos"), where / "run")
    return where / "run", outcome


def test_a_run_leaves_a_model_checkpoints_logs_and_pictures(whole):
    folder, outcome = whole
    assert outcome["steps"] == 6 and outcome["best"] is not None
    assert sorted(p.name for p in folder.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    assert not (folder / trainer.STAGING).exists()
    assert len(curve(folder)) == 6
    assert list((folder / "overlays").glob("*.png")) and list(folder.glob("runs/*/events*"))
    about = json.loads((folder / "run.json").read_text())
    assert about["trained"] > 0 and about["recipe"]["name"] == "stage2"
    averaged = Miras.from_pretrained(folder / "model").own_state_dict()
    saved = load_file(folder / "checkpoint-6" / trainer.AVERAGE)
    for name, value in saved.items():
        torch.testing.assert_close(averaged[name], value.half().float())


def test_a_run_says_what_its_data_left_out(tmp_path, capsys):
    given = corpus(tmp_path / "photos")
    given.left.leave("shapes", "shapes of the kind line", "a.json, shape 1", 3)
    run.run(recipe("stage1", "steps=1"), given, tmp_path / "run")
    assert "\nstage1: left out: shapes of the kind line: 3 (first: a.json, shape 1)\n" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["left_out"] == given.left.to_list()


def test_killed_and_resumed_is_the_same_run(tmp_path, whole):
    """kill -9 while the fifth step is done and the sixth prepared: the fifth is done again, with the same result."""
    script = Path(__file__).parents[1] / "tiny.py"
    killed = subprocess.run(
        [sys.executable, script, tmp_path, "stage2", "11"], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / "run" / "checkpoint-4").exists() and not (tmp_path / "run" / "model").exists()
    last = tmp_path / "run" / "checkpoint-4"
    (last / trainer.STATE).rename(last / trainer.FORMER_STATE)  # as runs of before wrote it
    run.run(recipe("stage2"), corpus(tmp_path / "photos"), tmp_path / "run", resume=True)
    first, again = curve(whole[0]), curve(tmp_path / "run")
    assert again.keys() == first.keys()
    assert max(abs(again[step] - first[step]) for step in first) < 1e-6
    one, two = (load_file(folder / "checkpoint-6" / trainer.STATE) for folder in (whole[0], tmp_path / "run"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-6)


def test_a_folder_with_a_run_is_not_written_over(whole):
    with pytest.raises(InputError, match="--resume"):
        run.run(recipe("stage2"), None, whole[0])


def test_a_run_is_resumed_with_its_own_recipe_only(whole):
    with pytest.raises(InputError, match=r"optimiser\.lr"):
        run.run(recipe("stage2", "optimiser.lr=0.5"), None, whole[0], resume=True)
    assert trainer.place(recipe("stage2", "keep=9", "log_every=3"), whole[0], True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        trainer.place(recipe(), tmp_path / "none", True)


def test_a_checkpoint_of_another_architecture(whole):
    from miras.train.stages.training_module import build, same_architecture

    module = build(recipe("stage2", "start.config={prompts: 7}"))
    with pytest.raises(InputError, match=r"prompts=\d+ \(recipe: 7\)"):
        same_architecture(whole[0] / "checkpoint-6", module.model)


def test_a_loss_that_is_not_finite_names_the_photos_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    real = run.stage1.step
    calls = []

    def step(*arguments):
        parts = real(*arguments)
        calls.append(1)
        if len(calls) == 4:
            parts["mask"] = parts["mask"] * float("nan")
            parts["loss"] = parts["loss"] + parts["mask"]
        return parts

    monkeypatch.setattr("miras.train.stages.stage1.step", step)
    with pytest.raises(MirasError, match=r"step 4.*mask.*photos \d, \d.*checkpoint-2"):
        run.run(recipe("stage1"), corpus(tmp_path / "photos"), tmp_path / "run")
    for value in load_file(tmp_path / "run" / "checkpoint-2" / trainer.STATE).values():
        assert not value.is_floating_point() or torch.isfinite(value).all()


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    real = trainer.save_file

    def save(state, file, *rest):
        if "checkpoint-4" in str(file):
            Path(file).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(state, file, *rest)

    monkeypatch.setattr(trainer, "save_file", save)
    with pytest.raises(InputError, match=r"room on disk for checkpoint 4.*checkpoint-2"):
        run.run(recipe("stage1"), corpus(tmp_path / "photos"), tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    assert not (tmp_path / "run" / trainer.STAGING).exists()
    monkeypatch.setattr(trainer, "save_file", real)
    run.run(recipe("stage1"), corpus(tmp_path / "photos"), tmp_path / "run", resume=True)
    assert len(curve(tmp_path / "run")) == 6


def test_no_gpu_where_one_was_asked_for(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="device=cpu"):
        trainer.arguments(recipe("stage1", "device=cuda"), tmp_path)


def test_early_stop_keeps_the_best(tmp_path):
    figures = iter([3.0, 2.0, 1.0, 0.5, 0.2, 0.1])
    outcome = run.run(
        recipe("stage1", "check.every=1", "check.patience=2", "check.overlays=0"), corpus(tmp_path / "photos"),
        tmp_path / "run", validate=lambda model: {"giou": next(figures)},
    )  # fmt: skip
    assert outcome["steps"] == 3 and outcome["best"] == 3.0
    best, model = (load_file(tmp_path / "run" / name / "model.safetensors") for name in ("best", "model"))
    assert all(torch.equal(best[name], model[name]) for name in best)


def test_a_view_that_does_not_divide_into_windows(tmp_path):
    with pytest.raises(InputError, match=r"batch\.coarse a multiple of 32.*try 64 or 96"):
        run.run(recipe("stage1", "batch.coarse=80"), corpus(tmp_path / "photos"), tmp_path / "run")


def test_everything_frozen_is_refused(tmp_path):
    with pytest.raises(InputError, match="frozen"):
        run.run(recipe("stage1", "optimiser.factor=0"), corpus(tmp_path / "photos"), tmp_path / "run")


@pytest.mark.parametrize(
    "changes",
    [("tuning=full", "gradient_checkpointing=true"), ("batch.accumulate=2", "history.mode=own"),
     ("precision=bf16", "history.memory=false", "batch.conversations=3")],
    ids=["full", "accumulated", "half"],
)  # fmt: skip
def test_variants_of_stage2_run(tmp_path, changes):
    run.run(recipe("stage2", "steps=2", *changes), corpus(tmp_path / "photos"), tmp_path / "run")
    model = Miras.from_pretrained(tmp_path / "run" / "model")
    assert model.config.language_tuned == ("tuning=full" in changes)
    if model.config.language_tuned:
        fresh = Miras(model.config).state_dict()
        name = "instruction.language_model.model.embed_tokens.weight"
        assert (model.state_dict()[name] - fresh[name]).abs().max() > 0


def test_a_chain_hands_its_weights_on(tmp_path, monkeypatch):
    monkeypatch.setattr(run.corpora, "read", lambda *_, **__: corpus(tmp_path / "photos"))
    small = [f"{key}" for key in recipe_changes()]
    chain = load("mini", [*small, "stage1:start.preset=miras-tiny"])
    chain = type(chain)(chain.name, chain.recipes, 4)
    result = run.train(chain, [], tmp_path / "run")
    assert [stage["recipe"] for stage in result["stages"]] == ["stage1", "stage2"]
    assert Miras.from_pretrained(tmp_path / "run" / "model").continuations
    card = tmp_path / "run" / "model" / "README.md"
    assert told(card, "trained_on").startswith("4 photos") and "| stage1 | 2 |" in card.read_text()
    card.write_text("mine")
    again = run.train(chain, [], tmp_path / "run", resume=True)
    assert again["stages"] == [] and card.read_text() == "mine"


def recipe_changes() -> list[str]:
    return [
        "steps=2", "checkpoint_every=2", "log_every=1", "batch.photos=2", "batch.coarse=0", "check.every=0",
        "check.photos=0", "check.overlays=0", "device=cpu", "precision=float32",
    ]  # fmt: skip
