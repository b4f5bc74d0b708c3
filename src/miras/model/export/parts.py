"""The networks around the language model as graphs: what a conversation asks of each.

In: a `Miras`. Out: `onnx` models, traced by torch. Every part takes and gives what `model.runtime.onnx` says by name.
Knows no conversation. Letters as in `model.miras`; one photo, one region.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from miras.model.export.language import OPSET
from miras.model.instances import InstanceSelector
from miras.model.miras import Miras
from miras.model.numeric.pieces import FACTS
from miras.model.pointer import Pointer
from miras.model.visual_encoders import ImageFeatures, Seen
from miras.model.visual_parsing import Views

MAPS = ("pixels", "fine8", "fine4")
"""Features of a photo that the decoder takes."""
CLASSIFIER = ("cells", "rivals")
"""Those of ImageNet's classifier, where there is one."""


@dataclass(frozen=True)
class Part:
    """A network with an example of what it takes. inputs, outputs: names. free: dimensions of an input that vary,
    named."""

    network: nn.Module
    example: tuple[Tensor, ...]
    inputs: Sequence[str]
    outputs: Sequence[str]
    free: dict[str, dict[int, str]]

    def traced(self) -> Any:
        """As an `onnx` model. What the tracer says on the way is passed over."""
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            shapes = [self.free.get(name) for name in self.inputs]
            program = torch.onnx.export(
                self.network.eval(), self.example, dynamo=True, verbose=False, input_names=list(self.inputs),
                output_names=list(self.outputs), dynamic_shapes=tuple(shapes), opset_version=OPSET,
                optimize=True,
            )  # fmt: skip
        assert program is not None
        return program.model_proto


class _Image(nn.Module):
    """Both towers and what is made of them, without a photo's own size."""

    def __init__(self, model: Miras) -> None:
        super().__init__()
        self.encoder, self.tagger = model.image_encoder, model.tagger

    def forward(self, detail: Tensor, semantic: Tensor) -> tuple[Tensor, ...]:
        """In the order of `image_outputs`."""
        made = self.encoder(Views(detail, semantic, ((1, 1),)))
        given = [made.visual_BND[0], made.pixels_BChw, made.fine8_BChw, made.fine4_BChw]
        if self.encoder.has_head:
            given += [made.seen.cells_BFhw, made.seen.rivals_BN, made.seen.chance_BK[0]]
        if self.tagger is not None:
            given.append(self.tagger(made.pooled_BF)[0].sigmoid())
        return tuple(given)


class _MaskTokens(nn.Module):
    def __init__(self, model: Miras) -> None:
        super().__init__()
        self.encoder = model.mask_encoder

    def forward(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """(R, K, D)."""
        return self.encoder.tokens(pixels.expand(masks.shape[0], -1, -1, -1), masks)


class _Looking(nn.Module):
    """What knows a photo by its maps and, where there is a classifier, by its features."""

    def __init__(self, model: Miras) -> None:
        super().__init__()
        self.model = model

    def features(self, maps: Sequence[Tensor], cells: Tensor | None, rivals: Tensor | None) -> ImageFeatures:
        """As `Miras` has them; what no part asks for is empty."""
        none = maps[0].new_zeros(1, 0)
        known = Seen(none[..., None, None], none, none)
        if cells is not None and rivals is not None:
            known = Seen(cells, rivals, none)
        return ImageFeatures(none, maps[0], maps[1], maps[2], none, known, ((1, 1),))


class _Presence(_Looking):
    def forward(
        self, span: Tensor, pixels: Tensor, cells: Tensor | None = None, rivals: Tensor | None = None
    ) -> Tensor:
        """(1,)."""
        features = self.features([pixels, pixels, pixels], cells, rivals)
        return self.model.presence_logits(features, torch.zeros(1, dtype=torch.long), span[None])


class _Region(_Looking):
    def forward(
        self, span: Tensor, words: Tensor, memory: Tensor, shown: Tensor, has_mask: Tensor, points: Tensor,
        pixels: Tensor, fine8: Tensor, fine4: Tensor, cells: Tensor | None = None, rivals: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Mask logits (M, s, s), IoU logits (M,)."""
        features = self.features([pixels, fine8, fine4], cells, rivals)
        logits, iou = self.model.region(features, span[None], words[None], memory[None], shown, has_mask, points[None])
        return logits[0], iou[0]


class _Point(nn.Module):
    def __init__(self, pointer: Pointer) -> None:
        super().__init__()
        self.pointer = pointer

    def forward(
        self, words: Tensor, spans: Tensor, real: Tensor, slots: Tensor, tokens: Tensor, first: Tensor, newest: Tensor
    ) -> Tensor:
        """Scores (N,)."""
        every = torch.ones_like(words[None, :, 0], dtype=torch.bool)
        return self.pointer(words[None], every, spans, real, slots, tokens, first[None], newest[None])[0]


class _Meant(nn.Module):
    def __init__(self, selector: InstanceSelector) -> None:
        super().__init__()
        self.selector = selector

    def forward(self, words: Tensor, facts: Tensor) -> Tensor:
        """Logits (N,) that pieces are meant."""
        every = torch.ones_like(words[None, :, 0], dtype=torch.bool)
        return self.selector(words[None], every, facts[None])[0]


def parts(model: Miras) -> dict[str, Part]:
    """Each by its name: image, mask_tokens, presence, region; where the model has them point and meant."""
    config, width = model.config, model.instruction.width
    states, side = width * len(config.alignment_layers), config.detail_size // 4
    coarse = config.detail_size // 16
    maps = [
        torch.randn(1, config.width, coarse, coarse), torch.randn(1, config.width // 4, 2 * coarse, 2 * coarse),
        torch.randn(1, config.width // 8, side, side),
    ]  # fmt: skip
    cells = config.semantic_size // 32
    seen: list[Tensor] = []
    if model.concepts is not None:
        seen = [torch.rand(1, model.image_encoder.semantic_head.features, cells, cells), torch.randn(1, cells**2 + 1)]
    classifier = CLASSIFIER[: len(seen)]
    views = (
        torch.rand(1, 3, config.detail_size, config.detail_size),
        torch.rand(1, 3, config.semantic_size, config.semantic_size),
    )
    outputs = ["visual", *MAPS, *classifier, *["chance"] * bool(seen), *["tags"] * (model.tagger is not None)]
    span, shown = torch.randn(5, states), (torch.rand(2, 1, side, side) > 0.5).float()
    memory, pointed = torch.randn(6, width), torch.tensor([[0.1, 0.2, 1], [0.3, 0.4, 0], [0.6, 0.7, 2]])
    found = {
        "image": Part(_Image(model), views, ("detail", "semantic"), outputs, {}),
        "mask_tokens": Part(
            _MaskTokens(model), (maps[0], shown), ("pixels", "masks"), ("tokens",), {"masks": {0: "R"}}
        ),
        "presence": Part(
            _Presence(model), (span, maps[0], *seen), ("span", "pixels", *classifier), ("presence",),
            {"span": {0: "S"}},
        ),
        "region": Part(
            _Region(model),
            (span, torch.ones(5, dtype=torch.bool), memory, shown[:1], torch.tensor([True]), pointed, *maps, *seen),
            ("span", "words", "memory", "shown", "has_mask", "points", *MAPS, *classifier), ("logits", "iou"),
            {"span": {0: "S"}, "words": {0: "S"}, "memory": {0: "M"}, "points": {0: "Q"}},
        ),
    }  # fmt: skip
    if model.pointer is not None:
        example = (
            span, torch.randn(4, 7, states), torch.ones(4, 7, dtype=torch.bool), torch.randn(4, states),
            torch.randn(4, config.mask_tokens, width), torch.arange(4), torch.arange(4),
        )  # fmt: skip
        names = ("words", "spans", "real", "slots", "tokens", "first", "newest")
        free = {name: {0: "N"} for name in names[1:]}
        free |= {"words": {0: "S"}, "spans": {0: "N", 1: "T"}, "real": {0: "N", 1: "T"}}
        found["point"] = Part(_Point(model.pointer), example, names, ("scores",), free)
    if model.instances is not None:
        pieces = torch.randn(5, width), torch.rand(3, FACTS)
        free = {"words": {0: "S"}, "facts": {0: "N"}}
        found["meant"] = Part(_Meant(model.instances), pieces, ("words", "facts"), ("logits",), free)
    return found
