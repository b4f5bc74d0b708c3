"""Tags for training: a tagger for the names that the photos carry, and tags that it would give photos it has not seen.

In: a model and annotated photos. Out: its `tagger`, and `Tags`. A language model that is trained with the tags of
photos the tagger knows by heart believes them too much; so each photo is tagged by a fit without its share of the
photos (stacking: Wolpert 1992). N photos, F pooled features, T names.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from miras.core.files import staged
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge
from miras.model.miras import Miras
from miras.model.tagging import Tagger, tags
from miras.model.visual_parsing import VisualParsing

FOLDS = 5
LEAST = 3
"""Photos that a name must stand on to be learnt."""
DECAY = 1e-3
"""Of the weights over standardised features; chosen on the folds of the training photos
(docs/decisions/0019-tags.md)."""
UNSURE = 0.1
"""What a photo weighs for a name that it may show without a mask: it counts little as one that does not show it."""


class Look:
    """What a model's towers see of a photo now, whatever they learn later. is_half: in bfloat16."""

    def __init__(self, model: Miras, is_half: bool = False) -> None:
        self.encoder = copy.deepcopy(model.image_encoder).requires_grad_(False).eval()
        self.parsing = VisualParsing(model.config.detail_size, model.config.semantic_size, model.config.decoder_size)
        self.is_half = is_half

    @torch.no_grad()
    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """(F,) and the chances of ImageNet's classes (K,), float32, of a photo (H, W, 3) uint8 RGB."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_half):
            pooled_BF, chance_BK = self.encoder.look(self.parsing([pixels]))
        return pooled_BF[0].float(), chance_BK[0].float()


class Tags:
    """Tags of views of the photos of a run, each by the fit that has not seen its photo."""

    def __init__(self, look: Look, folds: Sequence[Tagger]) -> None:
        self.look, self.folds = look, folds

    def __call__(self, pixels: NDArray[np.uint8], name: str) -> tuple[str, ...]:
        """Of a view (H, W, 3) uint8 RGB of the photo `name`, the likeliest first."""
        return tags(*self.look(pixels), self.folds[fold(name)])


def fold(name: str) -> int:
    """Which fit has not seen the photo `name`."""
    return hashlib.blake2b(name.encode(), digest_size=2).digest()[0] % FOLDS


def names_of(photo: AnnotatedPhoto) -> set[str]:
    """What a photo shows: its phrases, and the things whose parts they name."""
    phrases = {note.phrase for note in photo.annotations}
    return phrases | {whole for phrase in phrases if (whole := phrase.partition(" of the ")[2])}


def sureness(photo: AnnotatedPhoto, names: Sequence[str]) -> list[float]:
    """What the photo weighs for each of the names: UNSURE where its set leaves things without a mask, and this one is
    neither labelled nor surely absent."""
    if not photo.set_name:
        return [1.0] * len(names)
    sure = names_of(photo) | {name for absent in Scene(photo, knowledge.load()).absent for name in absent}
    return [1.0 if name in sure else UNSURE for name in names]


def learn(
    model: Miras, look: Look, photos: Sequence[AnnotatedPhoto], shares: Mapping[str, float], other: float,
    file: Path | None = None,
) -> list[Tagger]:  # fmt: skip
    """Fit the model's tagger to photos with annotations; names that it knows and that too few of these show stay.

    photos: `AnnotatedPhoto.source` and `.id` name them. shares, other: what a source weighs. file: where the fits are
    kept; read instead where it is there. Returns a tagger for each fold.
    """
    if file is not None and file.exists():
        return _read(model, file)
    shown = [names_of(photo) for photo in photos]
    count = Counter(name for names in shown for name in names)
    found = {name for name, number in count.items() if number >= LEAST}
    old = model.tagger
    names = sorted(found | set(model.config.tags))
    if not names:
        return []
    looks_NF = torch.stack([look(read_photo(photo.file))[0] for photo in photos])
    there_NT = torch.tensor([[name in here for name in names] for here in shown]).float()
    weights_N = _weights(photos, shares, other)
    sure_NT = torch.tensor([sureness(photo, names) for photo in photos])
    fold_N = torch.tensor([fold(f"{photo.source}/{photo.id}") for photo in photos])
    fits = []
    for left_out in range(-1, FOLDS):
        kept = fold_N != left_out
        tagger = Tagger(names, looks_NF.shape[1])
        if kept.any():
            tagger.weight_TF, tagger.bias_T = fit(looks_NF[kept], there_NT[kept], weights_N[kept], sure_NT[kept])
        for row, name in enumerate(names):
            if name not in found and old is not None:
                before = old.names.index(name)
                tagger.weight_TF[row], tagger.bias_T[row] = old.weight_TF[before], old.bias_T[before]
        fits.append(tagger)
    model.learn_tags(names).load_state_dict(fits[0].state_dict())
    if file is not None:
        state = {f"{k}.{name}": value for k, one in enumerate(fits) for name, value in one.state_dict().items()}
        with staged(file) as staging:
            save_file(state, staging, metadata={"names": json.dumps(names)})
    return fits[1:]


def _read(model: Miras, file: Path) -> list[Tagger]:
    with safe_open(file, "pt") as kept:
        names = json.loads(kept.metadata()["names"])
        fits = [Tagger(names, model.image_encoder.pooled_width) for _ in range(FOLDS + 1)]
        for number, tagger in enumerate(fits):
            tagger.load_state_dict({name: kept.get_tensor(f"{number}.{name}") for name in tagger.state_dict()})
    model.learn_tags(names).load_state_dict(fits[0].state_dict())
    return fits[1:]


def _weights(photos: Sequence[AnnotatedPhoto], shares: Mapping[str, float], other: float) -> Tensor:
    """(N,) with sum 1: a source weighs its share, whatever number of photos it has."""
    count = Counter(photo.source for photo in photos)
    each = torch.tensor([shares.get(photo.source, other) / count[photo.source] for photo in photos])
    return each / each.sum() if each.sum() > 0 else torch.full_like(each, 1 / len(each))


def fit(looks_NF: Tensor, there_NT: Tensor, weights_N: Tensor, sure_NT: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights (T, F) and bias (T,) of a logistic regression on each name; weights_N: of the photos,
    sure_NT: a factor of these for each name."""
    share = (weights_N / weights_N.sum())[:, None]
    share_NT = share if sure_NT is None else share * sure_NT
    mean = (share * looks_NF).sum(0)
    scale = (share * (looks_NF - mean).square()).sum(0).sqrt() + 1e-3
    facts = (looks_NF - mean) / scale
    chance = ((share_NT * there_NT).sum(0) / share_NT.sum(0)).clamp(1e-4, 1 - 1e-4)
    weight = torch.zeros(looks_NF.shape[1], there_NT.shape[1], requires_grad=True)
    bias = chance.logit().requires_grad_()
    search = torch.optim.LBFGS([weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        each = F.binary_cross_entropy_with_logits(facts @ weight + bias, there_NT, reduction="none")
        value = (each * share_NT).sum() + DECAY * weight.square().sum()
        value.backward()
        return value

    search.step(loss)
    found = (weight.detach() / scale[:, None]).T.contiguous()
    return found, bias.detach() - found @ mean
