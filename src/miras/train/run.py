"""A run from recipe to weights: `miras train`.

In: a chain of recipes, data, a folder. Out: RUN/model (for a chain RUN/NAME/model each, and RUN/model), checkpoints,
logs, overlays. Knows how the pieces fit together; the pieces know nothing of each other.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from miras.core.errors import InputError
from miras.core.grammar import Encoder
from miras.core.types import AnnotatedPhoto
from miras.model import reading
from miras.model.config import MirasConfig
from miras.model.miras import Miras
from miras.model.visual_parsing import VisualParsing
from miras.train.calibrate import instances
from miras.train.calibrate.finish import finish
from miras.train.data import corpus as corpora
from miras.train.data.corpus import Corpus
from miras.train.data.dialogue_batch import History, Tag, dialogue_batch
from miras.train.data.photos import SHARES, Item, Items
from miras.train.grpo.batch import Again, asked_batch
from miras.train.loop import card, sharding, validation
from miras.train.loop.blend import blend
from miras.train.loop.callbacks import Average, Progress, Validation
from miras.train.loop.trainer import MODEL, MirasTrainer, Validate, arguments, place
from miras.train.recipe.schema import Chain, Recipe
from miras.train.stages import stage1, tagging
from miras.train.stages.frozen_features import digest
from miras.train.stages.training_module import TrainingModule, build, is_half, parts, rate_of

TAGS = "tags.safetensors"
"""The fits of the tagger, in the run's folder."""
FAULTS = "faults.txt"
"""Everything that is wrong with the data, in the run's folder, where that stopped the run."""


def train(
    chain: Chain, paths: Sequence[Path], out: Path, *, resume: bool = False, validate: Validate | None = None
) -> dict[str, Any]:
    """Run a chain. validate: figures of a model on photos of the caller's; by default phrases on the held-out photos.

    Returns what the run was and reached. Raises InputError for whatever a person can mend.
    """
    corpus: Corpus | None = None
    result: dict[str, Any] = {"recipe": chain.name, "out": str(out), "stages": [], "left_out": []}
    before: Path | None = None
    for recipe in chain.recipes:
        folder = out / recipe.name if chain.apart else out
        if before is not None and not recipe.start.weights:
            recipe = replace(recipe, start=replace(recipe.start, weights=str(before), config={}))
        if recipe.stage == 3 and not recipe.start.weights:
            cure = "--set start.weights=miras-mini, or a folder that was trained in stage 2"
            raise InputError("weights that can talk, to be reinforced (start.weights)", "none", cure)
        if resume and (folder / MODEL / "config.json").exists():
            if sharding.is_first():
                print(f"{recipe.name} is done: {folder / MODEL}", file=sys.stderr)
        else:
            begun = resume and folder.exists()
            with sharding.said_once():
                # The first process alone decodes the photos; when it stops, all are stopped.
                given = [Path(p) for p in recipe.data.paths] or list(paths)
                corpus = corpora.read(given, recipe.data, out / FAULTS, decode=sharding.is_first())
            result |= corpus.left.to_dict()
            result["stages"].append(run(recipe, corpus, folder, resume=begun, validate=validate))
        before = folder / MODEL
    if chain.apart and before is not None and sharding.is_first():
        shutil.copytree(before, out / MODEL, dirs_exist_ok=True)
        if chain.blend < 1:
            blend(out / MODEL, chain.recipes[0].start.weights, chain.blend)
    sharding.leave()
    if chain.finish and sharding.is_first():
        last = chain.recipes[-1]
        corpus = corpus or corpora.read([Path(p) for p in last.data.paths] or list(paths), last.data)
        unseen, recorded = corpus.calibration, corpus.recorded
        if chain.blend < 1 or any(recipe.stage == 2 and _moves_towers(recipe) for recipe in chain.recipes):
            retag(out / MODEL, corpus, last)
        if last.start.instances:
            learn_instances(out / MODEL, corpus, last)
        result["finish"] = finish(
            out / MODEL, corpus.photos, unseen, chain.finish, last.seed, recorded, last.data.manner
        )
    if corpus is not None and sharding.is_first():
        card.write(out / MODEL, chain, corpus, result)
    result["model"] = str(out / MODEL)
    return result


def run(
    recipe: Recipe, corpus: Corpus, out: Path, *, resume: bool = False, validate: Validate | None = None
) -> dict[str, Any]:
    """One recipe. The averaged weights (the best ones, where the recipe stops early) go to OUT/model."""
    arguments(recipe, out)  # the processes meet
    with sharding.said_once(), sharding.first_alone():
        module = build(recipe, corpus.photos if recipe.start.imagenet else ())
        module.keep_features(recipe)
    checkpoint = sharding.agreed(lambda: place(recipe, out, resume))
    if not resume and sharding.is_first():
        (out / TAGS).unlink(missing_ok=True)  # of a run that was stopped before its first checkpoint
    with sharding.said_once(), sharding.first_alone():
        tag = tags(recipe, corpus, module, out)
    held_out = spread(corpus.held_out, recipe.check.photos)
    validate = validate or (lambda model: validation.phrases(model, held_out))
    shown = spread(corpus.held_out, recipe.check.overlays)
    average, progress = Average(), Progress(recipe.name)
    checks = Validation(recipe.check, validate, lambda model, file: validation.sheet(model, shown, file))
    callbacks = [average, progress, *([checks] if held_out else [])]
    collate = Collate(module.model, recipe, tag)
    trainer = MirasTrainer(module, recipe, out, items(recipe, corpus, module.model), collate, callbacks)
    average.trainer = checks.trainer = trainer
    collate.processes = trainer.args.world_size
    if trainer.is_world_process_zero():
        _announce(recipe, corpus, module, out)
    outcome = trainer.train(resume_from_checkpoint=checkpoint)
    if sharding.agreed(lambda: recipe.check.patience > 0 and (out / "best").exists()):
        if trainer.is_world_process_zero():
            shutil.copytree(out / "best", out / MODEL, dirs_exist_ok=True)
    else:
        trainer.save_averaged(out / MODEL)
    sharding.wait()
    kept = {}
    if module.features is not None:
        kept = {"features": module.features.summary()}
        if sharding.is_first():
            module.features.say(recipe.name)
    return kept | {
        "recipe": recipe.name, "steps": trainer.state.global_step, "loss": round(outcome.training_loss, 4),
        "seconds": round(outcome.metrics["train_runtime"], 1), "best": checks.best, "data": corpus.summary(),
    }  # fmt: skip


def items(recipe: Recipe, corpus: Corpus, model: Miras | None = None) -> Items | Again:
    """The photos and conversations of every step of the run, each determined by its number. model: which sampled
    conversations it can be taught follows from what it can do."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    count = recipe.steps * recipe.batch.photos * recipe.batch.accumulate * world
    can = {} if model is None else {"points": model.config.points, "complements": model.config.complements}
    made = Items(corpus.phrases() if recipe.stage == 1 else corpus, recipe, count, **can)
    return Again(made, count // recipe.steps, recipe.reinforce.updates) if recipe.stage == 3 else made


def tags(recipe: Recipe, corpus: Corpus, module: TrainingModule, out: Path) -> tagging.Tags | None:
    """What tags the photos of stage 2, for a model that has a tagger or gets one; it is fitted first."""
    data, model = recipe.data, module.model
    if recipe.stage == 1 or not (recipe.start.tags or model.tagger):
        return None
    look = tagging.Look(model, module.is_half)
    if sharding.is_first() and not (out / TAGS).exists():
        print(f"{recipe.name}: the tagger is fitted first ({len(corpus.photos)} photos)", file=sys.stderr, flush=True)
    folds = tagging.learn(model, look, corpus.phrases().photos, data.shares or SHARES, data.other, out / TAGS)
    return tagging.Tags(look, folds) if folds else None


def retag(folder: Path, corpus: Corpus, recipe: Recipe) -> None:
    """Fit the tagger of a saved model anew, to its towers as they are now; nothing for one without, or whose tagger
    reads ImageNet's classifier, which stays as it is."""
    model = Miras.from_pretrained(folder)
    if model.tagger is not None and not model.config.has_concepts:
        look, data = tagging.Look(model, is_half(recipe)), recipe.data
        tagging.learn(model, look, corpus.phrases().photos, data.shares or SHARES, data.other)
        model.save_pretrained(folder)


def learn_instances(folder: Path, corpus: Corpus, recipe: Recipe) -> None:
    """Fit what tells one of several apart in a saved model."""
    model = Miras.from_pretrained(folder)
    count = instances.learn(model, corpus.photos, recipe.seed)
    print(f"{recipe.name}: one of several, fitted to {count} masks of more than one piece", file=sys.stderr, flush=True)
    model.save_pretrained(folder)


def _moves_towers(recipe: Recipe) -> bool:
    return any(rate_of(f"image_encoder.{tower}_tower._blocks", recipe) > 0 for tower in ("semantic", "detail"))


class Collate:
    """Numbered items to {"batch": ..., "first": number}: deterministic, so that a resumed run sees the same batches.

    first: number of the first item. photos: beside them, digests of what is shown, where features are kept. processes:
    that share a step; the side of the detail view follows the share of the run that is done.
    """

    def __init__(self, model: Miras, recipe: Recipe, tag: Tag | None = None) -> None:
        config = model.config
        assert isinstance(config, MirasConfig)
        self.config = config
        self.grammar: Encoder = model.grammar
        self.recipe, self.processes, self.tag = recipe, 1, tag
        self.history = History(**recipe.history)

    def __call__(self, numbered: list[tuple[int, Item]]) -> dict[str, Any]:
        """The batch of these items."""
        first = numbered[0][0]
        rng = np.random.default_rng([self.recipe.seed, 3, first])
        drawn = [item for _, item in numbered]
        if self.recipe.stage == 3:
            return {"batch": asked_batch(numbered, self.grammar, self.tag), "first": first}
        parsing = self.parsing(first)
        seen = {"photos": [digest(item.pixels) for item in drawn]} if self.recipe.features.gigabytes else {}
        if self.recipe.stage == 1:
            sizes, referring = self.recipe.batch, self.recipe.data.referring
            phrases = stage1.phrase_batch(drawn, parsing, sizes.regions, rng, sizes.asked, referring)
            return {"batch": phrases, "first": first, **seen}
        template = self.config.template
        read = reading.read if self.config.reads else None
        probes, pack = self.recipe.batch.probes, self.recipe.batch.pack
        batch = dialogue_batch(drawn, self.grammar, template, parsing, rng, self.history, read, self.tag, probes, pack)
        return {"batch": batch, "first": first, **seen}

    def parsing(self, item: int) -> VisualParsing:
        """The views at the step that this item belongs to."""
        batch = self.recipe.batch
        step = item // (batch.photos * batch.accumulate * self.processes)
        side = batch.detail or self.config.detail_size
        if batch.coarse and step < batch.coarse_until * self.recipe.steps:
            side = batch.coarse
        return VisualParsing(side, self.config.semantic_size, self.config.decoder_size)


def spread(photos: Sequence[AnnotatedPhoto], count: int) -> list[AnnotatedPhoto]:
    """`count` photos, evenly over the list."""
    if count >= len(photos):
        return list(photos)
    return [photos[i] for i in np.linspace(0, len(photos) - 1, count).astype(int)] if count else []


def _announce(recipe: Recipe, corpus: Corpus, module: TrainingModule, out: Path) -> None:
    """The freeze table and what the run is, on standard error and in run.json."""
    rows = parts(module, recipe)
    width = max(len(row.name) for row in rows)
    for row in rows:
        rates = ", ".join(f"{rate:.1e}" for rate in row.rates) or "frozen"
        print(f"  {row.name:<{width}}  {row.trained:>11,} trained  {row.frozen:>11,} frozen  {rates}", file=sys.stderr)
    trained = sum(row.trained for row in rows)
    if not trained:
        raise InputError("something that learns", "every parameter frozen", "look at optimiser.rates")
    data = ", ".join(f"{count} {name}" for name, count in corpus.summary().items())
    print(f"{recipe.name}: {trained:,} parameters learn, {data}", file=sys.stderr, flush=True)
    if line := corpus.left.line():
        print(f"{recipe.name}: {line}", file=sys.stderr, flush=True)
    about = {
        "recipe": asdict(recipe), "data": corpus.summary(), "left_out": corpus.left.to_list(),
        "trained": trained, "python": platform.python_version(),
        "torch": torch.__version__, "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "threads": torch.get_num_threads(), "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }  # fmt: skip
    (out / "run.json").write_text(json.dumps(about, indent=1, default=list))
