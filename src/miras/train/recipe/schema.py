"""What a recipe may say: every key with its type, its default and what it means.

In: nothing. Out: `Recipe` and its parts as plain frozen records, and `Chain`. Knows no file: `recipe` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from miras.data.dialogues.manner import Manner
from miras.train.recipe.reinforce import Reinforce

Rate = float


@dataclass(frozen=True)
class Start:
    """Where the weights come from. weights: "" = ImageNet towers and a fresh head, "miras-mini", or a folder of
    a saved model. preset, config: of a model from nothing. operators: `[ADD]` and its like start from the
    embeddings of the words they stand for, as after stage 1. reads: what is written in a photo stands in the opening
    of its conversations from now on; tags: names of what the photo seems to show, by a tagger that is fitted first
    (a model that has one is given a new fit in any case). imagenet: the semantic tower becomes ImageNet's own, with its
    classifier, where the weights have another one (`train.stages.imagenet`). points: what was named before and is
    meant again is pointed at from now on; complements: all but (`[NOT]`) is learnt. What the weights can do already,
    they go on doing. instances: after the last step, what tells one of several apart is fitted anew to the masks of
    the training photos (`train.calibrate.instances`)."""

    weights: str = ""
    preset: str = "miras-mini"
    config: dict[str, Any] = field(default_factory=dict)
    operators: bool = False
    reads: bool = False
    tags: bool = False
    imagenet: bool = False
    points: bool = False
    complements: bool = False
    instances: bool = False


@dataclass(frozen=True)
class Data:
    """What is trained on. paths: folders or files of any format of `miras data`; empty = what --data names.
    shares: how often each source is drawn; other sources have `other`. recorded: share of the conversations
    that come from the data's own, where it has any, instead of being sampled from masks. kinds: shares of the kinds
    of sampled conversations. referring, chat, typos, existence, bare: how people talk in these, see
    `data.dialogues.manner.Manner`; in stage 1 `referring` is the share of the phrases that tell one of several apart.
    longest: photos are held with this longer side, in pixels. split: "recipe" keeps the
    photos out that `miras-mini` is judged on, "share" keeps `val` of the photos out, "given" takes the data's own
    train split."""

    paths: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    other: float = 0.1
    recorded: float = 0.5
    kinds: dict[str, float] = field(default_factory=dict)
    turns: tuple[int, int] = (2, 5)
    referring: float = 0.0
    chat: float = 0.0
    typos: float = 0.0
    existence: float = 0.0
    bare: float = 0.0
    longest: int = 640
    split: Literal["recipe", "share", "given"] = "recipe"
    val: float = 0.1

    @property
    def manner(self) -> Manner:
        """How people talk in sampled conversations. Raises InputError for shares outside 0 to 1."""
        return Manner(self.referring, self.chat, self.typos, self.existence, self.bare)


@dataclass(frozen=True)
class Batch:
    """Sizes of one step. photos: on each device. regions: phrases a photo (stage 1); asked: most further ones for their
    presence alone, of things that are there and of things that are not. conversations: about each photo, which share
    its encoding (stage 2); probes: on average, answers about each photo that name what is not there.
    pack: conversations share rows of at most so many tokens in the language model, 0 = a row each, padded.
    accumulate: micro-batches a step. detail: side of the detail view,
    0 = the model's own; coarse, coarse_until: another side until that share of the run is done. workers: processes
    that prepare batches."""

    photos: int = 8
    regions: int = 4
    asked: int = 0
    conversations: int = 1
    probes: float = 0.5
    pack: int = 0
    accumulate: int = 1
    detail: int = 0
    coarse: int = 0
    coarse_until: float = 0.0
    workers: int = 0


@dataclass(frozen=True)
class Optimiser:
    """AdamW under a cosine to zero after a warm-up (a share of the steps). lr: rate of all parameters that
    `rates` does not name. rates: regular expression -> rate; the first that is found in a parameter's name counts,
    0 freezes. factor: of all rates. kind: "adamw8bit" holds the
    state of AdamW in 8 bits, through bitsandbytes. ema: decay of the moving average of the weights,
    which is what is saved; 0 = none."""

    lr: Rate = 6e-4
    kind: Literal["adamw", "adamw8bit"] = "adamw"
    rates: dict[str, Rate] = field(default_factory=dict)
    factor: float = 1.0
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.04
    clip: float = 1.0
    ema: float = 0.995


@dataclass(frozen=True)
class Features:
    """What frozen towers see of photos, kept on disk (`train.stages.frozen_features`). gigabytes: at most, of all that
    lies in the folder; 0 = nothing is kept. folder: on a disk of this machine; "" = that of the cache. parts: of which
    towers, where they are frozen; "decoder" is the image encoder of a mask decoder that looks itself."""

    gigabytes: float = 0.0
    folder: str = ""
    parts: tuple[Literal["semantic", "detail", "decoder"], ...] = ("semantic", "detail", "decoder")


@dataclass(frozen=True)
class Check:
    """Validation. every: steps between, 0 = at the end only. patience: checks without a better `metric` before the
    run stops, 0 = never. photos: how many of the held-out photos. overlays: pictures of masks drawn at each."""

    every: int = 0
    patience: int = 0
    metric: str = "giou"
    photos: int = 60
    overlays: int = 6


@dataclass(frozen=True)
class Recipe:
    """One training run. stage 1: phrases; 2: conversations; 3: reinforcement on conversations (`reinforce`).
    tuning: "lora", or "full" for the language model's own weights as well.
    precision: of the products ("auto": bf16 where the processor multiplies it, float32
    elsewhere); weights that learn stay float32. frozen: how those are held that do not: float32, bf16, or a language
    model's in 8 or 4 bits through bitsandbytes (the rest in bf16 then), as QLoRA does. memory: gigabytes of each device
    that it is made for, 0 = not said (`miras train RECIPE --dry-run`).
    parallel: how several processes under `torchrun` share the work. offload: under fsdp2, what is shared out lies in
    the machine's memory. checkpoints: "sharded": under fsdp2 each process writes its own share. checkpoint_every, keep:
    steps between, and how many are kept. log: steps between lines."""

    name: str
    stage: Literal[1, 2, 3]
    steps: int
    seed: int = 0
    start: Start = field(default_factory=Start)
    data: Data = field(default_factory=Data)
    batch: Batch = field(default_factory=Batch)
    optimiser: Optimiser = field(default_factory=Optimiser)
    losses: dict[str, float] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    reinforce: Reinforce = field(default_factory=Reinforce)
    augment: dict[str, Any] = field(default_factory=dict)
    features: Features = field(default_factory=Features)
    check: Check = field(default_factory=Check)
    tuning: Literal["lora", "full"] = "lora"
    precision: Literal["auto", "bf16", "float32"] = "auto"
    frozen: Literal["float32", "bf16", "int8", "nf4"] = "float32"
    memory: float = 0
    gradient_checkpointing: bool = False
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    offload: bool = False
    checkpoints: Literal["whole", "sharded"] = "whole"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    checkpoint_every: int = 100
    keep: int = 2
    log_every: int = 10


@dataclass(frozen=True)
class Chain:
    """Recipes in a row, each from the weights of the one before, and what is done after the last.

    blend: share of the trained weights, the rest are those that the chain began with (`train.loop.blend`); 1 = none.
    finish: dialogues for the refusal calibration, on calibration photos (`train.calibrate.refusal`), 0 = none. apart:
    each recipe has a folder of its own, beside that of the result; so it is where there are several.
    """

    name: str
    recipes: tuple[Recipe, ...]
    finish: int = 0
    blend: float = 1.0
    apart: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "apart", self.apart or len(self.recipes) > 1)
