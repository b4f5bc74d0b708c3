"""A small model as graphs, put together by hand: every output depends on every input, and nothing has to be traced.

The language model is the small one of the tests; towers, decoder and mask encoder are a few operators each.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miras.model.export import folder as exporting
from miras.model.export.language import FLOAT, IR, OPSET, Graph
from miras.model.miras import Miras
from miras.model.runtime.onnx import OnnxRuntime

BOOL = 9


class Ready:
    """What an export takes for a part that has to be traced."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def traced(self) -> Any:
        return self.model


def runtime(model: Miras, where: Path) -> OnnxRuntime:
    """The model's words with graphs by hand, exported to a folder."""
    twin = copy.deepcopy(model)
    twin.instruction.answer_fast(twin.config.max_tokens, torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "parts", parts)
        exporting.export(twin, where)
    return OnnxRuntime(where, threads=1)


def parts(model: Miras) -> dict[str, Ready]:
    config = model.config
    width, side, detail = model.instruction.width, config.detail_size // 4, config.detail_size
    states = width * len(config.alignment_layers)
    maps = {"pixels": (FLOAT, [1, 3, side // 4, side // 4]), "fine8": (FLOAT, [1, 3, side // 2, side // 2]),
            "fine4": (FLOAT, [1, 3, side, side])}  # fmt: skip
    return {
        "image": made(image(config, width), {
            "detail": (FLOAT, [1, 3, detail, detail]), "semantic": (FLOAT, [1, 3, *[config.semantic_size] * 2]),
        }, ["visual", *maps]),
        "mask_tokens": made(mask_tokens(config.mask_tokens, width), {
            "pixels": maps["pixels"], "masks": (FLOAT, ["R", 1, side, side])
        }, ["tokens"]),
        "presence": made(presence(), {"span": (FLOAT, ["S", states]), "pixels": maps["pixels"]}, ["presence"]),
        "region": made(region(side), {
            "span": (FLOAT, ["S", states]), "words": (BOOL, ["S"]), "memory": (FLOAT, ["M", width]),
            "shown": (FLOAT, [1, 1, side, side]), "has_mask": (BOOL, [1]), "points": (FLOAT, ["Q", 3]), **maps,
        }, ["logits", "iou"]),
    }  # fmt: skip


def made(graph: Graph, inputs: dict[str, tuple[int, list[Any]]], outputs: list[str]) -> Ready:
    from onnx import helper

    given = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    gives = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    body = helper.make_graph(graph.nodes, "part", given, gives, graph.weights)
    return Ready(helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR))


def pooled(graph: Graph, value: str, by: int) -> Any:
    return graph.run("AveragePool", value, kernel_shape=[by, by], strides=[by, by])


def number(graph: Graph, value: float) -> str:
    return graph.weight(np.array(value, np.float32))


def image(config: Any, width: int) -> Graph:
    graph = Graph()
    mean = graph.run("ReduceMean", "semantic", keepdims=0)
    graph.named(graph.run("Expand", mean, graph.ints(config.image_tokens, width)), "visual")
    for name, by in (("pixels", 16), ("fine8", 8), ("fine4", 4)):
        graph.named(pooled(graph, "detail", by), name)
    return graph


def mask_tokens(count: int, width: int) -> Graph:
    graph = Graph()
    seen = graph.run("Mul", pooled(graph, "masks", 4), "pixels")
    mean = graph.run("ReduceMean", seen, graph.ints(2, 3), keepdims=0)
    weight = np.random.default_rng(1).normal(size=(3, count * width)).astype(np.float32)
    flat = graph.run("MatMul", mean, graph.weight(weight))
    graph.named(graph.run("Reshape", flat, graph.ints(-1, count, width)), "tokens")
    return graph


def presence() -> Graph:
    graph = Graph()
    both = graph.run("Add", graph.run("ReduceMean", "span", keepdims=0), graph.run("ReduceMean", "pixels", keepdims=0))
    small = graph.run("Mul", both, number(graph, 1e-3))
    graph.named(graph.run("Reshape", graph.run("Add", small, number(graph, 9)), graph.ints(1)), "presence")
    return graph


def region(side: int) -> Graph:
    """Three candidates: light parts near what is pointed at and in what is shown, more or less by words and memory."""
    graph = Graph()
    light = graph.run("ReduceMean", "fine4", graph.ints(1), keepdims=0)  # (1, s, s)
    coarse = graph.run("ReduceMean", "fine8", graph.ints(1, 2, 3), keepdims=0)
    said = graph.run("Mul", "span", graph.run("Unsqueeze", graph.run("Cast", "words", to=FLOAT), graph.ints(1)))
    said = graph.run("Tanh", graph.run("ReduceSum", said, keepdims=0))
    known = graph.run("Tanh", graph.run("ReduceSum", "memory", keepdims=0))
    grid = ((np.arange(side) + 0.5) / side).astype(np.float32)
    x, y, what = graph.run("Split", "points", outputs=3, axis=1, num_outputs=3)  # (Q, 1) each
    far_x = graph.run("Sub", graph.run("Unsqueeze", x, graph.ints(2)), graph.weight(grid.reshape(1, 1, side)))
    far_y = graph.run("Sub", graph.run("Unsqueeze", y, graph.ints(2)), graph.weight(grid.reshape(1, side, 1)))
    far = graph.run("Add", graph.run("Mul", far_x, far_x), graph.run("Mul", far_y, far_y))
    near = graph.run("Exp", graph.run("Mul", far, number(graph, -9)))  # (Q, s, s)
    inside = graph.run("Cast", graph.run("Greater", what, number(graph, 0.5)), to=FLOAT)
    sign = graph.run("Sub", graph.run("Mul", inside, number(graph, 4)), number(graph, 2))
    pointed = graph.run("ReduceSum", graph.run("Mul", near, graph.run("Unsqueeze", sign, graph.ints(2))), graph.ints(0))
    shown = graph.run(
        "Mul", graph.run("Reshape", "shown", graph.ints(1, side, side)), graph.run("Cast", "has_mask", to=FLOAT)
    )
    value = graph.run("Add", light, pointed)
    for one in (shown, coarse, said, known):
        value = graph.run("Add", value, graph.run("Mul", one, number(graph, 0.4)))
    levels = graph.weight(np.array([-0.5, -0.8, -0.2], np.float32).reshape(3, 1, 1))
    logits = graph.run("Add", value, levels)
    graph.named(logits, "logits")
    rated = graph.run("ReduceMean", graph.run("Abs", logits), graph.ints(1, 2), keepdims=0)
    graph.named(rated, "iou")
    return graph
