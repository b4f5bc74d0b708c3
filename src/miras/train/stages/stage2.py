"""Stage 2, instruction tuning: the whole model learns dialogues.

In: a batch of conversations (`train.data.dialogue_batch`). Out: its loss parts. Masks of the history are the data
set's or the running model's own. Source: paper, stage 2.
Presence is learnt from phrases on the other photos of the batch, and from probes: an answer that names
a thing that is not there, as the model would when it looks before it refuses.
B photos, C conversations, P probes, L tokens, R regions, K mask tokens, M memory tokens, S runs of mask slots,
W lines of written text, T supervised tokens, V vocabulary, Q places that point, N mentions of regions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miras.core.grammar import IGNORE, REF, REJ, SEG
from miras.core.types import Conversation
from miras.data.language import knowledge
from miras.model.miras import Miras
from miras.model.pointer import by_region
from miras.model.visual_encoders import ImageFeatures, pool_by_mask
from miras.train.data.dialogue_batch import DialogueBatch, selections
from miras.train.stages import losses, reasoning_losses


@dataclass(frozen=True)
class Weights:
    """Weights of the loss parts. special, names: among the text, of operators, `[OBJ]` and `[SEG]`, and of the words
    of a name."""

    text: float = 1.0
    mask: float = 1.0
    iou: float = 0.5
    align: float = 0.1
    prior: float = 0.3
    presence: float = 0.5
    special: float = 2.0
    names: float = 1.0
    boundary: float = 0.0
    consistency: float = 0.0
    refusal: float = 0.0
    operators: float = 0.0
    heat: float = 0.0
    pointer: float = 0.5

    @property
    def draw(self) -> bool:
        """Whether a part needs masks; without, the conversations are read and nothing is drawn."""
        return any(
            (self.mask, self.iou, self.align, self.prior, self.presence, self.boundary, self.consistency, self.heat)
        )


def step(model: Miras, batch: DialogueBatch, weights: Weights) -> dict[str, Tensor]:
    """The loss parts of one batch, their weighted sum under "loss"."""
    features = model.look(batch.views)
    if batch.own_C.any() and len(batch.row_R):
        batch = own_history(model, batch, features)
    if not weights.draw:
        reading = _read(model, batch, features)
        return _summed(_text_parts(model, batch, reading.last_CLD, weights) | _pointed(model, batch, reading), weights)
    drawn = _draw(model, batch, features)
    regions = batch.regions
    parts = _text_parts(model, batch, drawn.reading.last_CLD, weights) | _pointed(model, batch, drawn.reading)
    seen, there = _presence(model, batch, features, drawn)
    mask_loss, iou_loss = losses.candidates(drawn.logits_RMss.float(), drawn.iou_RM, regions.target_Rss)
    parts |= {"mask": mask_loss, "iou": iou_loss, "presence": losses.presence(seen, there)}
    real = drawn.words_RS.any(1)
    parts["prior"] = losses.prior(drawn.prior_Rhw, regions.target_Rss, real)
    if drawn.heat_Rhw is not None and weights.heat:
        parts["heat"] = losses.prior(drawn.heat_Rhw, regions.target_Rss, real)
    pixels = features.pixels_BChw[regions.photo_R]
    match_pixels = model.alignment.match(pool_by_mask(pixels, regions.target_Rss[:, None]))
    same = _same(batch).to(match_pixels.device)
    parts["align"] = losses.info_nce(
        drawn.match_RE[real], match_pixels[real], model.alignment.match_scale, same[real][:, real]
    )
    if weights.boundary:
        parts["boundary"] = losses.mean(losses.boundary(drawn.logits_RMss[:, 0], regions.target_Rss))
    if weights.consistency:
        map_RhwE = model.alignment.match(pixels.movedim(1, -1))
        parts["consistency"] = reasoning_losses.consistency(
            drawn.match_RE, map_RhwE.movedim(-1, 1), drawn.logits_RMss[:, 0], same,
            model.alignment.match_scale.detach(), real,
        )  # fmt: skip
    parts = _summed(parts, weights)
    right = ((seen.detach() > 0) == (there > 0.5)).float()
    parts["presence_hits"] = losses.mean(right[there > 0.5])
    parts["absence_hits"] = right[there < 0.5].mean() if (there < 0.5).any() else right.new_ones(())
    parts["train_iou"] = losses.mean(losses.hard_iou(drawn.logits_RMss[:, 0], regions.target_Rss).float())
    return parts


def _summed(parts: dict[str, Tensor], weights: Weights) -> dict[str, Tensor]:
    """The parts and their weighted sum."""
    weighted = [getattr(weights, name) * value for name, value in parts.items() if hasattr(weights, name)]
    return parts | {"loss": torch.stack(weighted).sum()}


@dataclass
class _Reading:
    """A batch as the language model reads it: its last states, those that the alignment reads, mask tokens."""

    last_CLD: Tensor
    states_CLE: Tensor
    tokens_RKD: Tensor


def _read(model: Miras, batch: DialogueBatch, features: ImageFeatures) -> _Reading:
    tokens_RKD = model.mask_encoder.tokens(features.pixels_BChw[batch.regions.photo_R], batch.slot_R1ss)
    tokens_RKD = tokens_RKD * (~batch.blank_R)[:, None, None]
    tokens_WKD = model.mask_encoder.tokens(features.pixels_BChw[batch.line_photo_W], batch.line_W1ss)
    slots_SKD = torch.cat([tokens_RKD, tokens_WKD])[batch.slots_S]
    embeds = model.embed(batch.ids_CL, features.visual_BND[batch.photo_C], slots_SKD.flatten(0, 1))
    if batch.packing is None:
        last_CLD, states_CLE = model.instruction(embeds)
    else:
        packing = batch.packing
        last_RPD, states_RPE = model.instruction(packing.packed(embeds), positions_BL=packing.positions_RP)
        last_CLD, states_CLE = packing.unpacked(last_RPD), packing.unpacked(states_RPE)
    return _Reading(last_CLD, states_CLE, tokens_RKD)


@dataclass
class _Drawn:
    """One reading of a batch: the words of each region and its masks."""

    reading: _Reading
    span_RSE: Tensor
    spoken_RS: Tensor
    words_RS: Tensor
    match_RE: Tensor
    prior_Rhw: Tensor
    heat_Rhw: Tensor | None
    logits_RMss: Tensor
    iou_RM: Tensor


def _draw(model: Miras, batch: DialogueBatch, features: ImageFeatures) -> _Drawn:
    regions = batch.regions
    chosen = features.select(regions.photo_R)
    reading = _read(model, batch, features)
    places = _places(model, batch.ids_CL, batch.obj_R, batch.seg_R)
    span, spoken = _spans(reading.states_CLE, batch.row_R, *places)
    words = spoken & regions.words_R[:, None]
    memory, present = _memory(batch.earlier_RM, reading.tokens_RKD)
    prompts, match = model.alignment(span, words, memory, present)
    prior = model.alignment.prior(match, chosen.pixels_BChw, words.any(1))
    heat = model.heat(chosen, span, words)
    shown, present = regions.shown_R1ss, regions.present_R
    logits, iou = model.draw(prompts, chosen, shown, present, prior, regions.points_RQ3, heat)
    return _Drawn(reading, span, spoken, words, match, prior, heat, logits, iou)


@torch.no_grad()
def own_history(model: Miras, batch: DialogueBatch, features: ImageFeatures) -> DialogueBatch:
    """The batch with the running model's masks in the history of the conversations of own_C.

    The model first draws every region with the history it was given; those masks then fill the slots, and
    the selections shown to the decoder follow from them by the same set algebra as in a session.
    """
    drawn = _draw(model, batch, features)
    masks_Rss = drawn.logits_RMss[:, 0] > 0
    own_R = batch.own_C[batch.row_R]
    slots = torch.where(own_R[:, None, None, None], masks_Rss[:, None].float(), batch.slot_R1ss)
    shown, present = batch.regions.shown_R1ss.clone(), batch.regions.present_R.clone()
    grids = masks_Rss.cpu().numpy()
    side = grids.shape[-1]
    first = 0
    for row, talk in enumerate(batch.talks):
        count = len(talk.regions)
        if batch.own_C[row] and count:
            before = selections(_redrawn(talk, grids[first : first + count]), side)
            for r, region in enumerate(talk.regions, first):
                grid = before[region.turn]
                if not batch.fixed_R[r]:
                    present[r] = grid is not None and bool((grid > 0.5).any())
                    shown[r, 0] = torch.from_numpy(grid > 0.5).float() if grid is not None else 0.0
        first += count
    regions = replace(batch.regions, shown_R1ss=shown, present_R=present)
    return replace(batch, regions=regions, slot_R1ss=slots)


def _redrawn(talk: Conversation, grids_Rss: NDArray[np.bool_]) -> Conversation:
    """The conversation with other masks, on the grid."""
    masks = iter(grids_Rss)
    turns = tuple(
        replace(turn, regions=tuple(replace(region, mask=next(masks)) for region in turn.regions))
        for turn in talk.turns
    )
    return Conversation(turns)


def _same(batch: DialogueBatch) -> Tensor:
    """(R, R) True where two regions carry phrases of what may be the same, or cover much the same of the same photo."""
    may_be = knowledge.load().may_be
    phrases = (
        torch.tensor([[may_be(a, b) for b in batch.phrases] for a in batch.phrases])
        .reshape(len(batch.phrases), len(batch.phrases))
        .bool()
    )
    flat = (batch.regions.target_Rss > 0.5).flatten(1).float()
    inside = flat @ flat.T
    union = flat.sum(1)[:, None] + flat.sum(1)[None] - inside
    photo = batch.regions.photo_R
    overlap = (inside > 0.7 * union) & (photo[:, None] == photo[None])
    return phrases.to(overlap.device) | overlap


def _text_parts(model: Miras, batch: DialogueBatch, last_CLD: Tensor, weights: Weights) -> dict[str, Tensor]:
    """Cross-entropy of the replies and the terms on what each reply decides."""
    logits_TV, labels_T, named_T = _predictions(model, batch, last_CLD)
    special_T = labels_T >= model.instruction.vocab_size
    weight_T = torch.where(special_T, weights.special, torch.where(named_T, weights.names, 1.0))
    each_T = torch.nn.functional.cross_entropy(logits_TV.float(), labels_T, reduction="none")
    hits_T = (logits_TV.detach().argmax(-1) == labels_T).float()
    parts = {"text": (each_T * weight_T).sum() / weight_T.sum(), "token_hits": hits_T.mean()}
    parts |= {"special_hits": hits_T[special_T].mean(), "name_hits": losses.mean(hits_T[named_T])}
    ids = reasoning_losses.operator_ids(model.grammar)
    rows, columns, operator_N = reasoning_losses.decisions(
        batch.labels_CL, [model.grammar.id(end) for end in (SEG, REF)], ids
    )
    logits_NV = model.instruction.logits(last_CLD[rows, columns]).float()
    if weights.refusal:
        refuse_N = operator_N == reasoning_losses.REFUSES
        parts["refusal"] = reasoning_losses.refusal(logits_NV, refuse_N, model.grammar.id(REJ))
    operator_loss, operator_hits = reasoning_losses.operators(logits_NV, operator_N, ids)
    if weights.operators:
        parts["operators"] = operator_loss
    asked = operator_N > 0
    return parts | {"operator_hits": operator_hits[asked].mean() if asked.any() else operator_hits.new_ones(())}


def _pointed(model: Miras, batch: DialogueBatch, reading: _Reading) -> dict[str, Tensor]:
    """Cross-entropy of what is meant again, over the regions that could be; nothing for a model that does not point."""
    if model.pointer is None:
        return {}
    at, states_CLE = batch.pointers, reading.states_CLE
    if not len(at.region_Q):  # every parameter has a gradient, of zero
        nothing = torch.stack([parameter.float().sum() for parameter in model.pointer.parameters()]).sum() * 0
        return {"pointer": nothing, "pointer_hits": nothing.detach() + 1}
    scores_QN = model.pointer(
        *_spans(states_CLE, at.row_Q, at.obj_Q, at.ref_Q), *_spans(states_CLE, at.row_N, at.obj_N, at.end_N),
        states_CLE[at.row_N, at.end_N + model.config.mask_tokens], reading.tokens_RKD[at.region_N],
        at.first_QN, at.newest_QN,
    )  # fmt: skip
    right_Q = by_region(scores_QN, at.may_QN, at.region_N, at.region_Q)
    with torch.no_grad():
        each_NQ = torch.stack([
            by_region(scores_QN, at.may_QN, at.region_N, region.expand_as(at.region_Q)) for region in at.region_N
        ])  # fmt: skip
    hits_Q = right_Q.detach() >= each_NQ.amax(0) - 1e-6
    return {"pointer": -right_Q.mean(), "pointer_hits": hits_Q.float().mean()}


def _predictions(model: Miras, batch: DialogueBatch, last_CLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (T, V) where the next token is supervised, those tokens (T,), and which are words of a name (T,)."""
    following = batch.labels_CL[:, 1:]
    supervised = following != IGNORE
    steps = torch.arange(1, batch.ids_CL.shape[1], device=following.device)
    at = batch.pointers
    row, obj, end = (
        torch.cat(pair)
        for pair in ((batch.row_R, at.row_Q), (batch.obj_R, at.obj_Q), (batch.seg_R, at.ref_Q))
    )  # fmt: skip
    inside_RL = (steps > obj[:, None]) & (steps < end[:, None])
    named_CL = torch.zeros_like(following).index_add_(0, row, inside_RL.long()) > 0
    return model.instruction.logits(last_CLD[:, :-1][supervised]), following[supervised], named_CL[supervised]


def _places(model: Miras, ids_CL: Tensor, obj_R: Tensor, seg_R: Tensor) -> tuple[Tensor, Tensor]:
    """Where the words of each region begin and end; with `paper_bugs` the wrong place, the same for all."""
    at = model.misread(ids_CL[0].tolist()) if len(ids_CL) else None
    return (obj_R, seg_R) if at is None else (torch.full_like(obj_R, at), torch.full_like(seg_R, at))


def _spans(states_CLE: Tensor, row_R: Tensor, obj_R: Tensor, seg_R: Tensor) -> tuple[Tensor, Tensor]:
    """States from `[OBJ]` to `[SEG]` (R, S, E), right-padded, and the mask of real tokens (R, S)."""
    lengths = seg_R - obj_R + 1
    steps = torch.arange(int(lengths.max()) if len(lengths) else 1, device=lengths.device)
    at = (obj_R[:, None] + steps).clamp(max=states_CLE.shape[1] - 1)
    return states_CLE[row_R[:, None], at], steps < lengths[:, None]


def _presence(model: Miras, batch: DialogueBatch, features: ImageFeatures, drawn: _Drawn) -> tuple[Tensor, Tensor]:
    """Presence logits (N,) and whether the thing is there (N,): regions on their own photo and on those
    they are surely not on, probes on their own."""
    prompts, match = model.alignment(drawn.span_RSE, drawn.spoken_RS)
    known = _known(model, features, drawn.span_RSE, drawn.spoken_RS)
    region, photo = batch.absent_RB.nonzero().unbind(1)
    device = prompts.device
    asked = [torch.arange(len(prompts), device=device), region]
    on = [batch.regions.photo_R, photo]
    probes = batch.probes
    if len(probes.photo_P):
        rows = torch.arange(len(probes.photo_P), device=device)
        _, states = model.instruction(model.embed(probes.ids_PL, features.visual_BND[probes.photo_P]))
        spans = _spans(states, rows, *_places(model, probes.ids_PL, probes.obj_P, probes.seg_P))
        probed = model.alignment(*spans)
        asked.append(rows + len(prompts))
        on.append(probes.photo_P)
        prompts, match = torch.cat([prompts, probed[0]]), torch.cat([match, probed[1]])
        further = _known(model, features, *spans)
        if known is not None and further is not None:
            known = torch.cat([known, further])
    at, photos = torch.cat(asked), torch.cat(on)
    there = (torch.arange(len(at), device=device) < len(drawn.span_RSE)).float()
    facts = None if known is None else known[at, photos]
    return model.alignment.presence(prompts[at], match[at], features.pixels_BChw, photos, facts), there


def _known(model: Miras, features: ImageFeatures, span_RSE: Tensor, words_RS: Tensor) -> Tensor | None:
    """What ImageNet's classifier says of every phrase on every photo (R, B, FACTS); None without one."""
    photos = len(features.sizes)
    pairs = torch.cartesian_prod(torch.arange(len(span_RSE)), torch.arange(photos)).to(span_RSE.device)
    found = model.known(features, pairs[:, 1], span_RSE[pairs[:, 0]], words_RS[pairs[:, 0]])
    return None if found is None else found.unflatten(0, (len(span_RSE), photos))


def _memory(earlier_RM: Tensor, tokens_RKD: Tensor) -> tuple[Tensor, Tensor]:
    """Mask tokens of the earlier regions of each region (R, M * K, D), and which are real (R, M * K)."""
    real = earlier_RM >= 0
    return tokens_RKD[earlier_RM.clamp_min(0)].flatten(1, 2), real.repeat_interleave(tokens_RKD.shape[1], 1)
