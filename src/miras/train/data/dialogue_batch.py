"""Photos with conversations about them, as the tensors of one step of stage 2.

In: items (pixels, conversations, masks), the grammar, what is seen of the history. Out: a `DialogueBatch`. Masks of the
history are the data set's, sometimes spoiled, and their tokens are dropped at random, so that memory is not
over-trusted. Knows no model and no loss.
B photos, C conversations, P probes, L tokens, R regions, M earlier regions, W lines of text, S runs of mask slots,
Q places that point, N mentions of regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miras.core.errors import InputError
from miras.core.grammar import IGNORE, TEMPLATES, Encoded, Encoder, Place, render
from miras.core.recall import ranks, told
from miras.core.selection import Steps, follow
from miras.core.text_regions import TextRegion
from miras.core.types import Conversation
from miras.data.dialogues import sampler
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge
from miras.model.visual_parsing import Views, VisualParsing
from miras.train.data.packing import Packing, packing_of
from miras.train.data.photos import Item
from miras.train.data.targets import Prompted, Regions, collate, cover, no_points, prompt, spoil

Reader = Callable[[NDArray[np.uint8]], Sequence[TextRegion]]
"""The lines of text in a photo (H, W, 3) uint8 RGB."""
Tag = Callable[[NDArray[np.uint8], str], Sequence[str]]
"""Names of what a view (H, W, 3) uint8 RGB of the photo of this name seems to show."""


@dataclass(frozen=True)
class History:
    """What a conversation sees of its earlier masks.

    mode: "gold", the data set's; "own", the running model's; "mixed", the model's in a share `own` of the
    batches (such a batch is read twice). hidden: how often the selection shown to the decoder is left out; spoiled:
    how often a gold mask is; blank: how often the mask tokens of a region carry nothing; hand: how often a region
    is prompted by hand as in a refinement. forgotten: how often, for a model that points, the first exchanges have left
    the context and what they named stands in the opening. memory False: no earlier mask is seen at all (ablation).
    """

    mode: Literal["gold", "own", "mixed"] = "gold"
    own: float = 0.3
    hidden: float = 0.3
    spoiled: float = 0.3
    blank: float = 0.15
    hand: float = 0.2
    forgotten: float = 0.1
    memory: bool = True


@dataclass
class Probes:
    """Single exchanges that name a thing which photo_P does not show; obj_P, seg_P: where."""

    ids_PL: Tensor
    photo_P: Tensor
    obj_P: Tensor
    seg_P: Tensor


@dataclass
class Pointers:
    """Where regions of earlier turns are meant again, and all that is mentioned in those conversations.

    row: the conversation. obj, ref: places of `[OBJ]` and `[REF]`. region: number of the region that is meant, or
    mentioned; end_N: place of `[SEG]` or `[REF]`. may_QN: what can be pointed at: mentions before it of regions that an
    earlier turn drew. first_QN, newest_QN: see `model.pointer`.
    """

    row_Q: Tensor
    obj_Q: Tensor
    ref_Q: Tensor
    region_Q: Tensor
    row_N: Tensor
    obj_N: Tensor
    end_N: Tensor
    region_N: Tensor
    may_QN: Tensor
    first_QN: Tensor
    newest_QN: Tensor


@dataclass
class DialogueBatch:
    """C conversations about B photos, right-padded. Regions stand in reading order over all conversations.

    photo_C: the photo of each conversation: several share one image encoding. row_R: the conversation of
    each region; regions.photo_R: its photo. obj_R, seg_R: places of `[OBJ]` and `[SEG]`. absent_RB: region r is
    surely not on photo b. slot_R1ss: what fills the mask slots. blank_R: slots that carry nothing. earlier_RM:
    numbers of the regions of its conversation before each region, -1 where there are no more. own_C: which
    conversations see the model's own masks. fixed_R: the selection shown to the decoder stays as it is
    (prompted by hand, or left out). line_W1ss, line_photo_W: the lines of text that stand in the opening of every
    conversation about their photo. slots_S: what fills the mask slots in reading order, a region's number, or R more
    than a line's. pointers: where earlier regions are meant again. names: the photos, for messages.
    packing: how the language model reads several conversations in a row; None: a row each.
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
    line_W1ss: Tensor
    line_photo_W: Tensor
    slots_S: Tensor
    pointers: Pointers
    phrases: list[str]
    talks: list[Conversation]
    names: list[str]
    packing: Packing | None = None


def dialogue_batch(
    items: Sequence[Item], grammar: Encoder, template: str, parsing: VisualParsing, rng: np.random.Generator,
    history: History = History(), read: Reader | None = None, tag: Tag | None = None, probes: float = 0.5,
    pack: int = 0,
) -> DialogueBatch:  # fmt: skip
    """Photos with their conversations as tensors; masks on a grid of a quarter of the detail view.

    read, tag: find the lines of text and the tags that stand in the openings; None: nothing stands there. probes: of a
    photo, on average; they have bare openings. pack: most tokens of a row of several conversations; 0: a row each.
    """
    side = parsing.mask_side
    rows = _Rows()
    missing = [Scene(item.photo, knowledge.load()).absent if item.photo else ([], []) for item in items]
    absent = [{*hard, *easy} for hard, easy in missing]
    own = bool(rng.random() < {"gold": 0.0, "own": 1.0, "mixed": history.own}[history.mode])
    for photo, item in enumerate(items):
        written = read(item.pixels) if read else ()
        first = len(rows.lines)
        rows.lines += [cover(line.mask((item.pixels.shape[0], item.pixels.shape[1])), side) for line in written]
        rows.line_photos += [photo] * len(written)
        titles = [line.title for line in written]
        tags = tag(item.pixels, item.name) if tag else ()
        for recorded in item.conversations:
            talk = told(recorded, points=grammar.points, complements=grammar.complements)
            if talk is None:
                continue
            kept, lost = _forgotten(talk, rng, history.forgotten) if grammar.points else (talk, [])
            spans = render(
                kept, TEMPLATES[template], written=titles, tags=tags, points=grammar.points, remembered=lost
            )  # fmt: skip
            rows.talks.append(talk)
            rows.photos.append(photo)
            rows.encoded.append(grammar.encode(spans))
            numbers = {region.id: len(rows.targets) + number for number, region in enumerate(talk.regions)}
            rows.order += [(True, line) for line in range(first, len(rows.lines))]
            rows.order += [(False, numbers[place.region]) for place in rows.encoded[-1].mentions]
            rows.numbers.append(numbers)
            _add_regions(rows, talk, side, rng, history, own)
    if not rows.encoded:
        got = "conversations that begin with all but something"
        raise InputError("conversations that this model can be taught", got, "set start.complements=true")
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
        _probes(items, missing, grammar, template, rng, probes),
        torch.tensor([[phrase in names for names in absent] for phrase in rows.phrases]).reshape(-1, len(items)).bool(),
        _grids(rows.slots, side),
        torch.tensor(rows.blank, dtype=torch.bool),
        torch.tensor([before + [-1] * (most - len(before)) for before in rows.earlier])
        .reshape(len(rows.row), most)
        .long(),
        torch.full((len(rows.talks),), own),
        torch.tensor(rows.fixed, dtype=torch.bool),
        _grids(rows.lines, side),
        torch.tensor(rows.line_photos, dtype=torch.long),
        torch.tensor([is_line * len(rows.row) + number for is_line, number in rows.order], dtype=torch.long),
        _pointers(rows.encoded, rows.numbers),
        rows.phrases,
        rows.talks,
        [item.name for item in items],
        packing_of([len(e) for e in rows.encoded], pack),
    )


@dataclass
class _Rows:
    """What `dialogue_batch` gathers: lists with one entry a conversation, then with one a region, then with one a line
    of text. order: of the mask slots, (whether it is a line, its number). numbers: of the regions, by their ids in the
    conversation."""

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
    lines: list[NDArray[np.float32]] = field(default_factory=list)
    line_photos: list[int] = field(default_factory=list)
    order: list[tuple[bool, int]] = field(default_factory=list)
    numbers: list[dict[int, int]] = field(default_factory=list)


def _grids(covers: Sequence[NDArray[np.float32]], side: int) -> Tensor:
    """Binary masks (N, 1, side, side) of covered shares; there may be none."""
    grids = np.array(covers, np.float32).reshape(-1, 1, side, side)
    return (torch.from_numpy(grids) > 0.5).float()


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


def _forgotten(
    talk: Conversation, rng: np.random.Generator, share: float
) -> tuple[Conversation, list[tuple[int, str]]]:
    """What stays of a conversation in a context, and the regions (id, phrase) of what has left it."""
    count = len(talk.turns) // 2
    if count < 2 or rng.random() >= share:
        return talk, []
    first = 2 * int(rng.integers(1, count))
    lost = [(region.id, region.phrase) for turn in talk.turns[:first] for region in turn.regions]
    return Conversation(talk.turns[first:]), lost


def _pointers(encoded: Sequence[Encoded], numbers: Sequence[dict[int, int]]) -> Pointers:
    """numbers: for each conversation, region id -> number of the region."""
    asked, mentions = list[tuple[int, int, int, int]](), list[tuple[int, int, int, int]]()
    may, first, newest = list[list[bool]](), list[list[int]](), list[list[int]]()
    for row, (ids, number) in enumerate(zip(encoded, numbers, strict=True)):
        if not ids.pointers:
            continue
        before = len(mentions)
        mentioned = ids.mentions
        drawn = {place.region: place.turn for place in ids.places}
        mentions += [(row, place.obj, place.seg, number[place.region]) for place in mentioned]
        for place in ids.pointers:
            asked.append((row, place.obj, place.seg, number[place.region]))
            here = [one.seg < place.obj and drawn[one.region] < place.turn for one in mentioned]
            order = ranks([one.region for one, counts in zip(mentioned, here, strict=True) if counts])
            for table, ranked in zip((first, newest), order, strict=True):
                left = iter(ranked)
                table.append([0] * before + [next(left) if counts else 0 for counts in here])
            may.append([False] * before + here)
    width = len(mentions)
    tables = [
        torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.long).reshape(len(asked), width)
        for rows in (may, first, newest)
    ]
    row_Q, obj_Q, ref_Q, region_Q = torch.tensor(asked, dtype=torch.long).reshape(-1, 4).unbind(1)
    row_N, obj_N, end_N, region_N = torch.tensor(mentions, dtype=torch.long).reshape(-1, 4).unbind(1)
    return Pointers(
        row_Q, obj_Q, ref_Q, region_Q, row_N, obj_N, end_N, region_N, tables[0].bool(), tables[1], tables[2]
    )  # fmt: skip


def _probes(
    items: Sequence[Item], missing: list[tuple[list[str], list[str]]], grammar: Encoder, template: str,
    rng: np.random.Generator, probes: float,
) -> Probes:  # fmt: skip
    """probes: of a photo, on average."""
    rows = []
    for photo, item in enumerate(items):
        if item.photo is None:
            continue
        for _ in range(int(probes) + (rng.random() < probes % 1)):
            talk = sampler.probe(item.photo, missing[photo], rng)
            if talk is None:
                break
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
    after: list[Steps] = [steps for _, steps in follow(talk.turns)]
    replies = [i for i, turn in enumerate(talk.turns) if turn.role == "assistant"]
    shown: dict[int, NDArray[np.float32] | None] = {}
    for i, steps in zip(replies, [(), *after], strict=False):
        current = steps[-1] if steps else None
        shown[i] = cover(current.mask, side) if current is not None and current.expression else None
    return shown
