"""What a recipe takes, before it is run: `miras train RECIPE --dry-run`.

In: a recipe, the number of devices. Out: parameters, memory of one device by kind, tokens and floating-point operations
of a step. Large models are counted on the meta device: nothing is downloaded and nothing takes memory. Every assumption
is a constant here; nothing was measured on a GPU.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import Parameter

from miras.model import presets
from miras.model.hub import checkpoint
from miras.model.miras import Miras
from miras.train.grpo import count as sampled
from miras.train.recipe.schema import Recipe
from miras.train.stages.frozen_features import towers
from miras.train.stages.training_module import TrainingModule, build

GB = 1e9
EXCHANGE = 60
"""Tokens of a question with its answer, the mask slots apart."""
PHRASE = 8
"""Tokens of a phrase of stage 1 with what stands around it."""
LONGER = 45
"""Tokens that the longest conversation of a micro-batch has more than the mean: padding, where they are not packed
(PRIST-Open: 36 of 4 conversations, 54 of 8; `benchmarks/packing.py`)."""
FETCHED = 2
"""Layers of the language model that lie whole on a device under FSDP2: one computes, the next is fetched."""
DEVICES_A_MACHINE = 8
CONTEXT = 1.5e9
"""Bytes of libraries and of memory that lies between tensors."""
REGION = 35e6
"""Numbers that a region's mask keeps until the backward in SAM's decoder: 64 x 64 pixels of 256 channels through two
layers, then maps of 128 and 256 pixels."""
ANSWER = 40
"""Tokens of an exchange whose words are scored: the reply."""
BITS = {"float32": 32.0, "bf16": 16.0, "int8": 8.1, "nf4": 4.5}
"""Of a frozen weight of the language model's layers, scales counted."""


@dataclass(frozen=True)
class Estimate:
    """Of one step of a recipe on one device. Bytes where not said otherwise. tokens, operations: of all devices.
    waiting: seconds in which replies are written, id by id (stage 3)."""

    parameters: int
    trained: int
    weights: float
    gradients: float
    optimiser: float
    average: float
    activations: float
    tokens: int
    operations: float
    devices: int
    steps: int
    features: float = 0.0
    """Bytes on disk of what the cached towers see of one photo; 0 where nothing is cached."""
    cached: float = 0.0
    """Operations of a step that a cache saves once it has seen the photos."""
    offloaded: float = 0.0
    """Bytes in the machine's memory, of each process."""
    padding: float = 0.0
    """Share of the tokens."""
    waiting: float = 0.0

    @property
    def memory(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.average + self.activations + CONTEXT

    def hours(self, teraflops: float, *, cached: bool = False) -> float:
        """Of the whole recipe, when every device does so many 10^12 operations a second. cached: features of all photos
        lie on disk already."""
        each = self.operations - (self.cached if cached else 0.0)
        return self.steps * (each / (teraflops * 1e12 * self.devices) + self.waiting) / 3600


def counted(recipe: Recipe) -> TrainingModule:
    """The recipe's model, to be counted: one from the hub without storage."""
    config = presets.configuration(recipe.start.preset)
    with ExitStack() as stack:
        if (recipe.start.config.get("mask_decoder") or config.mask_decoder) and not recipe.start.weights:
            stack.enter_context(checkpoint.origin("shapes"))
            stack.enter_context(torch.device("meta"))
        return build(recipe)


def estimate(recipe: Recipe, devices: int = 1) -> Estimate:
    """The estimate of a recipe on so many devices, at most DEVICES_A_MACHINE of a machine."""
    module = counted(recipe)
    shards = min(devices, DEVICES_A_MACHINE) if recipe.parallel == "fsdp2" else 1
    state = 2.03 if recipe.optimiser.kind == "adamw8bit" else 8.0
    weights, trained, learnt, layers, offloaded = 0.0, 0.0, 0, 0.0, 0.0
    for name, parameter in module.model.named_parameters():
        is_layer = ".layers." in name and "language_model" in name
        count = parameter.numel() / (shards if is_layer else 1)
        size = 4.0 if parameter.requires_grad else _bits(name, parameter, recipe) / 8
        learnt += parameter.numel() if parameter.requires_grad else 0
        layers += size * parameter.numel() if is_layer else 0.0
        if is_layer and recipe.offload:
            offloaded += count * (size + (8 + state if parameter.requires_grad else 0))
            continue
        weights += size * count
        trained += count if parameter.requires_grad else 0
    rows, length, padding = _rows(recipe, module)
    lying = activations(recipe, module, rows, length)
    if recipe.parallel == "fsdp2":
        shape: Any = module.model.instruction.language_model.config
        lying += FETCHED * layers / shape.num_hidden_layers
    start = 4 * trained if recipe.stage == 3 else 0.0  # the weights of the start, for the divergence
    return Estimate(
        sum(p.numel() for p in module.model.parameters()), learnt, weights + start, 4 * trained, state * trained,
        4 * trained, lying, int(rows * length * recipe.batch.accumulate * devices),
        operations(recipe, module, rows * length) * recipe.batch.accumulate * devices, devices, recipe.steps,
        *kept_features(recipe, module, devices), offloaded, padding,
        sampled.sampling(recipe, weights) if recipe.stage == 3 else 0.0,
    )  # fmt: skip


def kept_features(recipe: Recipe, module: TrainingModule, devices: int) -> tuple[float, float]:
    """`Estimate.features`, `Estimate.cached`."""
    if not recipe.features.gigabytes:
        return 0.0, 0.0
    model, size, held, saved = module.model, 2 if module.is_half else 4, 0.0, 0.0
    encoder: Any = model.image_encoder
    found: dict[str, Any] = dict(towers(model))
    for name, tower in found.items():
        if name not in recipe.features.parts:
            continue
        if name == "decoder":
            levels = (4, 2, 1) if model.decoder.first == 2 else (1,)  # SAM 2 reads finer maps, too
            held += sum(size * model.decoder.width * (level * model.config.decoder_size // 16) ** 2 for level in levels)
        else:
            side = model.config.detail_size if name == "detail" else model.config.semantic_size
            read = encoder.semantic_read if name == "semantic" else range(4)
            held += sum(size * tower.channels[n] * (side // tower.strides[n]) ** 2 for n in read)
        photos = recipe.batch.photos * recipe.batch.accumulate * devices
        saved += photos * sum(2.0 * p.numel() * _cells(part, model) for part, p in _named(model, name))
    return held, saved


def _bits(name: str, parameter: torch.nn.Parameter, recipe: Recipe) -> float:
    """Of a weight that does not learn."""
    if "language_model" in name and ".layers." in name and parameter.ndim > 1:
        return BITS[recipe.frozen]
    return 32.0 if recipe.frozen == "float32" or name.startswith("decoder.model.prompt") else 16.0


def _rows(recipe: Recipe, module: TrainingModule) -> tuple[int, int, float]:
    """Conversations (phrases in stage 1) of a micro-batch on one device, the tokens of each, and the share of padding
    in these."""
    batch, config = recipe.batch, module.model.config
    if recipe.stage == 1:
        return batch.photos * (batch.regions + batch.asked), PHRASE, 0.0
    if recipe.stage == 3:
        return *sampled.tree(recipe, config.image_tokens, config.mask_tokens, EXCHANGE), 0.0
    turns, rows = sum(recipe.data.turns) / 2, batch.photos * batch.conversations
    length = int(config.image_tokens + turns * (EXCHANGE + config.mask_tokens))
    empty = 0 if rows == 1 or batch.pack >= 2 * length else LONGER
    return rows, length + empty, empty / (length + empty)


def activations(recipe: Recipe, module: TrainingModule, rows: int, length: int) -> float:
    """Bytes that lie there at the top of a step. The parts come one after the other: what each keeps for the backward
    adds up, of what passes the largest counts (measured: `benchmarks/gpu.py`)."""
    batch, model, encoder = recipe.batch, module.model, module.model.image_encoder
    size, tokens, full = 2 if module.is_half else 4, rows * length, bool(module.model.config.mask_decoder)
    shape: Any = model.instruction.language_model.config
    layer = tokens * (8 * shape.hidden_size * 4 + 4 * shape.intermediate_size * size)
    kept = tokens * shape.hidden_size * 4  # what goes from layer to layer stays float32
    exchanges = batch.photos * batch.conversations * sum(recipe.data.turns) / 2
    chosen = sampled.replies(recipe) * sampled.REPLY if recipe.stage == 3 else min(tokens, exchanges * ANSWER)
    logits = 0.0 if recipe.stage == 1 else chosen * shape.vocab_size * (size + 4 + 4)
    if recipe.stage == 1:  # phrases are read without gradients
        language = 0.0
    elif recipe.gradient_checkpointing:
        language = float(kept * shape.num_hidden_layers)
    else:
        language = float((layer + kept) * shape.num_hidden_layers)
    fused, mixing = 0.0, 0.0
    if hasattr(encoder, "mining"):
        width, cells = sum(encoder.detail_tower.channels), (model.config.detail_size // 4) ** 2
        fused = batch.photos * cells * width * size
        mixing = batch.photos * cells * width * (4 + 4 + 4 + size)
    drawn = 1.0 if recipe.stage == 3 else exchanges
    if recipe.stage == 1:
        drawn = float(batch.photos * (batch.regions + batch.asked))
    masks = drawn * REGION * size * (1.0 if full else 0.25)
    fine = 0.0
    if full and model.decoder.first == 2:  # SAM 2's map at stride 4, as it was seen, put together and made thin
        fine = 3.0 * batch.photos * model.decoder.width * (model.config.decoder_size // 4) ** 2 * size
    return max(seeing(model, batch.photos, size), mixing, fused + fine + language + max(layer, masks + logits))


def seeing(model: Miras, photos: int, size: int) -> float:
    """Bytes of the attention of a global layer of SAM's image encoder, with its bias, in passing; SAM 2's has none."""
    if not model.config.mask_decoder or model.decoder.first == 2:
        return 0.0
    encoder: Any = model.decoder.model
    cells = (model.config.decoder_size // 16) ** 2
    return 2.2 * photos * encoder.config.vision_config.num_attention_heads * cells**2 * size


def operations(recipe: Recipe, module: TrainingModule, tokens: int) -> float:
    """Floating-point operations of a micro-batch: two for each weight and token forward, as many backward where weights
    are frozen and states are not, and forward once more with checkpoints."""
    model, photos = module.model, recipe.batch.photos
    language = sum(p.numel() for n, p in model.named_parameters() if "language_model" in n and "embed_tokens" not in n)
    passes = 2.0 if recipe.stage == 1 else 6.0 if recipe.gradient_checkpointing else 4.0
    passes = sampled.passes(recipe) if recipe.stage == 3 else passes
    total = float(passes * language * tokens)
    return total + sum(2.0 * photos * parameter.numel() * _cells(name, model) for name, parameter in _named(model))


def _named(model: Miras, tower: str = "") -> list[tuple[str, Parameter]]:
    """Parameters with their names; tower: of "semantic", "detail", "decoder" alone."""
    part = {"": "", "decoder": "vision_encoder"}.get(tower, f"{tower}_tower")
    return [(name, parameter) for name, parameter in model.named_parameters() if part in name]


def _cells(name: str, model: Miras) -> int:
    """Places of a photo that a weight is used at, forward and backward together."""
    config = model.config
    if "detail_tower.model.encoder.stages." in name:
        stage = int(name.split("stages.")[1].split(".")[0])
        return int((config.detail_size // (4 << stage)) ** 2)
    cells = {
        "semantic_tower": config.image_tokens * _patches(model), "vision_encoder": (config.decoder_size // 16) ** 2,
        "mask_decoder": 3 * (config.decoder_size // 16) ** 2, "mining": 3 * config.image_tokens,
        "projector": 3 * config.image_tokens,
    }  # fmt: skip
    return sum(count for part, count in cells.items() if part in name)


def _patches(model: Any) -> int:
    """Patches of the semantic tower to a visual token."""
    side: int = getattr(getattr(model.image_encoder, "semantic_tower", None), "merge", 1)
    return side**2
