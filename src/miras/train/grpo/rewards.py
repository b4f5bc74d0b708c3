"""What a reply is worth: pure functions of the reply and of the one that the data has.

In: two replies to one message after the same history, and what is selected after each. Out: parts from 0 to 1, None
where the message does not ask for a part. Knows no model and no group.
After Seg-Zero (mask, format) and RegionReasoner (the region that is meant has to be cited); operators and refusals are
ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from miras.core.masks import iou
from miras.core.selection import is_empty
from miras.core.types import Mark, Mask, Operator, Turn, Words


@dataclass(frozen=True, eq=False)
class Outcome:
    """A reply and what is selected after it, (H, W). whole: it ended by itself, nothing in it was cut off."""

    reply: Turn
    selected: Mask
    whole: bool = True


Parts = Mapping[str, float | None]


def mask(got: Outcome, wanted: Outcome) -> float | None:
    """IoU of the selections, where the right reply names something, takes back or inverts."""
    marks = _marks(wanted.reply)
    if not wanted.reply.names and not {Operator.UNDO, Operator.EXCEPT} & set(marks):
        return None
    return iou(got.selected, wanted.selected)


def operator(got: Outcome, wanted: Outcome) -> float:
    """1 for the same operators in the same order, and something named where something is to be; refusals apart."""
    same = _edits(got.reply) == _edits(wanted.reply)
    return float(same and bool(got.reply.names) == bool(wanted.reply.names))


def refusal(got: Outcome, wanted: Outcome) -> float:
    """1 for a refusal of what is not there, and for none of what is."""
    return float((Operator.REJECT in _marks(got.reply)) == (Operator.REJECT in _marks(wanted.reply)))


def reference(got: Outcome, wanted: Outcome) -> float | None:
    """Of the earlier regions that either reply points at, the share that both do; None where neither does. What should
    have been pointed at and was drawn anew counts as not pointed at."""
    ours, theirs = set(got.reply.recalled), set(wanted.reply.recalled)
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else None


def format(got: Outcome, wanted: Outcome) -> float:
    """1 for a reply that ended by itself, says something in words or names, names nothing twice and draws nothing
    empty. Brackets pair in any case: the grammar sees to it."""
    reply = got.reply
    says = bool(reply.names) or any(isinstance(p, Words) and p.text.strip() for p in reply.content)
    once = len(set(reply.names)) == len(reply.names)
    return float(got.whole and says and once and not any(is_empty(region.mask) for region in reply.regions))


REWARDS: Mapping[str, Callable[[Outcome, Outcome], float | None]] = {
    "mask": mask, "operator": operator, "refusal": refusal, "reference": reference, "format": format,
}  # fmt: skip


def parts(got: Outcome, wanted: Outcome) -> Parts:
    """All of them, by name."""
    return {name: reward(got, wanted) for name, reward in REWARDS.items()}


def total(found: Parts, weights: Mapping[str, float]) -> float:
    """Their weighted sum; what is not asked for, and what has no weight, adds nothing."""
    return sum(weights.get(name, 0.0) * value for name, value in found.items() if value is not None)


def _marks(reply: Turn) -> tuple[Operator, ...]:
    return tuple(piece.operator for piece in reply.content if isinstance(piece, Mark))


def _edits(reply: Turn) -> tuple[Operator, ...]:
    return tuple(mark for mark in _marks(reply) if mark not in (Operator.REJECT, Operator.REPLACE))
