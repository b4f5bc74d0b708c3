"""Stage 1, mask-text alignment: towers, fusion, alignment and decoder learn phrases.

In: annotated photos. Out: trained weights of everything but the language model, which is frozen
and read once per phrase. Source: paper, training stage 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miras.core.errors import InputError
from miras.core.grammar import OBJ, SEG, TEMPLATES, Span, render_reply_open
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.language import knowledge
from miras.model.miras import Miras
from miras.model.visual_encoders import ImageFeatures, pool_by_mask
from miras.model.visual_parsing import Views, VisualParsing
from miras.train.data.photos import Item
from miras.train.data.targets import Regions, collate, cover, prompt
from miras.train.stages import losses


@dataclass(frozen=True)
class Weights:
    """Weights of the loss parts."""

    mask: float = 1.0
    iou: float = 0.5
    align: float = 0.1
    prior: float = 0.5
    patch: float = 0.5
    presence: float = 0.3
    boundary: float = 0.0
    heat: float = 0.0


class PhraseStates:
    """Hidden states of `[OBJ] phrase [SEG]` from the frozen language model, read once per phrase, the new ones of a
    batch together: one by one they took half of a training step's time
    (docs/decisions/0014-cost-of-a-training-step.md)."""

    def __init__(self, model: Miras) -> None:
        self.model = model
        self.known: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, phrases: list[str]) -> tuple[Tensor, Tensor]:
        """Spans right-padded (R, S, E) and the mask of real tokens (R, S)."""
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self.known]
        if new:
            self.known.update(zip(new, self._read(new), strict=True))
        spans = [self.known[phrase].float() for phrase in phrases]
        padded = torch.nn.utils.rnn.pad_sequence(spans, batch_first=True)
        lengths = torch.tensor([len(span) for span in spans], device=padded.device)
        return padded, torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]

    def _read(self, phrases: list[str]) -> list[Tensor]:
        """Spans (S, E) bfloat16. Padding stands behind, where a causal model's earlier states do not see it."""
        template, grammar = TEMPLATES[self.model.config.template], self.model.grammar
        opening = render_reply_open(0, template)
        first = len(grammar.encode(opening).ids)
        rows = [
            grammar.encode([*opening, Span("special", OBJ), Span("text", " " + p), Span("special", SEG)]).ids
            for p in phrases
        ]  # fmt: skip
        device = self.model.instruction.special.device
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row, device=device) for row in rows], batch_first=True)
        _, states = self.model.instruction(self.model.embed(ids))
        at = self.model.misread(rows[0])
        places = [slice(first, len(row)) if at is None else slice(at, at + 1) for row in rows]
        return [states[n, place].to(torch.bfloat16) for n, place in enumerate(places)]


@dataclass
class PhraseBatch:
    """Photos as views, the phrases of their regions, and the regions. absent_RB: region r is surely not on photo b.
    labels: of each region; gone: names of what is surely not on each photo.
    questions: further phrases, asked of photo_Q for their presence alone; there_Q: whether it shows them."""

    views: Views
    phrases: list[str]
    labels: list[frozenset[str]]
    gone: list[set[str]]
    absent_RB: Tensor
    regions: Regions
    names: list[str]
    questions: list[str]
    photo_Q: Tensor
    there_Q: Tensor


def wording(target: Target, rng: np.random.Generator) -> str:
    """One of the ways to name a target."""
    name = target.phrase
    options = [name] * 6 + list(target.spoken) * 2
    if target.instructions[5:]:
        options += [target.instructions[5]] * 2
    if target.sort == "one" and " of the " in name:
        part, whole = name.split(" of the ", 1)
        options += [f"{whole} {part}", f"the {whole}'s {part}", part]
    else:
        options += [f"the {name}"]
    return str(options[rng.integers(len(options))])


def phrase_batch(
    samples: Sequence[Item], parsing: VisualParsing, limit: int, rng: np.random.Generator, asked: int = 0,
    referring: float = 0.0,
) -> PhraseBatch:  # fmt: skip
    """Up to `limit` targets of each photo, masks on a grid of a quarter of the detail view.

    asked: most phrases a photo that are asked for their presence alone, of each kind: further targets, and things that
    are surely not there. referring: share of the targets that are one of several ("the second cup from the left"),
    where the photo has such.
    """
    side = parsing.mask_side
    index, targets, prompts, phrases, labels = [], [], [], [], []
    named: list[str] = []
    names: list[str] = []
    missing: list[set[str]] = []
    questions: list[tuple[str, int, bool]] = []
    for photo, sample in enumerate(samples):
        if sample.photo is None:
            raise InputError("photos with annotations in stage 1", "one without")
        scene = Scene(sample.photo, knowledge.load(), referring > 0, sample.pixels if referring else None)
        order, others_there = _drawn(scene, limit, referring, rng)
        covers = {int(i): cover(scene.mask(scene.targets[i]), side) for i in order}
        for i, grid in covers.items():
            if grid.max() < 0.5:
                continue
            others = [other for j, other in covers.items() if j != i]
            index.append(photo)
            targets.append(grid)
            prompts.append(prompt(grid, others, rng))
            phrases.append(wording(scene.targets[i], rng))
            named.append(scene.noun_phrase(scene.targets[i]))
            labels.append(scene.labels(scene.targets[i]))
        missing.append({name for absent in scene.absent for name in absent})
        further = [scene.targets[i] for i in others_there[:asked]]
        questions += [(wording(target, rng), photo, True) for target in further]
        if asked:
            gone = [wording(target, rng) for target in _missing(scene, asked, rng)]
            questions += [(name, photo, False) for name in gone if not _is_shown(name, scene)]
        names.append(sample.photo.id)
    absent = torch.tensor([[name in gone for gone in missing] for name in named])
    views = parsing([sample.pixels for sample in samples])
    regions = collate(index, targets, prompts, side)
    return PhraseBatch(
        views, phrases, labels, missing, absent.reshape(-1, len(samples)), regions, names,
        [phrase for phrase, *_ in questions],
        torch.tensor([photo for _, photo, _ in questions], dtype=torch.long),
        torch.tensor([is_there for *_, is_there in questions], dtype=torch.bool),
    )  # fmt: skip


def _drawn(
    scene: Scene, limit: int, referring: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the targets that are drawn, `limit` of them, and of the others. Of several things of a kind that are
    told apart two come together, so that the same words but one lead to different masks."""
    if not referring:
        order = rng.permutation(len(scene.targets))
        return order[:limit], order[limit:]
    apart = {kind: [i for i, t in enumerate(scene.targets) if bool(t.kind) is kind] for kind in (False, True)}
    others = rng.permutation(apart[False]).astype(np.int64)
    several = _in_pairs(scene, [i for i in apart[True] if scene.targets[i].kind != "any"], rng)
    wanted = min(len(several), int(rng.binomial(limit, referring)))
    wanted = min(max(wanted, limit - len(others)), len(several))
    return (
        np.concatenate([several[:wanted], others[: limit - wanted]]),
        np.concatenate([several[wanted:], others[limit - wanted :]]),
    )


def _in_pairs(scene: Scene, numbers: list[int], rng: np.random.Generator) -> NDArray[np.int64]:
    """The numbers of these targets, each way to tell apart as early as any other, each followed by one that is told
    from it in the same way."""
    left = [numbers[int(i)] for i in rng.permutation(len(numbers))]
    order: list[int] = []
    while left:
        kinds = sorted({scene.targets[i].kind for i in left})
        kind = kinds[int(rng.integers(len(kinds)))]
        first = next(i for i in left if scene.targets[i].kind == kind)
        one = scene.targets[first]
        twins = [
            i for i in left
            if scene.targets[i].kind == kind and scene.targets[i].noun == one.noun
            and not scene.targets[i].members & one.members
        ]  # fmt: skip
        order += [first, *twins[:1]]
        left = [i for i in left if i not in order]
    return np.array(order, np.int64)


def _is_shown(name: str, scene: Scene) -> bool:
    """Whether the name of what is missing is also that of something there: "handle", of a hairbrush and of a cup."""
    return name.removeprefix("the ") in scene.present


def _missing(scene: Scene, count: int, rng: np.random.Generator) -> list[Target]:
    """Things that are surely not there: what the photo might well show before what it hardly would."""
    hard, easy = (rng.permutation(sorted(set(names))).tolist() for names in scene.absent)
    few = -(-count // 4)
    kept = hard[: count - min(few, len(easy))]
    return [scene.missing(phrase) for phrase in kept + easy[: count - len(kept)]]


def step(model: Miras, batch: PhraseBatch, states: PhraseStates, weights: Weights) -> dict[str, Tensor]:
    """The loss parts of one batch, and their weighted sum under "loss"."""
    regions = batch.regions
    span, words = states(batch.phrases)
    features = model.look(batch.views)
    seen, there = _presence(model, batch, features, states)
    words = words & regions.words_R[:, None]
    prompts, match_words = model.alignment(span, words)
    chosen = features.select(regions.photo_R)
    real = words.any(1)
    prior = model.alignment.prior(match_words, chosen.pixels_BChw, real)
    heat = model.heat(chosen, span, words)
    shown, present = regions.shown_R1ss, regions.present_R
    logits, iou = model.draw(prompts, chosen, shown, present, prior, regions.points_RQ3, heat)
    mask_loss, iou_loss = losses.candidates(logits.float(), iou, regions.target_Rss)
    parts = {"mask": mask_loss, "iou": iou_loss, "prior": losses.prior(prior, regions.target_Rss, real)}
    parts["presence"] = losses.presence(seen, there)
    if heat is not None and weights.heat:
        parts["heat"] = losses.prior(heat, regions.target_Rss, real)
    if weights.boundary:
        parts["boundary"] = losses.mean(losses.boundary(logits[:, 0], regions.target_Rss))
    if real.sum() > 1:
        parts |= _matches(model, batch, features, match_words, (span, words), real)
    parts["loss"] = sum(getattr(weights, name) * value for name, value in parts.items())
    parts["train_iou"] = losses.mean(losses.hard_iou(logits[:, 0], regions.target_Rss)[real].float())
    right = ((seen.detach() > 0) == (there > 0.5)).float()
    parts["presence_hits"] = losses.mean(right[there > 0.5])
    parts["absence_hits"] = right[there < 0.5].mean() if (there < 0.5).any() else right.new_ones(())
    return parts


def _matches(
    model: Miras, batch: PhraseBatch, features: ImageFeatures, match_RE: Tensor, spoken: tuple[Tensor, Tensor],
    real_R: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """InfoNCE of the words with what their mask covers, and of the words with every visual token."""
    kept = real_R.nonzero()[:, 0]
    pixels = features.pixels_BChw[batch.regions.photo_R[kept]]
    match_pixels = model.alignment.match(pool_by_mask(pixels, batch.regions.target_Rss[kept][:, None]))
    same = _same([batch.labels[r] for r in kept.tolist()]).to(kept.device)
    patch = model.alignment.match_patches(features.visual_BND, *spoken)
    return {
        "align": losses.info_nce(match_RE[kept], match_pixels, model.alignment.match_scale, same),
        "patch": losses.patches(patch[:, kept], *patch_targets(batch, kept, model.config.image_tokens)),
    }


def _presence(model: Miras, batch: PhraseBatch, features: ImageFeatures, states: PhraseStates) -> tuple[Tensor, Tensor]:
    """Presence logits (N,) and whether the thing is there (N,): each phrase on its own photo and on a few
    of those that surely do not show it, and each question on its photo."""
    span, words = states(batch.phrases + batch.questions)
    prompts, match = model.alignment(span, words)
    count, device = len(batch.phrases), match.device
    region, photo = batch.absent_RB.nonzero().unbind(1)
    chosen = torch.randperm(len(region), device=device)[: 2 * count]
    order = torch.arange(len(prompts), device=device)
    at = torch.cat([order[:count], region[chosen], order[count:]])
    photos = torch.cat([batch.regions.photo_R, photo[chosen], batch.photo_Q])
    there = torch.cat([torch.ones(count, device=device), torch.zeros(len(chosen), device=device), batch.there_Q])
    known = model.known(features, photos, span[at], words[at])
    return model.alignment.presence(prompts[at], match[at], features.pixels_BChw, photos, known), there


def patch_targets(batch: PhraseBatch, kept: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Cover (B, R, N) of the kept phrases on every photo, and where it is known (B, R).

    A phrase of another photo covers nothing here where what it names is surely absent; what has no mask may be there.
    """
    grid = int(tokens**0.5)
    own = torch.nn.functional.adaptive_avg_pool2d(batch.regions.target_Rss[kept][:, None], grid).flatten(1)
    own_RN, photos = own.cpu(), batch.regions.photo_R[kept].tolist()
    cover_BRN = torch.zeros(len(batch.gone), len(kept), tokens)
    known = torch.zeros(len(batch.gone), len(kept), dtype=torch.bool)
    for r, (region, photo) in enumerate(zip(kept.tolist(), photos, strict=True)):
        for b, gone in enumerate(batch.gone):
            known[b, r] = b == photo or bool(batch.absent_RB[region, b]) or batch.labels[region] <= gone
        cover_BRN[photo, r] = own_RN[r]
    return cover_BRN.to(own.device), known.to(own.device)


def _same(labels: list[frozenset[str]]) -> Tensor:
    """(R, R) True where the labels may name the same thing: a sofa is no counterexample of a couch."""
    known = knowledge.load()
    return torch.tensor([[any(known.may_be(x, y) for x in a for y in b) for b in labels] for a in labels])
