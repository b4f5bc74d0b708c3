"""Stage 2, instruction tuning: the whole model learns dialogues.

In: annotated photos, dialogues sampled from them on the fly. Out: the loss parts of a batch. The
language model learns through LoRA; masks of the history are the data set's, sometimes spoiled, and
their tokens are dropped at random, so that memory is not over-trusted. Source: paper, stage 2.
Presence is learnt from phrases on the other photos of the batch, and from probes: an answer that names
a thing that is not there, as the model would when it looks before it refuses.
C dialogues, P probes, L tokens, R regions, K mask tokens, M memory tokens, T supervised tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miras.core.grammar import IGNORE, TEMPLATES, Encoded, Encoder, render
from miras.core.selection import Steps, advance
from miras.core.types import Conversation
from miras.data import dialogues, knowledge
from miras.data.scene import Scene
from miras.model.miras import Miras
from miras.model.visual_encoders import ImageFeatures, pool_by_mask
from miras.model.visual_parsing import VisualParsing
from miras.train import losses
from miras.train.augment import Sample
from miras.train.targets import Prompted, Regions, collate, cover, no_points, prompt, spoil

PROBED = 0.5
"""How often a photo gets a probe."""


@dataclass(frozen=True)
class Weights:
    """Weights of the loss parts. special: weight of operators, `[OBJ]` and `[SEG]` among the text."""

    text: float = 1.0
    mask: float = 1.0
    iou: float = 0.5
    align: float = 0.1
    prior: float = 0.3
    presence: float = 0.5
    special: float = 2.0


@dataclass(frozen=True)
class History:
    """How often the selection shown to the decoder is hidden, a mask in memory is spoiled, the mask
    tokens of a region are blanked, and a region is prompted by hand as in a refinement."""

    hidden: float = 0.3
    spoiled: float = 0.3
    blank: float = 0.15
    hand: float = 0.2


@dataclass
class Probes:
    """Single exchanges that name a thing which photo_P does not show; obj_P, seg_P: where."""

    ids_PL: Tensor
    photo_P: Tensor
    obj_P: Tensor
    seg_P: Tensor


@dataclass
class DialogueBatch:
    """C dialogues, one a photo, right-padded. Regions stand in reading order over all dialogues.

    obj_R, seg_R: places of `[OBJ]` and `[SEG]`. absent_RC: region r is surely not on photo c.
    slot_R1ss: what fills the mask slots. blank_R: slots that carry nothing. earlier: for each region the
    regions of its dialogue before it.
    """

    pixels: list[NDArray[np.uint8]]
    ids_CL: Tensor
    labels_CL: Tensor
    regions: Regions
    obj_R: Tensor
    seg_R: Tensor
    probes: Probes
    absent_RC: Tensor
    slot_R1ss: Tensor
    blank_R: Tensor
    earlier: list[list[int]]
    phrases: list[str]


def dialogue_batch(
    samples: list[Sample], grammar: Encoder, template: str, side: int, rng: np.random.Generator,
    history: History = History(), turns: tuple[int, int] = (2, 5),
) -> DialogueBatch:  # fmt: skip
    """Sample a dialogue for each photo and write it as tensors; masks on a side x side grid."""
    encoded: list[Encoded] = []
    targets: list[NDArray[np.float32]] = []
    index, prompts, places, slots, blank, phrases = [], [], [], [], [], []
    earlier: list[list[int]] = []
    missing = [Scene(sample.photo, knowledge.load()).absent for sample in samples]
    absent = [{*hard, *easy} for hard, easy in missing]
    for photo, sample in enumerate(samples):
        talk = dialogues.sample(sample.photo, rng, turns=turns).conversation
        encoded.append(grammar.encode(render(talk, TEMPLATES[template])))
        shown = _selections(talk, side)
        first = len(targets)
        for place, region in zip(encoded[-1].places, talk.regions, strict=True):
            target = cover(region.mask, side)
            before = shown[region.turn]
            if before is not None and rng.random() < history.hidden:
                before = None
            elif before is not None and rng.random() < history.spoiled:
                before = spoil(before, rng)
            earlier.append(list(range(first, len(targets))))
            index.append(photo)
            targets.append(target)
            by_hand = prompt(target, [], rng) if rng.random() < history.hand else None
            prompts.append(by_hand or Prompted(no_points(), before, True))
            places.append(place)
            slots.append(spoil(target, rng) if rng.random() < history.spoiled else target)
            blank.append(rng.random() < history.blank)
            phrases.append(region.phrase)
    length = max(len(e) for e in encoded)
    end = encoded[0].ids[-1]
    return DialogueBatch(
        [sample.pixels for sample in samples],
        torch.tensor([e.ids + [end] * (length - len(e)) for e in encoded]),
        torch.tensor([e.labels + [IGNORE] * (length - len(e)) for e in encoded]),
        collate(index, targets, prompts),
        torch.tensor([place.obj for place in places]),
        torch.tensor([place.seg for place in places]),
        _probes(samples, missing, grammar, template, rng),
        torch.tensor([[phrase in names for names in absent] for phrase in phrases]),
        (torch.from_numpy(np.stack(slots))[:, None] > 0.5).float(),
        torch.tensor(blank),
        earlier,
        phrases,
    )


def _probes(
    samples: list[Sample], missing: list[tuple[list[str], list[str]]], grammar: Encoder, template: str,
    rng: np.random.Generator,
) -> Probes:  # fmt: skip
    rows = []
    for photo, sample in enumerate(samples):
        talk = dialogues.probe(sample.photo, missing[photo], rng) if rng.random() < PROBED else None
        if talk is not None:
            written = grammar.encode(render(talk, TEMPLATES[template]))
            (place,) = written.places
            rows.append((written.ids[: place.seg + 1], photo, place.obj, place.seg))
    length = max((len(row[0]) for row in rows), default=0)
    ids = [row[0] + row[0][-1:] * (length - len(row[0])) for row in rows]
    return Probes(
        torch.tensor(ids), *torch.tensor([row[1:] for row in rows], dtype=torch.long).reshape(-1, 3).unbind(1)
    )


def _selections(talk: Conversation, side: int) -> dict[int, NDArray[np.float32] | None]:
    """What is selected before each assistant turn, on the grid; None where nothing is."""
    shown: dict[int, NDArray[np.float32] | None] = {}
    steps: Steps = ()
    for i, turn in enumerate(talk.turns):
        if turn.role == "assistant":
            current = steps[-1] if steps else None
            shown[i] = cover(current.mask, side) if current is not None and current.expression else None
            steps = advance(steps, turn)
    return shown


def step(model: Miras, batch: DialogueBatch, parsing: VisualParsing, weights: Weights) -> dict[str, Tensor]:
    """The loss parts of one batch, their weighted sum under "loss"."""
    regions = batch.regions
    with torch.autocast("cpu", torch.bfloat16):
        features = model.image_encoder(parsing(batch.pixels))
        chosen = features.select(regions.photo_R)
        tokens_RKD = model.mask_encoder.tokens(chosen.pixels_BChw, batch.slot_R1ss)
        tokens_RKD = tokens_RKD * (~batch.blank_R)[:, None, None]
        embeds = model.embed(batch.ids_CL, features.visual_BND, tokens_RKD.flatten(0, 1))
        last, states = model.instruction(embeds)
        logits_TV, labels_T = _predictions(model, batch, last)
        span, words = _spans(states, regions.photo_R, batch.obj_R, batch.seg_R)
        seen, there = _presence(model, batch, features, span, words)
        words = words & regions.words_R[:, None]
        memory, present = _memory(batch, tokens_RKD)
        prompts, match_words = model.alignment(span, words, memory, present)
        prior = model.alignment.prior(match_words, chosen.pixels_BChw, words.any(1))
        dense = model.mask_encoder.dense(regions.shown_R1ss, regions.present_R)
        logits, iou = model.decoder(prompts, chosen.pixels_BChw, chosen.fine8_BChw, chosen.fine4_BChw, dense, prior)
        match_pixels = model.alignment.match(pool_by_mask(chosen.pixels_BChw, regions.target_Rss[:, None]))
    mask_loss, iou_loss = losses.candidates(logits.float(), iou, regions.target_Rss)
    text_loss, hits, operator_hits = _text(logits_TV.float(), labels_T, model.instruction.vocab_size, weights.special)
    parts = {"text": text_loss, "mask": mask_loss, "iou": iou_loss}
    parts["prior"] = losses.prior(prior, regions.target_Rss, words.any(1))
    same = torch.tensor([[a == b for b in batch.phrases] for a in batch.phrases])
    parts["align"] = losses.info_nce(match_words, match_pixels, model.alignment.match_scale, same)
    parts["presence"] = losses.presence(seen, there)
    parts["loss"] = sum(getattr(weights, name) * value for name, value in parts.items())
    parts |= {"token_hits": hits, "operator_hits": operator_hits}
    right = ((seen.detach() > 0) == (there > 0.5)).float()
    parts["presence_hits"] = right[there > 0.5].mean()
    parts["absence_hits"] = right[there < 0.5].mean() if (there < 0.5).any() else torch.ones(())
    parts["train_iou"] = losses.hard_iou(logits[:, 0], regions.target_Rss).mean()
    return parts


def _predictions(model: Miras, batch: DialogueBatch, last_CLD: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (T, V) where the next token is supervised, and those tokens (T,)."""
    following = batch.labels_CL[:, 1:]
    supervised = following != IGNORE
    return model.instruction.logits(last_CLD[:, :-1][supervised]), following[supervised]


def _spans(states_CLE: Tensor, row_R: Tensor, obj_R: Tensor, seg_R: Tensor) -> tuple[Tensor, Tensor]:
    """States from `[OBJ]` to `[SEG]` (R, S, E), right-padded, and the mask of real tokens (R, S)."""
    lengths = seg_R - obj_R + 1
    steps = torch.arange(int(lengths.max()))
    at = (obj_R[:, None] + steps).clamp(max=states_CLE.shape[1] - 1)
    return states_CLE[row_R[:, None], at], steps < lengths[:, None]


def _presence(
    model: Miras, batch: DialogueBatch, features: ImageFeatures, span_RSE: Tensor, words_RS: Tensor
) -> tuple[Tensor, Tensor]:
    """Presence logits (N,) and whether the thing is there (N,): regions on their own photo and on those
    they are surely not on, probes on their own."""
    prompts, match = model.alignment(span_RSE, words_RS)
    region, photo = batch.absent_RC.nonzero().unbind(1)
    asked = [torch.arange(len(prompts)), region]
    on = [batch.regions.photo_R, photo]
    probes = batch.probes
    if len(probes.photo_P):
        _, states = model.instruction(model.embed(probes.ids_PL, features.visual_BND[probes.photo_P]))
        probed = model.alignment(*_spans(states, torch.arange(len(probes.photo_P)), probes.obj_P, probes.seg_P))
        asked.append(torch.arange(len(probes.photo_P)) + len(prompts))
        on.append(probes.photo_P)
        prompts, match = torch.cat([prompts, probed[0]]), torch.cat([match, probed[1]])
    at, photos = torch.cat(asked), torch.cat(on)
    there = (torch.arange(len(at)) < len(span_RSE)).float()
    return model.alignment.presence(prompts[at], match[at], features.pixels_BChw[photos]), there


def _memory(batch: DialogueBatch, tokens_RKD: Tensor) -> tuple[Tensor, Tensor]:
    """Mask tokens of the earlier regions of each region (R, M, D), and which are real (R, M)."""
    regions, slots, _ = tokens_RKD.shape
    most = max((len(before) for before in batch.earlier), default=0)
    at = torch.zeros(regions, most, dtype=torch.long)
    real = torch.zeros(regions, most, dtype=torch.bool)
    for r, before in enumerate(batch.earlier):
        at[r, : len(before)] = torch.tensor(before, dtype=torch.long)
        real[r, : len(before)] = True
    return tokens_RKD[at].flatten(1, 2), real.repeat_interleave(slots, 1)


def _text(logits_TV: Tensor, labels_T: Tensor, vocab: int, special: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted cross-entropy, share of right tokens, share of right special tokens."""
    each = torch.nn.functional.cross_entropy(logits_TV, labels_T, reduction="none")
    is_special = labels_T >= vocab
    weight = torch.where(is_special, special, 1.0)
    hits = (logits_TV.detach().argmax(-1) == labels_T).float()
    return (each * weight).sum() / weight.sum(), hits.mean(), hits[is_special].mean()
