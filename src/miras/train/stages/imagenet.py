"""What ImageNet's classifier brings: the names of its classes, and a semantic tower that stays as it was published.

In: a model. Out: its map from words to the classifier's space, fitted to names alone; or the same model on another
semantic tower, its layers after the tower fitted so that they give what they gave. Source of the map: DeViSE (Frome
et al. 2013). W words, E states, F features of the classifier, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from miras.core.errors import InputError
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto
from miras.model.concepts import RANK
from miras.model.config import MirasConfig
from miras.model.miras import Miras
from miras.model.numeric.tags import classes
from miras.train.stages import stage1

TOWER = "efficientnet-lite2"
"""The tower whose classifier is used."""
DECAY = 3.0
"""Of the map from words, over states of unit length; 0.3 to 10 serve as well."""
PHOTOS = 160
"""Photos that the layers after a new tower are fitted on."""
WIDER = ("decoder.prior_in.weight", "alignment.presence_in.weight")
"""Weights that read what the classifier says beside what they read before: they begin without it."""
REFITTED = ("image_encoder.semantic_in.", "image_encoder.semantic_mid.")
_READ = 128


def learn_names(model: Miras) -> None:
    """Fit `model.concepts` to the names and synonyms of the classes and the words above them. Another classifier than
    that of the thousand classes leaves it as it is."""
    head = model.image_encoder.semantic_head
    if model.concepts is None or head.classes != len(classes().names):
        return
    rows_KF = head.rows_KF.detach()
    length = rows_KF.norm(dim=1).mean()
    words = [(word.lower(), covered) for word, covered in classes().words]
    per_class = {covered: sum(other == covered for _, other in words) for covered in {c for _, c in words}}
    targets_WF = torch.stack([_of_length(rows_KF[list(covered)].mean(0), length) for _, covered in words])
    weights_W = torch.tensor([1 / per_class[covered] for _, covered in words])
    model.concepts.centre_E.zero_()
    states_WE = _states(model, [word for word, _ in words])
    centre_E = (weights_W[:, None] * states_WE).sum(0) / weights_W.sum()
    map_EF = ridge(states_WE - centre_E, targets_WF, weights_W, DECAY)
    left, strength, right = torch.linalg.svd(map_EF, full_matrices=False)
    root = strength[:RANK].sqrt()
    with torch.no_grad():
        model.concepts.centre_E.copy_(centre_E)
        model.concepts.down.weight.zero_()
        model.concepts.up.weight.zero_()
        model.concepts.down.weight[: len(root)] = (left[:, :RANK] * root).T
        model.concepts.up.weight[:, : len(root)] = (root[:, None] * right[:RANK]).T


def ridge(facts_NE: Tensor, targets_NF: Tensor, weights_N: Tensor, decay: float) -> Tensor:
    """The map (E, F) of least squares with a penalty on its size."""
    root = weights_N[:, None].sqrt()
    facts, targets = (facts_NE * root).double(), (targets_NF * root).double()
    gram = facts.T @ facts + decay * torch.eye(facts.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, facts.T @ targets).float()


def with_classifier(model: Miras, photos: Sequence[AnnotatedPhoto]) -> Miras:
    """The model on ImageNet's own semantic tower, with its classifier. Its layers after the tower are fitted to give on
    some of these photos what they gave before; its tagger has to be fitted anew. Raises InputError without photos."""
    if not photos:
        raise InputError("photos to fit the layers after another tower on", "none")
    if not model.config.use_semantic_tower:
        raise InputError("a model with a semantic tower", "one without", "leave start.imagenet out")
    kept = {k: v for k, v in model.config.to_diff_dict().items() if k in MirasConfig().__dict__}
    tower = TOWER if model.image_encoder.semantic_tower.published else model.config.semantic_tower
    config = MirasConfig(**{**kept, "semantic_tower": tower, "semantic_head": True, "tags": []})
    new = Miras(config).eval()
    old_state, state = model.own_state_dict(), new.state_dict()
    for name, value in old_state.items():
        if name.startswith(("tagger.", "image_encoder.semantic_tower.", *REFITTED)):
            continue
        if name in WIDER:
            state[name].zero_()
            state[name][:, : value.shape[1]] = value
        else:
            state[name].copy_(value)
    _refit(model.eval(), new, photos)
    learn_names(new)
    return new


@torch.no_grad()
def _refit(old: Miras, new: Miras, photos: Sequence[AnnotatedPhoto]) -> None:
    """Least squares of `semantic_in` and `semantic_mid` on what the new tower sees."""
    order = np.linspace(0, len(photos) - 1, min(PHOTOS, len(photos))).astype(int)
    rows: dict[str, list[tuple[Tensor, Tensor]]] = {"semantic_in": [], "semantic_mid": []}
    for index in dict.fromkeys(order.tolist()):
        views = old.parsing([read_photo(photos[index].path)])
        before = old.image_encoder.semantic_tower(views.semantic_B3ss)
        after = new.image_encoder.semantic_tower(views.semantic_B3ss)
        for name, level in (("semantic_in", 3), ("semantic_mid", 2)):
            wanted = getattr(old.image_encoder, name)(before[level])
            rows[name].append((after[level][0].flatten(1).T, wanted[0].flatten(1).T))
    for name, pairs in rows.items():
        facts, targets = torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])
        centre, middle = facts.mean(0), targets.mean(0)
        scale = facts.std(0) + 1e-3
        map_EF = ridge((facts - centre) / scale, targets - middle, torch.ones(len(facts)), 1e-3 * len(facts))
        map_EF = map_EF / scale[:, None]
        layer = getattr(new.image_encoder, name)
        layer.weight.copy_(map_EF.T[..., None, None])
        layer.bias.copy_(middle - centre @ map_EF)


@torch.no_grad()
def _states(model: Miras, words: Sequence[str]) -> Tensor:
    """(W, E): the words as `Concepts.read` gives them."""
    states, found = stage1.PhraseStates(model), []
    assert model.concepts is not None
    for start in range(0, len(words), _READ):
        found.append(model.concepts.read(*states(list(words[start : start + _READ]))))
    return torch.cat(found)


def _of_length(row_F: Tensor, length: Tensor) -> Tensor:
    return row_F * (length / row_F.norm().clamp_min(1e-6))
