"""Weights between those that a run began with and those that it ended with.

In: a saved model, the weights it came from, a share. Out: the same model with the mean of both, in place. The mean of a
tuned model and its origin is often better than either, on what was tuned for and elsewhere (Wortsman et al. 2022,
"Robust fine-tuning of zero-shot models"). What is fitted afterwards (`finish`) has to be fitted again.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from miras.core.errors import WeightsError
from miras.model.loading.place import find
from miras.model.miras import Miras


@torch.no_grad()
def blend(folder: Path, origin: str, share: float) -> None:
    """Write `share` of the model in `folder` and 1 - `share` of `origin` (a name or folder) into `folder`.

    A tagger stays. share: 0..1. Raises WeightsError for an origin without saved weights or of another architecture.
    """
    place = find(origin)
    if place is None:
        raise WeightsError("saved weights to blend with", f"the preset {origin}", "start from trained ones, or blend=1")
    model, before = Miras.from_pretrained(folder), Miras.from_pretrained(place)
    known, new = len(before.instruction.special), model.config.points and not before.config.points
    before.learn_to_talk(model.config.points, model.config.complements)
    before.instruction.special[known:] = model.instruction.special[known:]
    before.instruction.special_bias[known:] = model.instruction.special_bias[known:]
    if new and before.pointer is not None and model.pointer is not None:  # there is nothing to blend it with
        before.pointer.load_state_dict(model.pointer.state_dict())
    ours, theirs = (_without_tagger(one) for one in (model, before))
    strange = [name for name in ours if name not in theirs or theirs[name].shape != ours[name].shape]
    if strange or len(ours) != len(theirs):
        raise WeightsError(f"weights of one architecture in {folder} and {origin}", f"{len(strange)} differ", "blend=1")
    for name, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[name].to(value.dtype), 1 - share)
    model.save_pretrained(folder)


def _without_tagger(model: Miras) -> dict[str, Tensor]:
    """It is fitted, to names of its own."""
    return {name: value for name, value in model.own_state_dict().items() if not name.startswith("tagger.")}
