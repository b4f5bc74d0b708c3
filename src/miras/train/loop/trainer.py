"""The training run: `transformers.Trainer` with our batches, rates, moving average and safe checkpoints.

In: a recipe, a dataset of items, a collator, a validation function. Out: checkpoints, `model/` (the averaged
weights, as `miras.load` reads them), `log.jsonl`, TensorBoard files. Knows no data set and no metric.
A micro-batch weighs the same whoever computes it, so that one process that accumulates two and two processes with
one each have the same loss.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from miras.core.errors import InputError, MirasError
from miras.model.miras import Miras
from miras.train.data.targets import moved
from miras.train.loop import checks, sharding, shards
from miras.train.loop.average import MovingAverage
from miras.train.recipe.recipe import differences, read, to_yaml
from miras.train.recipe.schema import Recipe
from miras.train.stages.training_module import TrainingModule, groups, same_architecture

STATE, FORMER_STATE = "module.safetensors", "student.safetensors"
"""Weights of a checkpoint in full precision: what is trained, and the statistics beside it; as older runs call it."""
AVERAGE = "average.safetensors"
MODEL = "model"
"""The averaged weights, in the run's folder."""
RECIPE = "recipe.yaml"
STAGING = ".saving"
WAITED = 4 * 3600
"""Seconds that the other processes wait while the first validates or writes."""
Validate = Callable[[Miras], Mapping[str, float]]


class NotFinite(MirasError):
    """The loss is not a number any more."""


def arguments(recipe: Recipe, out: Path) -> TrainingArguments:
    """What the recipe means to `Trainer`. Raises InputError when a GPU or a package was asked for and there is none."""
    optimiser(recipe)
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise InputError("a GPU (device: cuda)", "none that torch can use", "--set device=cpu, or another machine")
    on_cpu = recipe.device == "cpu" or not torch.cuda.is_available()
    if not on_cpu and "bf16" in (recipe.precision, recipe.frozen):
        checks.with_bf16()
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    arguments = TrainingArguments(
        output_dir=str(out), max_steps=recipe.steps, per_device_train_batch_size=recipe.batch.photos,
        gradient_accumulation_steps=recipe.batch.accumulate, learning_rate=recipe.optimiser.lr,
        lr_scheduler_type="cosine", warmup_steps=math.ceil(recipe.optimiser.warmup * recipe.steps),
        max_grad_norm=recipe.optimiser.clip, seed=recipe.seed, data_seed=recipe.seed, logging_steps=recipe.log_every,
        logging_nan_inf_filter=False, save_strategy="steps", save_steps=recipe.checkpoint_every,
        save_total_limit=recipe.keep, eval_strategy="no", report_to=["tensorboard"], disable_tqdm=True,
        dataloader_num_workers=recipe.batch.workers, dataloader_pin_memory=not on_cpu, remove_unused_columns=False,
        use_cpu=on_cpu, ddp_find_unused_parameters=True, label_names=[], log_level="error", ddp_timeout=WAITED,
    )  # fmt: skip
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs under torchrun, never DataParallel
    return arguments


def optimiser(recipe: Recipe) -> Any:
    """The class of the recipe's optimiser. Raises InputError where its package is not installed."""
    if recipe.optimiser.kind == "adamw":
        return torch.optim.AdamW
    if importlib.util.find_spec("bitsandbytes") is None:
        cure = "pip install 'miras[qlora]', or --set optimiser.kind=adamw"
        raise InputError("bitsandbytes, for AdamW in 8 bits", "no such package", cure)
    return importlib.import_module("bitsandbytes").optim.AdamW8bit


class MirasTrainer(Trainer):
    """`Trainer` for a `TrainingModule`; collate gives {"batch": ...}."""

    def __init__(
        self, module: TrainingModule, recipe: Recipe, out: Path, items: Dataset[Any],
        collate: Callable[[list[Any]], Any], callbacks: list[TrainerCallback],
    ) -> None:  # fmt: skip
        self.recipe, self.out = recipe, out
        self.sums: dict[str, float] = {}
        self.counted = 0
        args = arguments(recipe, out)
        is_sharded = recipe.parallel == "fsdp2" and args.world_size > 1
        if is_sharded:
            sharding.shard(module, args.device, recipe.offload)
        super().__init__(model=module, args=args, train_dataset=items, data_collator=collate, callbacks=callbacks)
        self.average = MovingAverage(module.model, recipe.optimiser.ema)  # where the weights are now
        # Neither DDP nor accelerate is to touch a sharded module. Said on it, `Trainer` would refuse checkpoints.
        self.is_distributed_loading_by_transformers = is_sharded
        self.remove_callback(PrinterCallback)

    @property
    def module(self) -> TrainingModule:
        """The module that is trained, unwrapped."""
        unwrapped = self.accelerator.unwrap_model(self.model)
        assert isinstance(unwrapped, TrainingModule)
        return unwrapped

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[Any]:
        """In order: the items are drawn at random by their number already."""
        chosen = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(chosen)  # type: ignore[arg-type]

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with the rates of the recipe."""
        if self.optimizer is None:
            members = list(groups(self.module, self.recipe))
            if self.recipe.parallel == "fsdp2":
                members = list(sharding.apart(members, self.module))
            self.optimizer = optimiser(self.recipe)(members, betas=self.recipe.optimiser.betas)
        return self.optimizer

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: moved(value, self.args.device) for name, value in inputs.items()}

    def _move_model_to_device(self, model: torch.nn.Module, device: torch.device) -> None:
        if not sharding.is_sharded(model):  # such a model is there
            super()._move_model_to_device(model, device)

    def _sync_replicated_trainable_parameters(self, model: torch.nn.Module) -> None:
        """Nothing: a hook on each gradient hangs where a process has none. See `training_step`."""

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        if self.recipe.offload and sharding.is_sharded(self.module):
            return shards.clip(self.module.parameters(), self.args.max_grad_norm, self.args.device)
        return super()._clip_grad_norm(model)

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward of a micro-batch; its draws on the device depend on its number alone."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + int(inputs.pop("first")))
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if sharding.is_sharded(self.module) and self.accelerator.sync_gradients:
            sharding.average_gradients(self.module)
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The weighted sum of the loss parts. Raises NotFinite, with the photos of the batch."""
        parts: dict[str, Tensor] = model(**inputs)
        loss = parts["loss"]
        if not torch.isfinite(loss):
            bad = ", ".join(name for name, value in parts.items() if not torch.isfinite(value))
            kept = get_last_checkpoint(str(self.out))
            raise NotFinite(
                f"a finite loss at step {self.state.global_step + 1}",
                f"{bad} not finite for the photos {', '.join(inputs['batch'].names)}",
                f"the last good checkpoint is {kept}: look at these photos, or lower optimiser.factor" if kept
                else "no checkpoint yet: look at these photos, or lower optimiser.factor",
            )  # fmt: skip
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.counted += 1
        return (loss, parts) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Beside the loss its parts, means since the last line over all processes."""
        if "learning_rate" in logs and self.counted:
            for name, value in sharding.added(self.sums).items():
                if name != "loss":
                    logs[f"part/{name}"] = value / (self.counted * self.args.world_size)
            self.sums, self.counted = {}, 0
        super().log(logs, start_time)
        if self.is_world_process_zero():
            with (self.out / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": self.state.global_step, **logs}) + "\n")

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Written beside, then renamed: a checkpoint is whole or not there. Raises InputError when the disk is full."""
        final = self.out / f"checkpoint-{self.state.global_step}"
        staging = self.out / STAGING
        self.args.output_dir = str(staging)
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(staging, ignore_errors=True)
            if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and "PytorchStreamWriter" not in str(
                error
            ):
                raise
            kept = get_last_checkpoint(str(self.out))
            raise InputError(
                f"room on disk for checkpoint {self.state.global_step}", f"none left ({error})",
                f"free some and go on with --resume from {kept}" if kept else "free some and start again",
            ) from error  # fmt: skip
        finally:
            self.args.output_dir = str(self.out)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            shutil.rmtree(final, ignore_errors=True)
            (staging / final.name).replace(final)
            shutil.rmtree(staging, ignore_errors=True)
            for old in sorted(self.out.glob("checkpoint-*"), key=_number)[: -self.recipe.keep]:
                shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir or self.out)
        if not self.args.should_save and not sharding.is_sharded(self.module):
            return
        if self._writes_shards and self.optimizer is not None:
            own = self.module.model.own_state_dict()
            shards.save(shards.state_of(own, self.average.mean, self.optimizer), folder)
            if self.args.should_save:
                self._describe(folder)
            return
        state = sharding.whole(self.module.model.own_state_dict())
        average = sharding.whole(self.average.mean)
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            save_file({name: value.contiguous() for name, value in state.items()}, folder / STATE)
            save_file({name: value.contiguous() for name, value in average.items()}, folder / AVERAGE)
            self._describe(folder)

    @property
    def _writes_shards(self) -> bool:
        return self.recipe.checkpoints == "sharded" and sharding.is_sharded(self.module)

    def _describe(self, folder: Path) -> None:
        """What a checkpoint is of, beside its tensors."""
        self.module.model.config.save_pretrained(folder)
        (folder / RECIPE).write_text(to_yaml(self.recipe))
        (folder / checks.PROCESSES).write_text(json.dumps({"processes": self.args.world_size}))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        same_architecture(folder, self.module.model)
        if (folder / shards.SHARDS).is_dir():
            held = shards.load(folder, self.module.model.own_state_dict(), self.average.mean, None)
            self.module.model.load_state_dict(shards.part_of(held, shards.MODEL), strict=False)
            self.average.load(shards.part_of(held, shards.AVERAGE), self.state_steps(folder))
            return
        state = folder / STATE
        sharding.load(self.module.model, load_file(state if state.is_file() else folder / FORMER_STATE))
        mean = load_file(folder / AVERAGE)
        here = {name: sharding.like(value, self.average.mean[name]) for name, value in mean.items()}
        self.average.load(here, self.state_steps(folder))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        assert self.optimizer is not None and self.lr_scheduler is not None
        if sharding.is_sharded(self.module):
            if not self._writes_shards:  # its state lies among the shards
                sharding.save_optimizer(self.optimizer, Path(output_dir))
            if self.args.should_save:
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        assert self.optimizer is not None and self.lr_scheduler is not None
        has_shards = checkpoint is not None and (Path(checkpoint) / shards.SHARDS).is_dir()
        if checkpoint is not None and (has_shards or sharding.is_sharded(self.module)):
            if has_shards:
                shards.fill(self.optimizer, shards.load(Path(checkpoint), {}, {}, self.optimizer))
            else:
                sharding.load_optimizer(self.optimizer, Path(checkpoint))
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))
            for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
                group["lr"] = rate
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    @staticmethod
    def state_steps(folder: Path) -> int:
        """Steps done in a checkpoint."""
        return int(json.loads((folder / "trainer_state.json").read_text())["global_step"])

    def save_averaged(self, folder: Path) -> None:
        """The averaged weights as a model, whole or not at all. All processes."""
        with self.average.in_place(self.module.model):
            if sharding.is_sharded(self.module):
                sharding.save_pretrained(self.module, folder)
            elif self.args.should_save:
                self.module.model.save_pretrained(folder)


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def place(recipe: Recipe, out: Path, resume: bool) -> str | None:
    """The checkpoint to go on from, or None for a new run. Raises InputError when `out` holds a run and `resume`
    is False, holds none and it is True, or holds one of another recipe."""
    shutil.rmtree(out / STAGING, ignore_errors=True)
    found = get_last_checkpoint(str(out)) if out.is_dir() else None
    if not resume:
        if found is not None or (out / MODEL).exists():
            raise InputError("a new folder for the run", f"{out} holds one", "--resume to go on, or another --out")
        out.mkdir(parents=True, exist_ok=True)
        (out / RECIPE).write_text(to_yaml(recipe))
        return None
    if found is None:
        if (out / RECIPE).exists():
            return None
        raise InputError("a run to resume", f"no checkpoint in {out}", "start without --resume")
    former = read(Path(found) / RECIPE)
    free = FREE | ({"batch.accumulate"} if checks.same_step(recipe, former, Path(found)) else set())
    unlike = [key for key in differences(recipe, former) if key not in free]
    if unlike:
        raise InputError(
            f"the recipe {found} was written with", f"other values of {', '.join(unlike)}",
            "resume with the same values, or begin with another --out",
        )  # fmt: skip
    return found


FREE = {"device", "threads", "batch.workers", "checkpoint_every", "keep", "log_every", "check.overlays",
        "checkpoints", "offload", "features.gigabytes", "features.folder", "features.parts"}  # fmt: skip
"""Keys that may change when a run is resumed."""
