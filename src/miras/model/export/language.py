"""The language model as one graph: new embeddings and what was read before in, logits and states out.

In: a Llama that answers (`model.language.llama`), the special tokens. Out: an `onnx` model. It is put together operator
by operator, a third of the operators that a trace of the module has: norms and rotations are ORT's own (SmolLM2 decodes
1.7 times as fast). The same sums as `LlamaDecoder`, see the parity test. Knows no conversation.
L new tokens, P read before, T = P + L, D width, H query heads, N key heads, d head width, E = kept * D, V ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.model.instruction import InstructionComprehension
from miras.model.language.llama import AnsweringLlama, LlamaDecoder
from miras.model.numeric.halves import BLOCK, eight_bits

OPSET, OWN_OPSET, IR = 21, 1, 10
"""Of the standard operators, of ORT's own ("com.microsoft"), and of the file."""
FLOAT, INT = 1, 7
"""Types of elements, as ONNX numbers them."""


Given = Callable[[str], NDArray[np.float32]]


@dataclass(frozen=True)
class Where:
    """Which weight a piece of a graph is made of. transposed, blocks: see `runtime.shipped.recipe.Piece`."""

    source: str
    transposed: bool = False
    blocks: str = ""


class Graph:
    """Operators and weights as they are added; names are numbered. int8: products with weights take them in 8 bits.
    given: weights by their source, in place of the model's. sources: of the weights that were named."""

    def __init__(self, int8: bool = False, given: Given | None = None) -> None:
        self.int8, self.given = int8, given
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.sources: dict[str, Where] = {}

    def weight(self, value: NDArray[Any], where: Where | None = None) -> str:
        """Name of a weight."""
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        if where is not None:
            self.sources[name] = where
        return name

    def named_weight(self, tensor: Any, source: str) -> str:
        """Of a tensor that has a source."""
        return self.weight(self._value(tensor, source), Where(source))

    def product(self, x: str, tensor: Any, source: str) -> str:
        """Name of x @ tensor.T; the rows of x are as long as those of the tensor."""
        matrix_NK = self._value(tensor, source)
        count, inner = matrix_NK.shape
        if not self.int8 or inner % BLOCK:
            transposed = self.weight(matrix_NK.T, Where(source, transposed=True))
            return str(self.run("MatMul", x, transposed))
        values, scales = eight_bits(matrix_NK)
        halves = (
            self.weight(values, Where(source, blocks="values")),
            self.weight(scales, Where(source, blocks="scales")),
        )
        return str(self.run(
            "MatMulNBits", x, *halves, own=True, K=inner, N=count, bits=8, block_size=BLOCK, accuracy_level=4
        ))  # fmt: skip

    def _value(self, tensor: Any, source: str) -> NDArray[np.float32]:
        """As given, where it is; it may differ from the model's by a rounding alone."""
        own = _array(tensor)
        if self.given is None:
            return own
        value = self.given(source)
        if value.shape != own.shape or not np.allclose(value, own, rtol=1e-5, atol=1e-6):
            raise InputError(f"{source} as it lies in its files", "other weights", "export the folder itself")
        return value

    def run(self, kind: str, *inputs: str, outputs: int = 1, own: bool = False, **attributes: Any) -> Any:
        """Name of what an operator gives; a list of them where it gives several."""
        from onnx import helper

        names = [f"n{len(self.nodes)}_{number}" for number in range(outputs)]
        domain = "com.microsoft" if own else ""
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def ints(self, *values: int) -> str:
        """Name of a list of numbers."""
        return self.weight(np.array(values, np.int64))

    def named(self, value: str, name: str) -> None:
        """Give a result the name of an output."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [name]))


def language_graph(
    box: InstructionComprehension, int8: bool = False, given: Given | None = None
) -> tuple[Any, dict[str, Where]]:
    """An `onnx` model of what `InstructionComprehension` does after `embed`, for one sequence; sources of its weights.

    Inputs: embeds (L, D); past (P, layers, 2 N, d), keys before values; positions (1, L) int64; bias (L, T), 0 where a
    token sees another, else -inf; predicted (1,) int64, how many of the last tokens get logits. Outputs: logits
    (predicted, V + special), states (L, E), new (L, layers, 2 N, d). Raises InputError for another architecture.
    """
    from onnx import helper

    language = box.language
    if not isinstance(language, AnsweringLlama):
        got = type(language).__name__
        raise InputError("a language model of the Llama family", got, "answer with torch: --runtime torch")
    module: Any = language.module
    decoder: LlamaDecoder = module.decoder
    graph = Graph(int8, given)
    x, kept, new = _layers(graph, decoder, box.states)
    last = graph.run("Slice", x, graph.run("Neg", "predicted"), graph.ints(2**62), graph.ints(0))
    words = graph.product(last, module.lm_head.weight, "language:embed")
    special = graph.product(last, box.special, "own:instruction.special")
    special = graph.run("Add", special, graph.weight(_array(box.special_bias)))
    graph.named(graph.run("Concat", words, special, axis=1), "logits")
    graph.named(graph.run("Concat", *kept, axis=1), "states")
    graph.named(graph.run("Concat", *new, axis=1), "new")
    cache = [len(decoder.layers), 2 * decoder.keys, decoder.width]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        graph.nodes, "language",
        [
            value("embeds", FLOAT, ["L", box.width]), value("past", FLOAT, ["P", *cache]),
            value("positions", INT, [1, "L"]), value("bias", FLOAT, ["L", "T"]), value("predicted", INT, [1]),
        ],
        [
            value("logits", FLOAT, ["predicted_rows", box.vocab_size + len(box.special)]),
            value("states", FLOAT, ["L", len(box.states) * box.width]), value("new", FLOAT, ["L", *cache]),
        ],
        graph.weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", OWN_OPSET)]
    return helper.make_model(body, opset_imports=opsets, ir_version=IR), graph.sources


def _layers(graph: Graph, decoder: LlamaDecoder, states: Sequence[int]) -> tuple[str, list[str], list[str]]:
    """The last states, normed; the kept ones in their order; the new rows of each layer's cache."""
    half = decoder.width // 2
    turns = graph.weight(_array(decoder.cos_Ld)[:, :half]), graph.weight(_array(decoder.sin_Ld)[:, :half])
    groups = decoder.heads // decoder.keys
    bias = graph.run("Tile", "bias", graph.ints(groups, 1))
    x, found, new = "embeds", {0: "embeds"}, list[str]()
    for number, layer in enumerate(decoder.layers):
        source = f"language:layers.{number}."
        normed = _norm(graph, x, graph.named_weight(layer.norm_D, f"{source}norm"), decoder.epsilon)
        product = graph.product(normed, layer.qkv, f"{source}qkv")
        query, rows = _heads(graph, decoder, product, turns)
        new.append(graph.run("Unsqueeze", rows, graph.ints(1)))
        before = graph.run("Gather", "past", graph.weight(np.array(number, np.int64)), axis=1)
        seen = _attend(graph, decoder, query, graph.run("Concat", before, rows, axis=0), bias)
        x = graph.run("Add", x, graph.product(seen, layer.out, f"{source}out"))
        normed = _norm(graph, x, graph.named_weight(layer.norm_mlp_D, f"{source}norm_mlp"), decoder.epsilon)
        both = graph.product(normed, layer.gate_up, f"{source}gate_up")
        gate, up = graph.run("Split", both, outputs=2, axis=1, num_outputs=2)
        inner = graph.run("Mul", graph.run("Mul", gate, graph.run("Sigmoid", gate)), up)
        x = graph.run("Add", x, graph.product(inner, layer.down, f"{source}down"))
        found[number + 1] = x
    found[len(decoder.layers)] = _norm(graph, x, graph.named_weight(decoder.norm_D, "language:norm"), decoder.epsilon)
    return found[len(decoder.layers)], [found[number] for number in states], new


def _norm(graph: Graph, x: str, weight: str, epsilon: float) -> str:
    """RMS norm."""
    name: str = graph.run("SimplifiedLayerNormalization", x, weight, axis=-1, epsilon=epsilon, stash_type=1)
    return name


def _heads(graph: Graph, decoder: LlamaDecoder, product: str, turns: tuple[str, str]) -> tuple[str, str]:
    """Queries (N, H / N * L, d), rotated; new rows of the cache (L, 2 N, d)."""
    heads, keys, width = decoder.heads, decoder.keys, decoder.width
    sizes = graph.ints((heads + keys) * width, keys * width)
    both, value = graph.run("Split", product, sizes, outputs=2, axis=1)
    flat = graph.run("Unsqueeze", both, graph.ints(0))
    turned = graph.run("RotaryEmbedding", flat, "positions", *turns, own=True, interleaved=0)
    turned = graph.run("Reshape", turned, graph.ints(-1, heads + keys, width))
    query, key = graph.run("Split", turned, graph.ints(heads, keys), outputs=2, axis=1)
    value = graph.run("Reshape", value, graph.ints(-1, keys, width))
    query = graph.run("Reshape", query, graph.ints(-1, keys, heads // keys, width))
    query = graph.run("Transpose", query, perm=[1, 2, 0, 3])
    query = graph.run("Reshape", query, graph.ints(keys, -1, width))
    query = graph.run("Mul", query, graph.weight(np.array(width**-0.5, np.float32)))
    return query, graph.run("Concat", key, value, axis=1)


def _attend(graph: Graph, decoder: LlamaDecoder, query: str, rows: str, bias: str) -> str:
    """What the queries see, (L, H * d). rows: of the cache, new ones too, (T, 2 N, d)."""
    heads, keys, width = decoder.heads, decoder.keys, decoder.width
    key, value = graph.run("Split", rows, outputs=2, axis=1, num_outputs=2)
    scores = graph.run("MatMul", query, graph.run("Transpose", key, perm=[1, 2, 0]))
    weight = graph.run("Softmax", graph.run("Add", scores, bias), axis=-1)
    seen = graph.run("MatMul", weight, graph.run("Transpose", value, perm=[1, 0, 2]))
    seen = graph.run("Reshape", seen, graph.ints(keys, heads // keys, -1, width))
    seen = graph.run("Transpose", seen, perm=[2, 0, 1, 3])
    name: str = graph.run("Reshape", seen, graph.ints(-1, heads * width))
    return name


def _array(value: Any) -> NDArray[np.float32]:
    """A weight as numpy."""
    array: NDArray[np.float32] = value.detach().float().cpu().numpy()
    return array
