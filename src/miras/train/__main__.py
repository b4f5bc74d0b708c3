"""`python -m miras.train`: the recipe of `miras-mini`, three commands in a row.

    python -m miras.train stage1 DATA --out RUN --minutes 50
    python -m miras.train stage2 DATA --start RUN --out RUN2 --minutes 45 --fresh
    python -m miras.train finish DATA --run RUN2/last

DATA is laid out like the project's page on data says. The CPU is enough.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cyclopts
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from miras.chat.load import load
from miras.core.grammar import ADD, CUT, REJ, UNDO
from miras.data.dialogues import askable
from miras.data.read import read_sources
from miras.data.split import recipe_sides, recipe_split
from miras.model.backbones import load_imagenet
from miras.model.miras import Miras
from miras.model.presets import build
from miras.model.visual_parsing import VisualParsing
from miras.train import stage1 as first
from miras.train import stage2 as second
from miras.train import verdict
from miras.train.continuations import continuations
from miras.train.loop import Photos, Plan, run

app = cyclopts.App(help="Train miras-mini.")
FROZEN = ("_conv_stem.", "_bn0.", "_blocks.0.", "_blocks.1.", "_blocks.2.", "_blocks.3.")


def prepare(model: Miras) -> None:
    """ImageNet weights into the towers, what stays as it is frozen, channels last."""
    encoder = model.image_encoder
    load_imagenet(encoder.detail_tower, model.config.detail_tower)
    load_imagenet(encoder.semantic_tower, model.config.semantic_tower)


def freeze_towers(model: Miras) -> None:
    """The first blocks of both towers, and all depthwise filters, keep their ImageNet weights.

    On the CPU the gradient of a depthwise filter costs 15 times that of its input (docs/log.md).
    """
    for name, parameter in model.image_encoder.named_parameters():
        if "_tower." in name and (name.split("_tower.", 1)[1].startswith(FROZEN) or "_depthwise_conv" in name):
            parameter.requires_grad_(False)


@app.command
def stage1(
    data: Path, *, out: Path, steps: int = 1200, minutes: float = 1e9, seed: int = 0, photos: int = 8,
    small: int = 384, switch: float = 0.55, threads: int = 2, start: Path | None = None,
) -> None:  # fmt: skip
    """Mask-text alignment, from ImageNet towers or from the weights in `start`.

    small: side of the detail view until `switch` of the run is done.
    """
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    train, val = recipe_split(read_sources(data))
    model = build("miras-mini", seed)
    prepare(model)
    if start is not None:
        model.load_state_dict(load_file(start / "model.safetensors"), strict=False)
    model.instruction.requires_grad_(False)
    freeze_towers(model)
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plan = Plan(steps=steps, minutes=minutes, seed=seed, photos=photos, rates={"_tower.": 2e-4})
    pool = Photos(train, plan)
    states = first.PhraseStates(model)
    full = model.config.detail_size
    config = {"steps": steps, "minutes": minutes, "seed": seed, "small": small, "train": len(train), "val": len(val)}
    (out / "plan.json").write_text(json.dumps(config))
    checks = [p for p in val if p.source == "instructpart"] + [p for p in val if p.source != "instructpart"][::6]

    def one(index: int, progress: float, rng: np.random.Generator) -> dict[str, Tensor]:
        side = small if progress < switch else full
        samples = first.augmented(pool.draw(plan.photos, rng), rng)
        batch = first.phrase_batch(samples, side // 4, plan.regions, rng)
        model.train()
        return first.step(model, batch, states, VisualParsing(side, model.config.semantic_size), first.Weights())

    def save(tag: str) -> None:
        model.save_pretrained(out / tag)
        model.eval()
        with (out / "val.jsonl").open("a") as file:
            file.write(json.dumps(first.validate(model, checks, states)) + "\n")

    for done, progress in run(model, plan, one, out / "log.jsonl", save, save_every=1300):
        if done % 10 == 0:
            print(f"step {done}, {100 * progress:.0f}%", file=sys.stderr, flush=True)


STAGE2_RATES = {
    "presence_": 1e-3, "_tower.": 1.5e-4, "lora_": 5e-4, "instruction.special": 1e-3, "decoder.": 4e-4,
    "to_language": 4e-4, "token_": 4e-4, "mask_encoder": 4e-4, "image_encoder": 3e-4,
}  # fmt: skip
"""Learning rates by part of a parameter's name."""


@app.command
def stage2(
    data: Path, *, start: Path, out: Path, steps: int = 900, minutes: float = 1e9, seed: int = 1, photos: int = 6,
    threads: int = 2, frozen_vision: bool = False, rate: float = 1.0, fresh: bool = False,
) -> None:  # fmt: skip
    """Instruction tuning on sampled dialogues, from the weights of stage 1, or of stage 2 itself.

    fresh: the operators start from the words they stand for, as after stage 1. rate: factor of all learning
    rates but that of the presence head; 0.4 for weights that have been through stage 2 already.
    frozen_vision: the features of the photos stay as they are; only what reads them learns.
    """
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    train, val = recipe_split(read_sources(data))
    model = Miras.from_pretrained(start)
    freeze_towers(model)
    if frozen_vision:
        for name, parameter in model.image_encoder.named_parameters():
            parameter.requires_grad_("to_language" in name or "token_" in name)
    if fresh:
        name_operators(model)
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rates = {part: value * (1.0 if part == "presence_" else rate) for part, value in STAGE2_RATES.items()}
    plan = Plan(steps=steps, minutes=minutes, seed=seed, photos=photos, lr=4e-4 * rate, rates=rates)
    pool = Photos([photo for photo in train if askable(photo)], plan)
    config = {"steps": steps, "minutes": minutes, "seed": seed, "photos": photos, "train": len(train), "val": len(val)}
    (out / "plan.json").write_text(json.dumps(config))
    side, template = model.config.detail_size, model.config.template

    def one(index: int, progress: float, rng: np.random.Generator) -> dict[str, Tensor]:
        samples = first.augmented(pool.draw(plan.photos, rng), rng)
        batch = second.dialogue_batch(samples, model.grammar, template, side // 4, rng)
        model.train()
        return second.step(model, batch, model.parsing, second.Weights())

    def save(tag: str) -> None:
        model.save_pretrained(out / tag)

    for done, progress in run(model, plan, one, out / "log.jsonl", save):
        if done % 10 == 0:
            print(f"step {done}, {100 * progress:.0f}%", file=sys.stderr, flush=True)


@app.command
def finish(data: Path, *, run: Path, dialogues: int = 250, seed: int = 0, threads: int = 2) -> None:
    """After stage 2: fit the verdict (select or refuse) of the weights in `run` on the calibration photos, and
    note what mostly follows what in the replies to training photos. In place."""
    torch.set_num_threads(threads)
    sides = recipe_sides(read_sources(data))
    photos, unseen = ([photo for photo in sides[side] if askable(photo)] for side in ("train", "calibration"))
    evidence, there = verdict.collect(load(run).model, unseen, dialogues, seed)
    np.save(run / "evidence.npy", torch.cat([evidence, there[:, None]], 1).numpy())
    model = Miras.from_pretrained(run)
    model.alignment.verdict.copy_(verdict.fit(evidence, there))
    model.continuations = continuations(model.grammar, model.config.template, photos, 12 * dialogues, seed)
    model.save_pretrained(run)
    print(json.dumps({"n": len(there), "there": int(there.sum()), "verdict": model.alignment.verdict.tolist()}))


def name_operators(model: Miras) -> None:
    """Operators start from the embeddings of the words they stand for."""
    table = model.instruction.table.weight
    for token, word in ((ADD, " add"), (CUT, " remove"), (UNDO, " back"), (REJ, " not")):
        ids = model.tokenizer.encode(word)
        row = model.grammar.id(token) - model.instruction.vocab_size
        model.instruction.special.data[row] = table[ids].mean(0).detach()


if __name__ == "__main__":
    app()
