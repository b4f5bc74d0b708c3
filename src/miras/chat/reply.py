"""What the system gives back for a turn.

In: an event and the state after it. Out: `Reply`, and the turn object that the commands print.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from miras.chat.state import Event, Exchange, State
from miras.core.masks import box_of, encode_rle
from miras.core.types import Mark, Mask, Operator, Region, Selection, Timings


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The reply to a message, or the outcome of `refine` (then user and text are empty).

    regions: named (or refined) by this turn, masks (H, W) bool in photo pixels, score = predicted
    IoU of the chosen candidate in 0..1, None for a mask that was given. selection: what is selected
    after it; an empty mask and expression "" when nothing is. certainty: probability of the kind of
    reply: that of the verdict, to select or to refuse, times that of the operator (or none) at its
    first token; None when nothing was generated. new_tokens: run through the language model for this
    turn, an attempt that was taken back among them. ids: what was generated, mask slots left out.
    """

    user: str
    text: str
    regions: tuple[Region, ...]
    selection: Selection
    operators: tuple[Operator, ...] = ()
    certainty: float | None = None
    timings: Timings = field(default_factory=Timings)
    new_tokens: int = 0
    ids: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The turn object of `miras ask --json`: plain lists, numbers and strings. Boxes XYXY, half-open."""
        seconds = {
            "prefill": self.timings.prefill, "generate": self.timings.generate,
            "segment": self.timings.segment, "total": self.timings.total,
        }  # fmt: skip
        return {
            "user": self.user,
            "text": self.text,
            "regions": [_region(region) for region in self.regions],
            "selection": {**_mask(self.selection.mask), "expression": self.selection.expression},
            "operators": [operator.value for operator in self.operators],
            "certainty": self.certainty,
            "new_tokens": self.new_tokens,
            "seconds": seconds,
        }


def reply_of(event: Event, after: State, size: tuple[int, int], mask_id: int) -> Reply:
    """The reply that an event gave. after: the state it led to. size: (H, W) of the photo."""
    change = event.change
    selection = after.selection(size)
    if isinstance(change, Region):
        return Reply("", "", (change,), selection, timings=event.timings, new_tokens=event.new_tokens)
    return _of_exchange(event, change, selection, mask_id)


def _of_exchange(event: Event, exchange: Exchange, selection: Selection, mask_id: int) -> Reply:
    reply = exchange.reply
    return Reply(
        user=exchange.user.text,
        text=reply.text,
        regions=reply.regions,
        selection=selection,
        operators=tuple(piece.operator for piece in reply.content if isinstance(piece, Mark)),
        certainty=event.certainty,
        timings=event.timings,
        new_tokens=event.new_tokens,
        ids=tuple(i for i in exchange.reply_ids if i != mask_id),
    )


def _mask(mask: Mask) -> dict[str, Any]:
    box = box_of(mask)
    return {"area": int(mask.sum()), "box_xyxy": None if box is None else list(box), "rle": encode_rle(mask)}


def _region(region: Region) -> dict[str, Any]:
    return {
        "id": region.id, "phrase": region.phrase, "score": region.score,
        "operator": region.operator.value, **_mask(region.mask),
        "alternatives": [{"phrase": other.phrase, "chance": round(other.chance, 3)} for other in region.alternatives],
    }  # fmt: skip
