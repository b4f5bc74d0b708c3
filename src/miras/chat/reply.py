"""What the system gives back for a turn.

In: an event and the state after it. Out: `Reply`, and the turn object that the commands print.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from miras.chat.hedge import hedged, unsure
from miras.chat.state import Choice, Event, Exchange, Spent, State
from miras.core.masks import box_of, encode_rle
from miras.core.types import Mark, Mask, Name, Operator, Region, Selection, Timings, Turn


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The reply to a message, or the outcome of `refine` or `select` (then user and text are empty).

    regions: named (or refined) by this turn, masks (H, W) bool in photo pixels, score = predicted
    IoU of the chosen candidate in 0..1, None for a mask that was given. selection: what is selected
    after it; an empty mask and expression "" when nothing is. certainty: probability of the kind of
    reply: that of selecting or refusing, times that of the operator (or none) at its
    first token; None when nothing was generated. new_tokens: run through the language model for this
    turn, an attempt that was taken back among them. ids: what was generated, mask slots left out. recalled: ids of
    those regions that an earlier turn drew and that are meant again: they are the same, pixel by pixel. roles: what
    each of the regions does here, in their order. unsure: a region that it draws has a score too low to be sure of;
    the text says so. spent: calls and tokens of a talker that is asked by calls; None for our own model.
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
    recalled: tuple[int, ...] = ()
    roles: tuple[Operator, ...] = ()
    unsure: bool = False
    spent: Spent | None = None

    def to_dict(self) -> dict[str, Any]:
        """The turn object of `miras ask --json`: plain lists, numbers and strings. Boxes XYXY, half-open."""
        seconds = {
            "prefill": self.timings.prefill, "generate": self.timings.generate,
            "segment": self.timings.segment, "total": self.timings.total,
            **({} if self.spent is None else {"look": self.timings.look}),
        }  # fmt: skip
        return {
            "user": self.user,
            "text": self.text,
            "regions": [
                _region(region, role, region.id in self.recalled)
                for region, role in zip(self.regions, self.roles or [r.operator for r in self.regions], strict=True)
            ],
            "selection": {**_mask(self.selection.mask), "expression": self.selection.expression},
            "operators": [operator.value for operator in self.operators],
            "certainty": self.certainty,
            "unsure": self.unsure,
            "new_tokens": self.new_tokens,
            "seconds": seconds,
            **({} if self.spent is None else {"spent": asdict(self.spent)}),
        }


def reply_of(
    event: Event, after: State, size: tuple[int, int], spoken: Callable[[Exchange], tuple[int, ...]],
    unsure_below: float = 0.0,
) -> Reply:  # fmt: skip
    """The reply that an event gave. after: the state it led to. size: (H, W) of the photo. spoken: the ids that were
    generated for an exchange, mask slots left out. unsure_below: score."""
    change = event.change
    selection = after.selection(size)
    if isinstance(change, Choice):
        return Reply("", "", (), selection, timings=event.timings)
    if isinstance(change, Region):
        return Reply(
            "", "", (change,), selection, timings=event.timings, new_tokens=event.new_tokens, spent=event.spent
        )
    known = {region.id: region for region in after.regions}
    named = tuple(known[number] for number in dict.fromkeys(change.reply.names))
    return _of_exchange(event, change, named, selection, spoken(change), unsure_below)


def _of_exchange(
    event: Event, exchange: Exchange, named: tuple[Region, ...], selection: Selection, ids: tuple[int, ...],
    below: float,
) -> Reply:  # fmt: skip
    reply = exchange.reply
    first_region = min((region.id for region in reply.regions), default=max((r.id for r in named), default=0) + 1)
    return Reply(
        user=exchange.user.text,
        text=hedged(reply.text, named, first_region, below),
        regions=named,
        selection=selection,
        operators=tuple(piece.operator for piece in reply.content if isinstance(piece, Mark)),
        certainty=event.certainty,
        timings=event.timings,
        new_tokens=event.new_tokens,
        ids=ids,
        recalled=tuple(dict.fromkeys(reply.recalled)),
        roles=_roles(reply, named),
        unsure=bool(unsure(reply.regions, below)),
        spent=event.spent,
    )


def _roles(reply: Turn, named: tuple[Region, ...]) -> tuple[Operator, ...]:
    """What each region does in a reply, as the operator before its name says."""
    operator, found = Operator.REPLACE, dict[int, Operator]()
    for piece in reply.content:
        if isinstance(piece, Mark):
            operator = piece.operator
        elif isinstance(piece, Name):
            found.setdefault(piece.region, operator)
    drawn = {region.id: region.operator for region in reply.regions}
    return tuple(drawn.get(region.id, found[region.id]) for region in named)


def _mask(mask: Mask) -> dict[str, Any]:
    box = box_of(mask)
    return {"area": int(mask.sum()), "box_xyxy": None if box is None else list(box), "rle": encode_rle(mask)}


def _region(region: Region, role: Operator, again: bool) -> dict[str, Any]:
    return {
        "id": region.id, "phrase": region.phrase, "score": region.score,
        "operator": role.value, "again": again, **_mask(region.mask),
        "alternatives": [{"phrase": other.phrase, "chance": round(other.chance, 3)} for other in region.alternatives],
    }  # fmt: skip
