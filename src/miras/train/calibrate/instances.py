"""The choice among the pieces of a mask, fitted from annotations alone: no photo is looked at.

In: annotated photos of training, a model. Out: the model with its `InstanceSelector`. One of several is shown among
its kind, and its own pieces are to stay ("left shoe": of two, one); what is no one of several stays whole ("shoes",
"bicycle" behind a post). R phrases, N pieces, S words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from miras.core.types import AnnotatedPhoto, Mask
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.language import knowledge
from miras.model.instances import InstanceSelector
from miras.model.miras import Miras
from miras.model.numeric.pieces import FACTS, facts_of, pieces_of
from miras.train.data.targets import cover
from miras.train.stages.stage1 import wording

SIDE = 160
"""Of the grid on which masks are taken apart."""
EACH = 6
"""Phrases of a photo, of each of the two sorts."""
BY_PIXELS = ("colour", "relation", "any")
"""Ways to tell apart that the shape of a mask does not show."""
OTHER_NOUN = 0.4
"""Share of the phrases about one of several that speak of another thing, so that what tells it apart is learnt."""
MISSED = 0.2
"""Share of them where another of the kind was not found."""
EPOCHS = 12
BATCH = 256


@dataclass(frozen=True)
class Question:
    """facts (N, FACTS) of the pieces, and which of them are meant (N,)."""

    phrase: str
    facts_NF: NDArray[np.float32]
    meant_N: NDArray[np.float32]
    several: bool


def questions(photo: AnnotatedPhoto, rng: np.random.Generator, nouns: Sequence[str] = ()) -> Iterator[Question]:
    """What can be asked about the pieces of one photo's masks. nouns: names of things, to speak of another."""
    scene = Scene(photo, knowledge.load(), True)
    pools: dict[bool, list[Target]] = {True: [], False: []}
    for target in scene.targets:
        if target.sort != "whole":
            pools[_is_one_of(scene, target)].append(target)
    for several, pool in pools.items():
        for at in rng.permutation(len(pool))[:EACH]:
            target = pool[int(at)]
            if (asked := _question(scene, target, several, rng, nouns)) is not None:
                yield asked


def _is_one_of(scene: Scene, target: Target) -> bool:
    """Whether the shapes of its kind tell which is meant."""
    return target.kind not in BY_PIXELS and (bool(target.kind) or scene.other(target) is not None)


def _question(
    scene: Scene, target: Target, several: bool, rng: np.random.Generator, nouns: Sequence[str]
) -> Question | None:
    mask = scene.mask(target)
    shown = mask
    if several:
        twin = scene.other(target)
        for thing in [*scene.things(target), *([] if twin is None else [scene.mask(twin)])]:
            missed = target.kind != "row" and rng.random() < MISSED and not (thing & mask).any()
            shown = shown if missed else shown | thing
    pieces, count = pieces_of(_grid(shown))
    if count < 2:
        return None
    inside = np.bincount(pieces[_grid(mask)], minlength=count + 1)[1:]
    meant = inside > 0.5 * np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    if not meant.any():
        return None
    phrase = wording(target, rng)
    if several and nouns and target.kind and target.noun in phrase and rng.random() < OTHER_NOUN:
        phrase = phrase.replace(target.noun, nouns[int(rng.integers(len(nouns)))])
    return Question(phrase, facts_of(pieces, count), meant.astype(np.float32), several)


def _grid(mask: Mask) -> NDArray[np.bool_]:
    return cover(mask, SIDE) >= 0.5


class Words:
    """The embeddings of phrases, read once each."""

    def __init__(self, model: Miras) -> None:
        self._encode, self._table = model.tokenizer.encode, model.instruction.table
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(R, S, D), right-padded, and True at real tokens (R, S)."""
        for phrase in phrases:
            if phrase not in self._known:
                ids = torch.tensor(self._encode(" " + phrase), device=self._table.weight.device)
                self._known[phrase] = self._table(ids).float()
        spans = [self._known[phrase] for phrase in phrases]
        padded = pad_sequence(spans, batch_first=True)
        lengths = torch.tensor([len(span) for span in spans], device=padded.device)
        return padded, torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]


def learn(model: Miras, photos: Sequence[AnnotatedPhoto], seed: int, epochs: int = EPOCHS) -> int:
    """Fit the model's selector to annotated photos, a new one where it has none. Returns how many questions they give;
    without any the model stays as it is."""
    rng = np.random.default_rng([seed, 11])
    nouns = sorted({entry.phrase for entry in knowledge.load().entries.values() if not entry.object})
    asked = [question for photo in photos if photo.annotations for question in questions(photo, rng, nouns)]
    if not asked:
        return 0
    torch.manual_seed(seed)
    selector = InstanceSelector(model.instruction.table.weight.detach().float().mean(0).cpu())
    fit(selector, asked, Words(model), rng, epochs)
    model.config.instances = True
    model.instances = selector.to(model.device).eval()
    return len(asked)


def fit(
    selector: InstanceSelector, asked: Sequence[Question], words: Words, rng: np.random.Generator, epochs: int
) -> None:
    """Binary cross-entropy of the pieces, both sorts of questions weighing the same."""
    optimiser = torch.optim.AdamW(selector.parameters(), 2e-3, weight_decay=0.02)
    steps = epochs * -(-len(asked) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    share = float(np.mean([question.several for question in asked]))
    weight = {True: 0.5 / max(share, 1e-6), False: 0.5 / max(1 - share, 1e-6)}
    selector.train()
    with torch.enable_grad():
        for _ in range(epochs):
            order = rng.permutation(len(asked))
            for start in range(0, len(order), BATCH):
                batch = [asked[int(i)] for i in order[start : start + BATCH]]
                optimiser.zero_grad()
                loss(selector, batch, words, weight).backward()
                optimiser.step()
                schedule.step()
    selector.eval()


def loss(selector: InstanceSelector, batch: Sequence[Question], words: Words, weight: dict[bool, float]) -> Tensor:
    """Mean over the questions of the mean over their pieces."""
    facts = pad_sequence([torch.from_numpy(q.facts_NF) for q in batch], batch_first=True)
    meant = pad_sequence([torch.from_numpy(q.meant_N) for q in batch], batch_first=True)
    real = pad_sequence([torch.ones(len(q.meant_N)) for q in batch], batch_first=True)
    assert facts.shape[-1] == FACTS
    logits = selector(*words([q.phrase for q in batch]), facts)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, meant, reduction="none")
    each = (each * real).sum(1) / real.sum(1)
    return (each * torch.tensor([weight[q.several] for q in batch])).mean()
