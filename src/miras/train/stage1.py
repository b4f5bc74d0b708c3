"""Stage 1, mask-text alignment: towers, fusion, alignment and decoder learn phrases.

In: annotated photos. Out: trained weights of everything but the language model, which is frozen
and read once per phrase. Source: paper, training stage 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miras.core.grammar import OBJ, SEG, TEMPLATES, Span, render_reply_open
from miras.core.masks import decode_rle, iou
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues import askable
from miras.model.miras import Miras
from miras.model.visual_encoders import pool_by_mask
from miras.model.visual_parsing import VisualParsing
from miras.train import losses
from miras.train.augment import Sample, augment
from miras.train.targets import Regions, collate, cover, prompt


@dataclass(frozen=True)
class Weights:
    """Weights of the loss parts."""

    mask: float = 1.0
    iou: float = 0.5
    align: float = 0.1
    prior: float = 0.5
    patch: float = 0.5


class PhraseStates:
    """Hidden states of `[OBJ] phrase [SEG]` from the frozen language model, read once per phrase."""

    def __init__(self, model: Miras) -> None:
        self.model = model
        self.known: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, phrases: list[str]) -> tuple[Tensor, Tensor]:
        """Spans right-padded (R, S, E) and the mask of real tokens (R, S)."""
        for phrase in phrases:
            if phrase not in self.known:
                self.known[phrase] = self._read(phrase)
        spans = [self.known[phrase].float() for phrase in phrases]
        padded = torch.nn.utils.rnn.pad_sequence(spans, batch_first=True)
        lengths = torch.tensor([len(span) for span in spans])
        return padded, torch.arange(padded.shape[1]) < lengths[:, None]

    def _read(self, phrase: str) -> Tensor:
        template = TEMPLATES[self.model.config.template]
        opening = render_reply_open(0, template)
        spans = [*opening, Span("special", OBJ), Span("text", " " + phrase), Span("special", SEG)]
        ids = torch.tensor([self.model.grammar.encode(spans).ids])
        first = len(self.model.grammar.encode(opening).ids)
        _, states = self.model.instruction(self.model.embed(ids))
        return states[0, first:].to(torch.bfloat16)


@dataclass
class PhraseBatch:
    """Photos as views, the phrases of their regions, and the regions."""

    pixels: list[NDArray[np.uint8]]
    phrases: list[str]
    labels: list[str]
    present: list[set[str]]
    regions: Regions


def wording(note: Annotation, rng: np.random.Generator) -> str:
    """One of the ways to name an annotation."""
    options = [note.phrase] * 6 + [note.label] * 2
    if note.instructions[5:]:
        options += [note.instructions[5]] * 2
    if " of the " in note.phrase:
        part, whole = note.phrase.split(" of the ", 1)
        options += [f"{whole} {part}", f"the {whole}'s {part}", part]
    else:
        options += [f"the {note.phrase}"]
    return str(options[rng.integers(len(options))])


def grouped(photo: AnnotatedPhoto) -> list[tuple[Annotation, NDArray[np.bool_]]]:
    """One entry a label: all its instances together, since a bare phrase names them all."""
    groups: dict[str, tuple[Annotation, NDArray[np.bool_]]] = {}
    for note in photo.annotations:
        mask = decode_rle(note.rle)
        if note.label in groups:
            mask = groups[note.label][1] | mask
        groups[note.label] = (note, mask)
    return list(groups.values())


def phrase_batch(samples: list[Sample], side: int, limit: int, rng: np.random.Generator) -> PhraseBatch:
    """Up to `limit` regions of each sample, masks on a side x side grid."""
    index, targets, prompts, phrases, labels, present = [], [], [], [], [], []
    pixels: list[NDArray[np.uint8]] = []
    for sample in samples:
        groups = grouped(sample.photo)
        order = rng.permutation(len(groups))[:limit]
        covers = {int(i): cover(groups[i][1], side) for i in order}
        for i, target in covers.items():
            if target.max() < 0.5:
                continue
            others = [other for j, other in covers.items() if j != i]
            index.append(len(pixels))
            targets.append(target)
            prompts.append(prompt(target, others, rng))
            phrases.append(wording(groups[i][0], rng))
            labels.append(groups[i][0].label)
        pixels.append(sample.pixels)
        present.append({note.label for note in sample.photo.annotations})
    return PhraseBatch(pixels, phrases, labels, present, collate(index, targets, prompts))


def step(
    model: Miras, batch: PhraseBatch, states: PhraseStates, parsing: VisualParsing, weights: Weights
) -> dict[str, Tensor]:
    """The loss parts of one batch, and their weighted sum under "loss"."""
    regions = batch.regions
    span, words = states(batch.phrases)
    words = words & regions.words_R[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        features = model.image_encoder(parsing(batch.pixels))
        prompts, match_words = model.alignment(span, words)
        chosen = features.select(regions.photo_R)
        dense = model.mask_encoder.dense(regions.shown_R1ss, regions.present_R)
        real = words.any(1)
        prior = model.alignment.prior(match_words, chosen.pixels_BChw, real)
        logits, iou = model.decoder(
            prompts, chosen.pixels_BChw, chosen.fine8_BChw, chosen.fine4_BChw, dense, prior, regions.points_RQ3
        )
        pooled = pool_by_mask(chosen.pixels_BChw, regions.target_Rss[:, None])
        match_pixels = model.alignment.match(pooled)
        patch = model.alignment.match_patches(features.visual_BND, span, words)
    mask_loss, iou_loss = losses.candidates(logits.float(), iou, regions.target_Rss)
    parts = {"mask": mask_loss, "iou": iou_loss, "prior": losses.prior(prior, regions.target_Rss, real)}
    same = _same(batch.labels)
    if real.sum() > 1:
        kept = real.nonzero()[:, 0]
        parts["align"] = losses.info_nce(
            match_words[kept], match_pixels[kept], model.alignment.match_scale, same[kept][:, kept]
        )
        parts["patch"] = losses.patches(patch[:, kept], *patch_targets(batch, kept, model.config.image_tokens))
    parts["loss"] = sum(getattr(weights, name) * value for name, value in parts.items())
    parts["train_iou"] = losses.hard_iou(logits[:, 0], regions.target_Rss)[real].mean()
    return parts


def patch_targets(batch: PhraseBatch, kept: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Cover (B, R, N) of the kept phrases on every photo, and where it is known (B, R).

    A phrase of another photo covers nothing here, unless its label is annotated here as well.
    """
    grid = int(tokens**0.5)
    own = torch.nn.functional.adaptive_avg_pool2d(batch.regions.target_Rss[kept][:, None], grid).flatten(1)
    photo = batch.regions.photo_R[kept]
    cover_BRN = torch.zeros(len(batch.pixels), len(kept), tokens)
    known = torch.zeros(len(batch.pixels), len(kept), dtype=torch.bool)
    for r, region in enumerate(kept.tolist()):
        for b, present in enumerate(batch.present):
            known[b, r] = b == photo[r] or batch.labels[region] not in present
        cover_BRN[photo[r], r] = own[r]
    return cover_BRN, known


def _same(labels: list[str]) -> Tensor:
    return torch.tensor([[a == b for b in labels] for a in labels])


def augmented(samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
    """Each sample changed at random; one whose crop left nothing to ask for is used as it is."""
    changed = [augment(sample, rng) for sample in samples]
    return [new if askable(new.photo) else old for new, old in zip(changed, samples, strict=True)]


@torch.no_grad()
def validate(model: Miras, photos: list[AnnotatedPhoto], states: PhraseStates, limit: int = 4) -> dict[str, float]:
    """Mean IoU at full size of phrases on photos, by source; at most `limit` labels a photo."""
    scores: dict[str, list[float]] = {}
    for photo in photos:
        features = model.encode_image([read_photo(photo.path)])
        for note, mask in grouped(photo)[:limit]:
            span, _ = states([note.phrase])
            predicted = model.segment(features, 0, span[0]).mask(photo.size)
            scores.setdefault(photo.source, []).append(iou(predicted, mask))
    return {source: round(100 * float(np.mean(values)), 2) for source, values in scores.items()}
