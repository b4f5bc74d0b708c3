"""Stage 2, instruction tuning: the whole model learns dialogues.

In: photos with conversations about them. Out: the loss parts of a batch. Masks of the history are the data
set's, sometimes spoiled, or the running model's own, and their tokens are dropped at random, so that memory
is not over-trusted. Source: paper, stage 2.
Presence is learnt from phrases on the other photos of the batch, and from probes: an answer that names
a thing that is not there, as the model would when it looks before it refuses.
B photos, C conversations, P probes, L tokens, R regions, K mask tokens, M memory tokens,
T supervised tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miras.core.grammar import IGNORE, REJ, SEG, TEMPLATES, Encoded, Encoder, Place, render
from miras.core.selection import Steps, advance
from miras.core.types import Conversation
from miras.data import dialogues, knowledge
from miras.data.scene import Scene
from miras.model.miras import Miras
from miras.model.visual_encoders import ImageFeatures, pool_by_mask
from miras.model.visual_parsing import Views, VisualParsing
from miras.train import losses, reasoning_losses
from miras.train.photos import Item
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
    boundary: float = 0.0
    consistency: float = 0.0
    refusal: float = 0.0
    operators: float = 0.0


@dataclass(frozen=True)
class History:
    """What a conversation sees of its earlier masks.

    mode: "gold", the data set's; "own", the running model's; "mixed", the model's in a share `own` of the
    batches (such a batch is read twice). hidden: how often the selection shown to the decoder is left out; spoiled:
    how often a gold mask is; blank: how often the mask tokens of a region carry nothing; hand: how often a region
    is prompted by hand as in a refinement. memory False: no earlier mask is seen at all (ablation).
    """

    mode: Literal["gold", "own", "mixed"] = "gold"
    own: float = 0.3
    hidden: float = 0.3
    spoiled: float = 0.3
    blank: float = 0.15
    hand: float = 0.2
    memory: bool = True


@dataclass
class Probes:
    """Single exchanges that name a thing which photo_P does not show; obj_P, seg_P: where."""

    ids_PL: Tensor
    photo_P: Tensor
    obj_P: Tensor
    seg_P: Tensor


@dataclass
class DialogueBatch:
    """C conversations about B photos, right-padded. Regions stand in reading order over all conversations.

    photo_C: the photo of each conversation: several share one image encoding. row_R: the conversation of
    each region; regions.photo_R: its photo. obj_R, seg_R: places of `[OBJ]` and `[SEG]`. absent_RB: region r is
    surely not on photo b. slot_R1ss: what fills the mask slots. blank_R: slots that carry nothing. earlier_RM:
    numbers of the regions of its conversation before each region, -1 where there are no more. own_C: which
    conversations see the model's own masks. fixed_R: the selection shown to the decoder stays as it is
    (prompted by hand, or left out). names: the photos, for messages.
    """

    views: Views
    ids_CL: Tensor
    labels_CL: Tensor
    photo_C: Tensor
    regions: Regions
    row_R: Tensor
    obj_R: Tensor
    seg_R: Tensor
    probes: Probes
    absent_RB: Tensor
    slot_R1ss: Tensor
    blank_R: Tensor
    earlier_RM: Tensor
    own_C: Tensor
    fixed_R: Tensor
    phrases: list[str]
    talks: list[Conversation]
    names: list[str]


def dialogue_batch(
    items: Sequence[Item], grammar: Encoder, template: str, parsing: VisualParsing, rng: np.random.Generator,
    history: History = History(),
) -> DialogueBatch:  # fmt: skip
    """Photos with their conversations as tensors; masks on a grid of a quarter of the detail view."""
    side = parsing.detail_size // 4
    rows = _Rows()
    missing = [Scene(item.photo, knowledge.load()).absent if item.photo else ([], []) for item in items]
    absent = [{*hard, *easy} for hard, easy in missing]
    own = bool(rng.random() < {"gold": 0.0, "own": 1.0, "mixed": history.own}[history.mode])
    for photo, item in enumerate(items):
        for talk in item.conversations:
            rows.talks.append(talk)
            rows.photos.append(photo)
            rows.encoded.append(grammar.encode(render(talk, TEMPLATES[template])))
            _add_regions(rows, talk, side, rng, history, own)
    length = max(len(e) for e in rows.encoded)
    end = rows.encoded[0].ids[-1]
    most = max((len(before) for before in rows.earlier), default=0)
    return DialogueBatch(
        parsing([item.pixels for item in items]),
        torch.tensor([e.ids + [end] * (length - len(e)) for e in rows.encoded]),
        torch.tensor([e.labels + [IGNORE] * (length - len(e)) for e in rows.encoded]),
        torch.tensor(rows.photos),
        collate([rows.photos[row] for row in rows.row], rows.targets, rows.prompts, side),
        torch.tensor(rows.row, dtype=torch.long),
        torch.tensor([place.obj for place in rows.places], dtype=torch.long),
        torch.tensor([place.seg for place in rows.places], dtype=torch.long),
        _probes(items, missing, grammar, template, rng),
        torch.tensor([[phrase in names for names in absent] for phrase in rows.phrases]).reshape(-1, len(items)).bool(),
        torch.from_numpy(np.stack([*rows.slots, np.zeros((side, side), np.float32)])[:-1, None] > 0.5).float(),
        torch.tensor(rows.blank, dtype=torch.bool),
        torch.tensor([before + [-1] * (most - len(before)) for before in rows.earlier])
        .reshape(len(rows.row), most)
        .long(),
        torch.full((len(rows.talks),), own),
        torch.tensor(rows.fixed, dtype=torch.bool),
        rows.phrases,
        rows.talks,
        [item.photo.id if item.photo else "a recorded photo" for item in items],
    )


@dataclass
class _Rows:
    """What `dialogue_batch` gathers: lists with one entry a conversation, then with one a region."""

    talks: list[Conversation] = field(default_factory=list)
    photos: list[int] = field(default_factory=list)
    encoded: list[Encoded] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    targets: list[NDArray[np.float32]] = field(default_factory=list)
    prompts: list[Prompted] = field(default_factory=list)
    fixed: list[bool] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    slots: list[NDArray[np.float32]] = field(default_factory=list)
    blank: list[bool] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)
    earlier: list[list[int]] = field(default_factory=list)


def _add_regions(
    rows: _Rows, talk: Conversation, side: int, rng: np.random.Generator, history: History, own: bool
) -> None:
    """The regions of the last conversation of `rows`."""
    shown = selections(talk, side)
    first = len(rows.targets)
    for place, region in zip(rows.encoded[-1].places, talk.regions, strict=True):
        target = cover(region.mask, side)
        before = shown[region.turn]
        hidden = bool(rng.random() < history.hidden) or not history.memory
        if hidden:
            before = None
        elif before is not None and not own and rng.random() < history.spoiled:
            before = spoil(before, rng)
        by_hand = prompt(target, [], rng) if rng.random() < history.hand else None
        rows.earlier.append(list(range(first, len(rows.targets))) if history.memory else [])
        rows.row.append(len(rows.talks) - 1)
        rows.targets.append(target)
        rows.prompts.append(by_hand or Prompted(no_points(), before, True))
        rows.fixed.append(hidden or by_hand is not None)
        rows.places.append(place)
        rows.slots.append(spoil(target, rng) if rng.random() < history.spoiled else target)
        rows.blank.append(bool(rng.random() < history.blank) or not history.memory)
        rows.phrases.append(region.phrase)


def _probes(
    items: Sequence[Item], missing: list[tuple[list[str], list[str]]], grammar: Encoder, template: str,
    rng: np.random.Generator,
) -> Probes:  # fmt: skip
    rows = []
    for photo, item in enumerate(items):
        wanted = item.photo is not None and rng.random() < PROBED
        talk = dialogues.probe(item.photo, missing[photo], rng) if item.photo and wanted else None
        if talk is not None:
            written = grammar.encode(render(talk, TEMPLATES[template]))
            (place,) = written.places
            rows.append((written.ids[: place.seg + 1], photo, place.obj, place.seg))
    length = max((len(row[0]) for row in rows), default=0)
    ids = [row[0] + row[0][-1:] * (length - len(row[0])) for row in rows]
    return Probes(
        torch.tensor(ids), *torch.tensor([row[1:] for row in rows], dtype=torch.long).reshape(-1, 3).unbind(1)
    )


def selections(talk: Conversation, side: int) -> dict[int, NDArray[np.float32] | None]:
    """What is selected before each assistant turn, on the grid; None where nothing is."""
    shown: dict[int, NDArray[np.float32] | None] = {}
    steps: Steps = ()
    for i, turn in enumerate(talk.turns):
        if turn.role == "assistant":
            current = steps[-1] if steps else None
            shown[i] = cover(current.mask, side) if current is not None and current.expression else None
            steps = advance(steps, turn)
    return shown


def step(model: Miras, batch: DialogueBatch, weights: Weights) -> dict[str, Tensor]:
    """The loss parts of one batch, their weighted sum under "loss"."""
    features = model.image_encoder(batch.views)
    if batch.own_C.any() and len(batch.row_R):
        batch = own_history(model, batch, features)
    drawn = _draw(model, batch, features)
    regions = batch.regions
    parts = _text_parts(model, batch, drawn, weights)
    seen, there = _presence(model, batch, features, drawn)
    mask_loss, iou_loss = losses.candidates(drawn.logits_RMss.float(), drawn.iou_RM, regions.target_Rss)
    parts |= {"mask": mask_loss, "iou": iou_loss, "presence": losses.presence(seen, there)}
    real = drawn.words_RS.any(1)
    parts["prior"] = losses.prior(drawn.prior_Rhw, regions.target_Rss, real)
    pixels = features.select(regions.photo_R).pixels_BChw
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
    parts["loss"] = sum(getattr(weights, name) * value for name, value in parts.items() if hasattr(weights, name))
    right = ((seen.detach() > 0) == (there > 0.5)).float()
    parts["presence_hits"] = losses.mean(right[there > 0.5])
    parts["absence_hits"] = right[there < 0.5].mean() if (there < 0.5).any() else right.new_ones(())
    parts["train_iou"] = losses.mean(losses.hard_iou(drawn.logits_RMss[:, 0], regions.target_Rss).float())
    return parts


@dataclass
class _Drawn:
    """One reading of a batch: the language model's last states, the words of each region and its masks."""

    last_CLD: Tensor
    span_RSE: Tensor
    spoken_RS: Tensor
    words_RS: Tensor
    match_RE: Tensor
    prior_Rhw: Tensor
    logits_RMss: Tensor
    iou_RM: Tensor


def _draw(model: Miras, batch: DialogueBatch, features: ImageFeatures) -> _Drawn:
    regions = batch.regions
    chosen = features.select(regions.photo_R)
    tokens_RKD = model.mask_encoder.tokens(chosen.pixels_BChw, batch.slot_R1ss)
    tokens_RKD = tokens_RKD * (~batch.blank_R)[:, None, None]
    embeds = model.embed(batch.ids_CL, features.visual_BND[batch.photo_C], tokens_RKD.flatten(0, 1))
    last, states = model.instruction(embeds)
    span, spoken = _spans(states, batch.row_R, batch.obj_R, batch.seg_R)
    words = spoken & regions.words_R[:, None]
    memory, present = _memory(batch.earlier_RM, tokens_RKD)
    prompts, match = model.alignment(span, words, memory, present)
    prior = model.alignment.prior(match, chosen.pixels_BChw, words.any(1))
    dense = model.mask_encoder.dense(regions.shown_R1ss, regions.present_R)
    logits, iou = model.decoder(
        prompts, chosen.pixels_BChw, chosen.fine8_BChw, chosen.fine4_BChw, dense, prior, regions.points_RQ3
    )
    return _Drawn(last, span, spoken, words, match, prior, logits, iou)


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
    """(R, R) True where two regions carry the same phrase, or cover much the same of the same photo."""
    phrases = (
        torch.tensor([[a == b for b in batch.phrases] for a in batch.phrases])
        .reshape(len(batch.phrases), len(batch.phrases))
        .bool()
    )
    flat = (batch.regions.target_Rss > 0.5).flatten(1).float()
    inside = flat @ flat.T
    union = flat.sum(1)[:, None] + flat.sum(1)[None] - inside
    photo = batch.regions.photo_R
    overlap = (inside > 0.7 * union) & (photo[:, None] == photo[None])
    return phrases.to(overlap.device) | overlap


def _text_parts(model: Miras, batch: DialogueBatch, drawn: _Drawn, weights: Weights) -> dict[str, Tensor]:
    """Cross-entropy of the replies and the terms on what each reply decides."""
    logits_TV, labels_T = _predictions(model, batch, drawn.last_CLD)
    loss, hits, special_hits = _text(logits_TV.float(), labels_T, model.instruction.vocab_size, weights.special)
    parts = {"text": loss, "token_hits": hits, "special_hits": special_hits}
    ids = reasoning_losses.operator_ids(model.grammar)
    rows, columns, operator_N = reasoning_losses.decisions(batch.labels_CL, model.grammar.id(SEG), ids)
    logits_NV = model.instruction.logits(drawn.last_CLD[rows, columns]).float()
    if weights.refusal:
        refuse_N = operator_N == reasoning_losses.REFUSES
        parts["refusal"] = reasoning_losses.refusal(logits_NV, refuse_N, model.grammar.id(REJ))
    operator_loss, operator_hits = reasoning_losses.operators(logits_NV, operator_N, ids)
    if weights.operators:
        parts["operators"] = operator_loss
    asked = operator_N > 0
    return parts | {"operator_hits": operator_hits[asked].mean() if asked.any() else operator_hits.new_ones(())}


def _predictions(model: Miras, batch: DialogueBatch, last_CLD: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (T, V) where the next token is supervised, and those tokens (T,)."""
    following = batch.labels_CL[:, 1:]
    supervised = following != IGNORE
    return model.instruction.logits(last_CLD[:, :-1][supervised]), following[supervised]


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
    region, photo = batch.absent_RB.nonzero().unbind(1)
    device = prompts.device
    asked = [torch.arange(len(prompts), device=device), region]
    on = [batch.regions.photo_R, photo]
    probes = batch.probes
    if len(probes.photo_P):
        rows = torch.arange(len(probes.photo_P), device=device)
        _, states = model.instruction(model.embed(probes.ids_PL, features.visual_BND[probes.photo_P]))
        probed = model.alignment(*_spans(states, rows, probes.obj_P, probes.seg_P))
        asked.append(rows + len(prompts))
        on.append(probes.photo_P)
        prompts, match = torch.cat([prompts, probed[0]]), torch.cat([match, probed[1]])
    at, photos = torch.cat(asked), torch.cat(on)
    there = (torch.arange(len(at), device=device) < len(drawn.span_RSE)).float()
    return model.alignment.presence(prompts[at], match[at], features.pixels_BChw[photos]), there


def _memory(earlier_RM: Tensor, tokens_RKD: Tensor) -> tuple[Tensor, Tensor]:
    """Mask tokens of the earlier regions of each region (R, M * K, D), and which are real (R, M * K)."""
    real = earlier_RM >= 0
    return tokens_RKD[earlier_RM.clamp_min(0)].flatten(1, 2), real.repeat_interleave(tokens_RKD.shape[1], 1)


def _text(logits_TV: Tensor, labels_T: Tensor, vocab: int, special: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted cross-entropy, share of right tokens, share of right special tokens."""
    each = torch.nn.functional.cross_entropy(logits_TV, labels_T, reduction="none")
    is_special = labels_T >= vocab
    weight = torch.where(is_special, special, 1.0)
    hits = (logits_TV.detach().argmax(-1) == labels_T).float()
    return (each * weight).sum() / weight.sum(), hits.mean(), hits[is_special].mean()
