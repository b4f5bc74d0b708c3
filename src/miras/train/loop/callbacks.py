"""What happens between steps: the moving average, a line of progress, validation, early stop.

In: a running `MirasTrainer`. Out: lines on standard error, `best/` and `overlays/` in the run's folder.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from miras.core.errors import InputError
from miras.model.miras import Miras
from miras.train.loop import sharding
from miras.train.loop.trainer import MirasTrainer, Validate
from miras.train.recipe.schema import Check

Draw = Callable[[Miras, Path], None]
"""Writes example pictures to a file."""
SHOWN = (
    "text",
    "mask",
    "iou",
    "align",
    "prior",
    "patch",
    "presence",
    "boundary",
    "consistency",
    "refusal",
    "pointer",
    "operators",
    "reward",
    "kl",
    "flat",
)


class Average(TrainerCallback):
    """Keeps the moving average of the weights. trainer: set once it is built."""

    trainer: MirasTrainer

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After each optimiser step."""
        self.trainer.average.update(self.trainer.module.model)


class Progress(TrainerCallback):
    """A line every few steps: loss and its parts, training IoU, seconds a step, time left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.since = (0, 0.0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The clock starts."""
        self.since = (state.global_step, time.monotonic())

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Printed by the first process alone."""
        if not state.is_world_process_zero or not logs or "learning_rate" not in logs:
            return
        steps, seconds = state.global_step - self.since[0], time.monotonic() - self.since[1]
        each = seconds / max(steps, 1)
        parts = " ".join(f"{name} {logs[f'part/{name}']:.3f}" for name in SHOWN if f"part/{name}" in logs)
        print(
            f"{self.name} {state.global_step}/{state.max_steps}  loss {logs['loss']:.3f} ({parts})  "
            f"IoU {100 * logs.get('part/train_iou', 0.0):.1f}  {each:.2f} s/step  "
            f"{_clock(each * (state.max_steps - state.global_step))} left",
            file=sys.stderr, flush=True,
        )  # fmt: skip


class Validation(TrainerCallback, ExportableState):
    """Validates the averaged weights every `check.every` steps, keeps the best in `best/`, and stops the run when
    `check.patience` checks in a row brought nothing better."""

    trainer: MirasTrainer

    def __init__(
        self, check: Check, validate: Validate, draw: Draw | None = None, best: float | None = None, worse: int = 0
    ) -> None:
        self.check, self.validate, self.draw = check, validate, draw
        self.best, self.worse = best, worse

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"args": {}, "attributes": {"best": self.best, "worse": self.worse}}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """At the steps that are due. The first process validates; what it found is told to all, so that all stop."""
        last = state.global_step >= state.max_steps
        if not last and not (self.check.every and state.global_step % self.check.every == 0):
            return
        if self.check.every == 0 and self.check.photos == 0:
            return
        trainer, model = self.trainer, self.trainer.module.model
        with trainer.average.in_place(model), sharding.gathered(trainer.module):
            model.eval()
            figures = sharding.agreed(lambda: self._measured(model, state.global_step))
            model.train()
        due = control.should_log
        trainer.log({f"eval/{name}": value for name, value in figures.items()})
        control.should_log = due  # `log` takes it back, and the step's own line would be lost
        if state.is_world_process_zero:
            shown = "  ".join(f"{name} {value:.2f}" for name, value in figures.items())
            print(f"validation at {state.global_step}: {shown}", file=sys.stderr, flush=True)
        self._judge(figures.get(self.check.metric), control)

    def _measured(self, model: Miras, step: int) -> dict[str, float]:
        """Figures and pictures of the first process."""
        figures = dict(self.validate(model))
        if self.draw is not None and self.check.overlays:
            folder = self.trainer.out / "overlays"
            folder.mkdir(exist_ok=True)
            self.draw(model, folder / f"step-{step:06d}.png")
        if figures and self.check.metric not in figures:
            raise InputError(f"check.metric among {', '.join(sorted(figures))}", self.check.metric)
        return figures

    def _judge(self, value: float | None, control: TrainerControl) -> None:
        if value is None:
            return
        if self.best is None or value > self.best:
            self.best, self.worse = value, 0
            self.trainer.save_averaged(self.trainer.out / "best")
        else:
            self.worse += 1
            if self.check.patience and self.worse >= self.check.patience:
                if sharding.is_first():
                    print(f"stopped: {self.worse} checks without a better {self.check.metric}", file=sys.stderr)
                control.should_training_stop = True


def _clock(seconds: float) -> str:
    minutes = int(seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {int(seconds) % 60:02d} s"
