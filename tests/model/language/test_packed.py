"""Weights of a Llama that answers in 8 and 4 bits: which, how near, and what is told where that cannot be."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from miras.core.errors import InputError
from miras.model.language import packed
from miras.model.loading.place import faster
from miras.model.presets import build


class Rounded(torch.Tensor):
    """Stands for what torchao makes: rounded, and not a plain tensor."""


def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A torchao that rounds. Returns the configurations that it was asked for."""
    asked: list[object] = []

    def quantize_(holder: torch.nn.Sequential, how: SimpleNamespace) -> None:
        asked.append(how)
        weight = holder[0].weight.data
        steps = 2 ** (how.bits - 1) - 1
        scale = weight.abs().amax(1, keepdim=True) / steps
        holder[0].weight = torch.nn.Parameter((weight / scale).round() * scale, requires_grad=False)

    def config(name: str, bits: int) -> object:
        return lambda **how: SimpleNamespace(name=name, bits=bits, **how)

    whole, prototype = ModuleType("torchao.quantization"), ModuleType("torchao.prototype.quantization.int4")
    vars(whole).update(
        quantize_=quantize_, Int8WeightOnlyConfig=config("int8", 8), Int4WeightOnlyConfig=config("int4 gpu", 4)
    )
    vars(prototype)["PrototypeInt4WeightOnlyConfig"] = config("int4 cpu", 4)
    monkeypatch.setitem(sys.modules, "torchao.quantization", whole)
    monkeypatch.setitem(sys.modules, "torchao.prototype.quantization.int4", prototype)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    return asked


def answering(bits: int | None):
    model = build("miras-tiny", seed=3).eval()
    model.instruction.answer_fast(64, torch.float32)
    faster(model, bits)
    return model.instruction


@torch.inference_mode()
def states(instruction) -> torch.Tensor:
    torch.manual_seed(1)
    return instruction(torch.randn(1, 9, instruction.width), instruction.language.cache())[0]


@pytest.mark.parametrize(("bits", "off"), [(8, 0.02), (4, 0.25)])
def test_every_matrix_of_the_layers_and_nothing_else(monkeypatch, bits, off):
    plain = answering(None)
    asked = stand_in(monkeypatch)
    # 48 inner units are no multiple of 32 for 4 bits: stand in for a width that is one
    monkeypatch.setattr(packed, "GROUPS", (16,))
    less = answering(bits)
    layers = less.language.module.decoder.layers
    assert len(asked) == len(layers) * len(packed.MATRICES)
    for mine, other in zip(layers, plain.language.module.decoder.layers, strict=True):
        assert torch.equal(mine.norm_D, other.norm_D) and torch.equal(mine.norm_mlp_D, other.norm_mlp_D)
        assert not torch.equal(mine.qkv, other.qkv)
    assert torch.equal(less.table.weight, plain.table.weight)
    wanted, got = states(plain), states(less)
    assert 0 < float((got - wanted).norm() / wanted.norm()) < off


@pytest.mark.parametrize(
    ("device", "bits", "width", "name", "group"),
    [("cpu", 8, 576, "int8", None), ("cpu", 4, 576, "int4 cpu", 64), ("cpu", 4, 4096, "int4 cpu", 128),
     ("cuda", 4, 4096, "int4 gpu", 128), ("cuda", 8, 4096, "int8", None)],
)  # fmt: skip
def test_the_kernel_of_each_device(monkeypatch, device, bits, width, name, group):
    stand_in(monkeypatch)
    how = packed._how(bits, width, torch.device(device))
    assert (how.name, getattr(how, "group_size", None)) == (name, group)


@pytest.mark.parametrize(
    ("there", "bits", "says"),
    [(True, 3, "weights of 8 or 4 bits, got 3"), (False, 8, "torchao, for weights of 8 bits, got no such package"),
     (True, 4, "rows that can be divided by 32, got 48")],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line(monkeypatch, there, bits, says):
    stand_in(monkeypatch)
    if not there:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=says):
        answering(bits)


def test_torchao_itself_where_it_is_there():
    if importlib.util.find_spec("torchao") is None:
        pytest.skip("needs torchao: pip install 'miras[bits]'")
    wanted, got = states(answering(None)), states(answering(8))
    assert 0 < float((got - wanted).norm() / wanted.norm()) < 0.02


def test_what_is_no_llama_is_told():
    with pytest.raises(InputError, match="a Llama for --bits and --static"):
        faster(build("miras-tiny"), 8)
