"""Two processes do what one does that accumulates two micro-batches: DDP and FSDP2, with gloo on the CPU.

Run as a script under `torchrun`, it trains all jobs of `JOBS` in a row: one start of the processes for all tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from miras.core.errors import InputError
from miras.core.photo import read_photo
from miras.model.miras import Miras
from miras.train import run
from miras.train.loop import sharding
from miras.train.loop.trainer import AVERAGE, STAGING, STATE
from miras.train.recipe.recipe import load
from miras.train.stages.stage1 import PhraseStates
from tests.train.tiny import corpus, recipe

STEPS = 4
MIXED = ("history.mode=mixed", "history.own=0.5", "seed=1")
SAMPLED = (
    "start.weights=miras-tiny", "batch.photos=1", "batch.conversations=1", "batch.accumulate=1", "reinforce.group=3",
    "reinforce.tokens=12",
)  # fmt: skip
STAGES = {
    "stage1": ("stage1",), "gold": ("stage2", "history.mode=gold"), "mixed": ("stage2", *MIXED),
    "grpo": ("grpo-cpu", *SAMPLED),
}  # fmt: skip
CHECKED = {"checked": ("stage2", "check.every=1", "check.patience=1")}
"""Stops after the second step."""
JOBS = (
    "ddp/stage1", "ddp/gold", "ddp/mixed", "ddp/mixed-resumed", "fsdp2/stage1", "fsdp2/mixed", "fsdp2/mixed-resumed",
    "fsdp2/checked", "ddp/grpo", "ddp/gold",
)  # fmt: skip
"""The last finds a run in its folder."""


def chosen(job: str, *more: str):
    parallel, _, name = job.partition("/")
    stage, *changes = (STAGES | CHECKED)[name.removesuffix("-resumed")]
    return recipe(stage, f"steps={STEPS}", f"parallel={parallel}", *changes, *more)


def train(job: str, where: Path, photos: Path, *more: str) -> None:
    """One job; a resumed one begins in the middle of a finished one."""
    if resumed := job.endswith("-resumed"):
        sharding.agreed(lambda: interrupted(where / job.removesuffix("-resumed"), where / job))
    data, giou = corpus(photos), iter([2.0, 1.0])

    def measured(model: Miras) -> dict[str, float]:
        features = model.encode_image([read_photo(data.photos[0].path)])
        with torch.no_grad():
            span, _ = PhraseStates(model)(["cup"])
            return {"giou": next(giou), "presence": model.presence(features, 0, span[0])}

    kept = data.held_out if job.endswith("checked") else []
    run.run(chosen(job, *more), replace(data, held_out=kept), where / job, resume=resumed, validate=measured)


def interrupted(whole: Path, copy: Path) -> None:
    shutil.copytree(whole, copy)
    shutil.rmtree(copy / "model")
    shutil.rmtree(copy / f"checkpoint-{STEPS}")
    (copy / "log.jsonl").unlink()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Folder of the jobs run by two processes, and what these wrote to standard error."""
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("torch without gloo")
    where = tmp_path_factory.mktemp("both")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [*launch, __file__, where], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"the processes wait for each other:\n{process.communicate()[1][-3000:]}")
    assert process.returncode == 0, said[-3000:]
    return where, said


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same in one process, two micro-batches a step."""
    where = tmp_path_factory.mktemp("alone")
    for name in STAGES | CHECKED:
        train(f"ddp/{name}", where, where / "photos", "batch.accumulate=2")
    return where / "ddp"


def curve(folder: Path) -> dict[int, dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row for row in rows if "learning_rate" in row}


def assert_same(one: Path, other: Path, logged: float, weights: float, steps: range = range(1, STEPS + 1)) -> None:
    first, second = curve(one), curve(other)
    assert list(second) == list(steps)
    for step in steps:
        assert first[step].keys() == second[step].keys()
        for key in first[step].keys() - {"epoch"}:
            assert second[step][key] == pytest.approx(first[step][key], abs=logged, rel=logged), (step, key)
    last = f"checkpoint-{STEPS}"
    for file in (STATE, AVERAGE):
        torch.testing.assert_close(load_file(one / last / file), load_file(other / last / file), rtol=0, atol=weights)


@pytest.mark.parametrize("name", STAGES)
def test_ddp_is_one_process_that_accumulates(both, alone, name):
    """The sum of two gradients is the same in either order: no tolerance is needed but for the sums of `grad_norm`."""
    assert_same(alone / name, both[0] / "ddp" / name, 1e-6, 1e-6)


@pytest.mark.parametrize("name", ["stage1", "mixed"])
def test_fsdp2_is_one_process_that_accumulates(both, alone, name):
    """Sums in another order; AdamW makes more of it where a gradient is small (a step moves a weight by up to 5e-4)."""
    assert_same(alone / name, both[0] / "fsdp2" / name, 1e-5, 3e-5)
    start, end = (load_file(alone / name / f"checkpoint-{n}" / STATE) for n in (2, STEPS))
    assert max(float((start[key] - end[key]).abs().max()) for key in start) > 1e-4


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_resumed_is_uninterrupted(both, parallel):
    whole, resumed = (both[0] / parallel / name for name in ("mixed", "mixed-resumed"))
    assert_same(whole, resumed, 1e-6, 1e-6, range(3, STEPS + 1))


def test_the_processes_needed_different_passes_of_the_language_model(alone):
    """Otherwise the jobs above would not show that FSDP2 does not hang."""
    chosen_recipe = chosen("fsdp2/mixed", "batch.accumulate=2")
    items = run.items(chosen_recipe, replace(corpus(alone / "photos"), held_out=[]))
    collate = run.Collate(run.build(chosen_recipe).model, chosen_recipe)
    batches = [collate([items[2 * k], items[2 * k + 1]])["batch"] for k in range(2 * STEPS)]
    own = [bool(batch.own_C.any()) for batch in batches]
    probed = [len(batch.probes.photo_P) > 0 for batch in batches]
    assert any(own[k] != own[k + 1] for k in range(0, len(own), 2)), own
    assert any(probed[k] != probed[k + 1] for k in range(0, len(probed), 2)), probed


def test_the_first_process_validates_and_all_stop(both, alone):
    """What it measures alone, with layers that are shared out, is what one process measures."""
    there, here = both[0] / "fsdp2/checked", alone / "checked"
    found, wanted = (
        [row for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "eval/giou" in row]
        for folder in (there, here)
    )
    assert [row["step"] for row in found] == [row["step"] for row in wanted] == [1, 2]
    for one, other in zip(found, wanted, strict=True):
        assert one["eval/presence"] == pytest.approx(other["eval/presence"], rel=1e-5)
    assert found[0]["eval/presence"] != found[1]["eval/presence"]
    best, model, mine = (load_file(f / "model.safetensors") for f in (there / "best", there / "model", here / "best"))
    torch.testing.assert_close(best, model, rtol=0, atol=0)
    torch.testing.assert_close(best, mine, rtol=1e-3, atol=1e-4)
    assert list((there / "overlays").glob("*.png"))


@pytest.mark.parametrize("job", ["ddp/stage1", "ddp/mixed", "fsdp2/stage1", "fsdp2/mixed"])
def test_the_saved_model_is_the_average(both, job):
    averaged = Miras.from_pretrained(both[0] / job / "model").own_state_dict()
    for name, value in load_file(both[0] / job / f"checkpoint-{STEPS}" / AVERAGE).items():
        torch.testing.assert_close(averaged[name], value.half().float())


def test_only_the_first_process_writes_and_prints(both):
    where, said = both
    for job in dict.fromkeys(job for job in JOBS if not job.endswith("checked")):
        files = {path.name for path in (where / job / f"checkpoint-{STEPS}").iterdir()}
        assert {STATE, AVERAGE, "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "rng_state_1.pth"} <= files
        assert not (where / job / STAGING).exists()
        assert json.loads((where / job / "run.json").read_text())["processes"] == 2
    assert said.count(f"stage1 {STEPS}/{STEPS}") == 2 and said.count(f"stage2 {STEPS}/{STEPS}") == 5


def test_what_a_person_can_mend_is_said_once(both):
    assert [(both[0] / f"refused-{rank}").read_text() for rank in "01"] == ["InputError", "SystemExit"]


@pytest.mark.parametrize(("name", "parallel"), [("gpu8", "ddp"), ("nodes2", "fsdp2")])
def test_recipes_for_many_devices(name, parallel):
    (one,) = load(name).recipes
    assert (one.stage, one.parallel, one.device) == (2, parallel, "cuda")


if __name__ == "__main__":
    target, rank, sharding.GRACE = Path(sys.argv[1]), os.environ["RANK"], 0.0
    for number, planned in enumerate(JOBS):
        try:
            train(planned, target, target / f"photos-{rank}")
        except (InputError, SystemExit) as error:
            if number < len(JOBS) - 1:
                raise
            (target / f"refused-{rank}").write_text(type(error).__name__)
    sharding.leave()
