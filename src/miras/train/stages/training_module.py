"""What is trained: the model and its stage as one module, from a batch to loss parts.

In: a recipe. Out: `TrainingModule`, and which of its parameters learn at which rate. A module of its own, because
data-parallel wrappers call `forward` and nothing else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from miras.core.errors import InputError
from miras.core.grammar import ADD, CUT, REJ, UNDO
from miras.core.types import AnnotatedPhoto
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.hub import checkpoint
from miras.model.language.base import Packs
from miras.model.language.precision import fastest_dtype
from miras.model.loading.place import find
from miras.model.miras import Miras
from miras.model.saved import PUBLISHED
from miras.train.data.dialogue_batch import DialogueBatch, History
from miras.train.grpo.batch import AskedBatch
from miras.train.grpo.step import Reinforcement
from miras.train.recipe.schema import Recipe
from miras.train.stages import imagenet, stage1, stage2
from miras.train.stages.frozen_features import FrozenFeatures, features_faults


def is_half(recipe: Recipe) -> bool:
    """Are the products of this run bfloat16? A processor that does not multiply it takes nine times as long with it."""
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if recipe.device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return fastest_dtype() is torch.bfloat16


class TrainingModule(nn.Module):
    """A model under one stage of training. `forward` gives the loss parts, their weighted sum under "loss"."""

    def __init__(self, model: Miras, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.stage = recipe.stage
        self.is_half = is_half(recipe)
        self.weights1 = stage1.Weights(**recipe.losses) if recipe.stage == 1 else stage1.Weights()
        self.weights2 = stage2.Weights(**recipe.losses) if recipe.stage == 2 else stage2.Weights()
        self.states = stage1.PhraseStates(model)
        self.reinforcement = Reinforcement(model, recipe, self.is_half) if recipe.stage == 3 else None
        self.features: FrozenFeatures | None = None

    def keep_features(self, recipe: Recipe) -> None:
        """From now on frozen towers are asked only for photos that they have not seen, where the recipe says so."""
        if recipe.features.gigabytes:
            self.features = FrozenFeatures(self.model, recipe, self.is_half)

    def forward(
        self, batch: stage1.PhraseBatch | DialogueBatch | AskedBatch, photos: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        """Loss parts: scalars, means over the batch. photos: their digests, where features are kept."""
        if isinstance(batch, AskedBatch):
            assert self.reinforcement is not None, "asked in stage 3 alone"
            return self.reinforcement(batch)
        kept = nullcontext() if self.features is None else self.features.of(photos)
        with kept, torch.autocast(batch.views.detail_B3SS.device.type, torch.bfloat16, enabled=self.is_half):
            if isinstance(batch, stage1.PhraseBatch):
                return stage1.step(self.model, batch, self.states, self.weights1)
            return stage2.step(self.model, batch, self.weights2)


def build(recipe: Recipe, photos: Sequence[AnnotatedPhoto] = ()) -> TrainingModule:
    """The model of a recipe with its starting weights, frozen and tuned as the recipe says. photos: of the training."""
    check(recipe)
    torch.manual_seed(recipe.seed)
    model = _begin(recipe)
    if recipe.start.imagenet and not model.config.has_concepts:
        model = imagenet.with_classifier(model, photos).train()
    _check_views(recipe, model)
    if recipe.start.operators and recipe.stage == 2:
        name_operators(model)
    model.config.reads |= recipe.start.reads
    model.learn_to_talk(recipe.start.points, recipe.start.complements)
    if recipe.tuning == "full":
        model.config.language_tuned = True
    for name, parameter in model.named_parameters():
        frozen = name.startswith("instruction.language_model.") and "lora_" not in name and recipe.tuning == "lora"
        frozen |= (model.config.has_concepts and name.startswith(PUBLISHED)) or name.startswith(model.still)
        frozen |= recipe.stage == 3 and not name.startswith("instruction.")  # what replies say is all that is sampled
        frozen |= name.startswith("instances.")  # fitted from masks alone, after the steps (`calibrate.instances`)
        parameter.requires_grad_(not frozen and rate_of(name, recipe) > 0)
        if parameter.requires_grad and parameter.dtype is not torch.float32:
            parameter.data = parameter.data.float()  # LoRA begins in the precision of what it is put on
    if recipe.batch.pack and not isinstance(model.instruction.language, Packs):
        raise InputError("a language model that reads packed rows", model.config.language, "batch.pack=0")
    if recipe.gradient_checkpointing:
        language: Any = model.instruction.language_model
        language.activation_checkpointing_enable()
    model.image_encoder.to(memory_format=torch.channels_last)
    return TrainingModule(model, recipe)


def held_dtype(recipe: Recipe) -> torch.dtype:
    """What weights that do not learn are held in, where they are not quantised."""
    return torch.float32 if recipe.frozen == "float32" else torch.bfloat16


def _held(recipe: Recipe) -> AbstractContextManager[None]:
    """Inside, parts of the hub are loaded as the recipe wants them held."""
    bits = {"int8": 8, "nf4": 4}.get(recipe.frozen, 16)
    return checkpoint.origin(dtype=held_dtype(recipe), bits=bits)


def check(recipe: Recipe) -> None:
    """Raises InputError for keys of `losses` and `history` that the stage does not have, and for a configuration
    given to weights that have their own."""
    faults = []
    for section, kind in (
        ("losses", stage1.Weights if recipe.stage == 1 else stage2.Weights),
        ("history", History),
    ):
        known = {f.name for f in fields(kind)}
        for key in getattr(recipe, section).keys() - known:
            near = difflib.get_close_matches(key, known, 2, 0.5)
            faults.append(f"unknown key {section}.{key} (near: {', '.join(near) or ', '.join(sorted(known))})")
    if recipe.stage == 3 and recipe.losses:
        faults.append("losses are of stages 1 and 2; stage 3 has reinforce.rewards")
    for pattern in recipe.optimiser.rates:
        try:
            re.compile(pattern)
        except re.error as error:
            faults.append(f"optimiser.rates: {pattern!r} is no regular expression ({error})")
    if recipe.start.weights and recipe.start.config:
        faults.append("start.config is for a new model; start.weights brings its own configuration")
    if recipe.frozen != "float32" and not is_half(recipe):
        faults.append(f"frozen {recipe.frozen}: for products in bfloat16 (precision: bf16)")
    faults += features_faults(recipe)
    if faults:
        raise InputError("a valid recipe", "; ".join(sorted(faults)), "see docs/training.md for every key")


def _begin(recipe: Recipe) -> Miras:
    start = recipe.start
    if start.weights:
        folder = find(start.weights)
        with _held(recipe):
            built = presets.build(start.weights, recipe.seed) if folder is None else Miras.from_pretrained(
                folder, language_dtype=held_dtype(recipe)
            )  # fmt: skip
        return built.train()
    config = MirasConfig(**{**presets.configuration(start.preset).to_diff_dict(), **start.config})
    with _held(recipe):
        model = Miras(config, held_dtype(recipe))
    encoder = model.image_encoder
    for name in ("detail_tower", "semantic_tower"):
        tower = getattr(encoder, name, None)
        if tower is not None and tower.published:
            tower.load_published()
    if model.concepts is not None:
        imagenet.learn_names(model)
    return model.train()


def _check_views(recipe: Recipe, model: Miras) -> None:
    """Each semantic patch owns a whole window of the detail view. Raises InputError with sides that do."""
    step = 16 * model.config.grid
    for key in ("detail", "coarse"):
        side = getattr(recipe.batch, key)
        if side % step:
            near = sorted({max(step, side // step * step), -(-side // step) * step})
            raise InputError(
                f"batch.{key} a multiple of {step} for this model", str(side), f"try {' or '.join(map(str, near))}"
            )


def name_operators(model: Miras) -> None:
    """Operators start from the embeddings of the words they stand for."""
    table = model.instruction.table.weight
    for token, word in ((ADD, " add"), (CUT, " remove"), (UNDO, " back"), (REJ, " not")):
        ids = model.tokenizer.encode(word)
        row = model.grammar.id(token) - model.instruction.vocab_size
        model.instruction.special.data[row] = table[ids].mean(0).detach()


def rate_of(name: str, recipe: Recipe) -> float:
    """Learning rate of a parameter of the model (0 = frozen): the first pattern found in its name counts."""
    rate = next((r for pattern, r in recipe.optimiser.rates.items() if re.search(pattern, name)), recipe.optimiser.lr)
    return rate * recipe.optimiser.factor


@dataclass(frozen=True)
class Part:
    """A row of the freeze table. trained, frozen: numbers of parameters; rates: of those that learn."""

    name: str
    trained: int
    frozen: int
    rates: tuple[float, ...]


def parts(module: TrainingModule, recipe: Recipe) -> list[Part]:
    """The freeze table: each box of the model, the towers and LoRA apart."""
    rows: dict[str, dict[str, Any]] = {}
    for name, parameter in module.model.named_parameters():
        box = ".".join(name.split(".")[:2]) if "_tower." in name else name.split(".")[0]
        box = f"{box}.lora" if "lora_" in name else box
        row = rows.setdefault(box, {"trained": 0, "frozen": 0, "rates": set()})
        row["trained" if parameter.requires_grad else "frozen"] += parameter.numel()
        if parameter.requires_grad:
            row["rates"].add(rate_of(name, recipe))
    return [Part(box, row["trained"], row["frozen"], tuple(sorted(row["rates"]))) for box, row in rows.items()]


def groups(module: TrainingModule, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Parameter groups for AdamW: one for each rate, with and without weight decay (none on vectors)."""
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.model.named_parameters():
        if parameter.requires_grad:
            found.setdefault((rate_of(name, recipe), parameter.ndim > 1), []).append(parameter)
    for (rate, decays), members in found.items():
        yield {"params": members, "lr": rate, "weight_decay": recipe.optimiser.weight_decay if decays else 0.0}


def same_architecture(folder: Path, model: Miras) -> None:
    """Raises InputError when the model saved in `folder` has another configuration than `model`."""
    from miras.model.saved import read_config

    theirs, ours = read_config(folder).to_dict(), model.config.to_dict()
    ignored = {"transformers_version", "architectures", "_name_or_path", "dtype", "torch_dtype", "score_calibration"}
    ignored |= {"least_score", "unsure_below"}
    unlike = sorted(k for k in (theirs.keys() | ours.keys()) - ignored if theirs.get(k) != ours.get(k))
    if unlike:
        raise InputError(
            "a checkpoint of the recipe's architecture",
            ", ".join(f"{key}={theirs.get(key)!r} (recipe: {ours.get(key)!r})" for key in unlike),
            "change start.config, or begin a new run with another --out",
        )  # fmt: skip
