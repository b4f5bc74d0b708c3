"""A tower that is run once a photo, in models that would run it at every prompt.

In: a module, one tensor of pixels after another. Out: the same module, which answers a tensor that it has seen with
what it answered then. Needed where `transformers` takes no features in place of pixels (Grounding DINO, CLIPSeg), and
where two models share a tower (SAM 3).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakIdKeyDictionary


def remember(module: nn.Module) -> None:
    """From now on `module` remembers its outputs, float32, by the very tensor that came first among its arguments; they
    are forgotten with that tensor. What is given away is a copy of the containers: who appends to a list appends to
    his."""
    known = WeakIdKeyDictionary()
    run = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        pixels = args[0] if args else next(iter(kwargs.values()))
        if pixels not in known:
            known[pixels] = tree_map(_full, run(*args, **kwargs))
        return tree_map(lambda part: part, known[pixels])

    module.forward = forward


def _full(part: Any) -> Any:
    """Floats as float32, whatever they were computed in."""
    return part.float() if isinstance(part, Tensor) and torch.is_floating_point(part) else part
