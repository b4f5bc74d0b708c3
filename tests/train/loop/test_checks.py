"""What a machine must be able to do, and how many processes may go on with a run: one clear line each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from miras.core.errors import InputError
from miras.train.loop import checks, trainer
from miras.train.recipe.recipe import load
from miras.train.stages.training_module import check
from tests.train.tiny import recipe


@pytest.mark.parametrize(
    ("then", "here", "accumulate", "is_free"),
    [(2, 2, (1, 1), False), (2, 1, (1, 2), True), (4, 2, (2, 4), True), (1, 4, (8, 2), True), (2, 2, (1, 3), False)],
)
def test_as_many_photos_make_a_step(tmp_path, monkeypatch, then, here, accumulate, is_free):
    monkeypatch.setenv("WORLD_SIZE", str(here))
    (tmp_path / checks.PROCESSES).write_text(json.dumps({"processes": then}))
    former, now = (recipe("stage2", f"batch.accumulate={number}") for number in accumulate)
    assert checks.same_step(now, former, tmp_path) is is_free


@pytest.mark.parametrize(
    ("then", "here", "cure"),
    [(4, 2, r"--set batch\.accumulate=2, or start 4 processes"), (2, 3, "; start 2 processes")],
)
def test_another_number_of_processes_says_what_to_do(tmp_path, monkeypatch, then, here, cure):
    monkeypatch.setenv("WORLD_SIZE", str(here))
    (tmp_path / checks.PROCESSES).write_text(json.dumps({"processes": then}))
    one = recipe("stage2")
    with pytest.raises(
        InputError, match=rf"steps of {2 * then} photos, .*, got {2 * here} \({here} processes\).*{cure}"
    ):
        checks.same_step(one, one, tmp_path)


def test_a_run_that_did_not_say_how_many_wrote_it(tmp_path):
    assert checks.same_step(recipe("stage2"), recipe("stage2"), tmp_path) is False


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"frozen": "bf16"}])
def test_a_gpu_without_bfloat16(tmp_path, monkeypatch, changes):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    one = replace(recipe("stage2"), device="cuda", **changes)
    said = r"a GPU with bfloat16 .*, got Tesla T4 of 7\.5; --set precision=float32 frozen=float32"
    with pytest.raises(InputError, match=said):
        trainer.arguments(one, tmp_path)


@pytest.mark.parametrize("frozen", ["bf16", "int8", "nf4"])
def test_halves_are_not_multiplied_by_float32(frozen):
    with pytest.raises(InputError, match=rf"frozen {frozen}: for products in bfloat16 \(precision: bf16\)"):
        check(replace(recipe("stage2"), frozen=frozen, precision="float32"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["offload=true"], r"offload: for parallel fsdp2 \(got ddp\)"),
        (["parallel=fsdp2", "frozen=nf4"], "parallel fsdp2: for weights of 16 or 32 bits"),
        (["parallel=fsdp2", "optimiser.kind=adamw8bit"], "parallel fsdp2: .* optimiser.kind adamw"),
    ],
)
def test_what_does_not_go_together(changes, said):
    with pytest.raises(InputError, match=said):
        load("stage2", changes)
