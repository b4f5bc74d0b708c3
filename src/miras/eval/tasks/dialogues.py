"""Sampled dialogues: does a later turn understand the earlier ones?

In: a loaded model and annotated photos. Out: a `HeldDialogue` for each dialogue, and figures over them:
the final selection beside the same target asked alone, operators, refusals, IoU by turn. Knows no
file but the photos, and speaks to the model through `chat` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from miras.chat.load import Loaded
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.recall import anew, pointing
from miras.core.selection import Steps, follow
from miras.core.types import AnnotatedPhoto, Conversation, Example, Mark, Mask, Name, Operator, Region, Turn
from miras.data.dialogues import sampler
from miras.data.language.words import definite
from miras.eval.metrics.pixels import Overlap, giou, overlap, summary

History = Literal["own", "gold"]
EDITS = (Operator.ADD, Operator.CUT, Operator.UNDO, Operator.EXCEPT)


@dataclass(frozen=True)
class Said:
    """One exchange. wanted, said: operators of the gold reply and of the system's.

    wants_mask: whether the gold reply names a region. overlap: of the selections after it; None where
    the gold reply changes nothing (a refusal, small talk). same, gone, exact: None where they are not asked for, see
    `memory`.
    """

    move: str
    user: str
    gold: str
    reply: str
    wanted: frozenset[Operator]
    said: frozenset[Operator]
    wants_mask: bool
    overlap: Overlap | None
    same: bool | None = None
    gone: bool | None = None
    exact: bool | None = None


@dataclass(frozen=True)
class HeldDialogue:
    """One dialogue. own, alone: overlaps of its final target, where the last reply names one target
    that replaces the selection; own = after the dialogue, alone = as the first request of a session."""

    index: int
    photo: str
    source: str
    kind: str
    focus: str
    turns: tuple[Said, ...]
    own: Overlap | None = None
    alone: Overlap | None = None

    def to_dict(self) -> dict[str, Any]:
        """The line of `--samples`: plain values."""
        return {
            "index": self.index, "photo": self.photo, "source": self.source, "kind": self.kind, "focus": self.focus,
            "turns": [_line(said) for said in self.turns],
            "final_iou": None if self.own is None else self.own.iou,
            "alone_iou": None if self.alone is None else self.alone.iou,
        }  # fmt: skip


def evaluate(
    loaded: Loaded, photos: Sequence[AnnotatedPhoto], *, n: int, seed: int, heldout: bool, history: History = "own",
    recalls: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The figures of `n` sampled dialogues; see `talks` and `figures`."""
    return figures(list(talks(loaded, photos, n=n, seed=seed, heldout=heldout, history=history, recalls=recalls)))


def talks(
    loaded: Loaded, photos: Sequence[AnnotatedPhoto], *, n: int, seed: int, heldout: bool, history: History = "own",
    recalls: bool = False,
) -> Iterator[HeldDialogue]:  # fmt: skip
    """Hold `n` dialogues, the sources in turn, each photo of a source once before any comes again.

    heldout: with wordings that training never shows. history: "own" keeps the system's replies,
    "gold" puts the data's own in their place. recalls: with the moves that mean again what was named, and all but
    something (`data.dialogues.recalls`), whatever the model can do. Raises InputError when no photo has anything
    to ask for.
    """
    if n < 1:
        raise InputError("at least 1 dialogue", str(n))
    for index, (photo, example) in enumerate(_examples(photos, n, seed, heldout, recalls, recalls)):
        yield _hold(loaded, photo, example, index, seed, history)


def figures(held: Sequence[HeldDialogue]) -> dict[str, Any]:
    """`giou` and its like in per cent, over all turns that change the selection; rates from 0 to 1.

    `final`: dialogues of two exchanges and more whose last reply names one target. `gap`: gIoU of the
    target asked alone minus gIoU after the dialogue, `gap_interval` its 95% bootstrap interval; `intervals`: the
    same of gIoU and of the rates, photos drawn whole.
    """
    turns = [said for talk in held for said in talk.turns]
    edits = {op: [op in said.said for said in turns if op in said.wanted] for op in EDITS}
    edits = {op: obeyed for op, obeyed in edits.items() if obeyed or op is not Operator.EXCEPT}
    refused = [Operator.REJECT in said.said for said in turns if Operator.REJECT in said.wanted]
    wrongly = [Operator.REJECT in said.said for said in turns if said.wants_mask]
    return {
        "n": len(held),
        "turns": len(turns),
        **summary([said.overlap for said in turns if said.overlap is not None]),
        "final": _final(held),
        "operators": {op.value: {"n": len(obeyed), "obeyed": _share(obeyed)} for op, obeyed in edits.items()},
        "operators_obeyed": _share([flag for obeyed in edits.values() for flag in obeyed]),
        "refusals": {"n": len(refused), "right": _share(refused)},
        "false_refusals": {"n": len(wrongly), "rate": _share(wrongly)},
        "intervals": _intervals(held),
        "memory": memory(held),
        "giou_by_turn": _by_turn(held),
        "giou_by_move": _grouped((said.move, said.overlap) for said in turns),
        "giou_by_source": _grouped((talk.source, said.overlap) for talk in held for said in talk.turns),
    }


def memory(held: Sequence[HeldDialogue]) -> dict[str, Any]:
    """Whether what was named is remembered to the pixel; shares of the turns that ask for it, from 0 to 1.

    `same`: what the gold reply names again has the mask that the system gave it before. `gone`: of what was named and
    is cut again not one pixel is selected. `exact`: all but something is the photo without exactly what the reply names
    or, where it names nothing, without what was selected. `talks`: dialogues in which all that was asked for held.
    """
    turns = [said for talk in held for said in talk.turns]
    found: dict[str, Any] = {}
    for name in ("same", "gone", "exact"):
        flags = [flag for said in turns if (flag := getattr(said, name)) is not None]
        found[name] = {"n": len(flags), "share": _share(flags)}
    whole = [
        all(flags)
        for talk in held
        if (flags := [f for said in talk.turns for f in (said.same, said.gone, said.exact) if f is not None])
    ]
    return found | {"talks": {"n": len(whole), "share": _share(whole)}}


# Holding a dialogue


def _examples(
    photos: Sequence[AnnotatedPhoto], n: int, seed: int, heldout: bool, points: bool = False, complements: bool = False
) -> Iterator[tuple[AnnotatedPhoto, Example]]:
    rng = np.random.default_rng([seed, 0])
    sources = sorted({photo.source for photo in photos})
    pools = {name: [photo for photo in photos if photo.source == name] for name in sources}
    queues: dict[str, list[AnnotatedPhoto]] = {name: [] for name in sources}
    made = idle = 0
    while made < n:
        name = sources[(made + idle) % len(sources)]
        if not queues[name]:
            queues[name] = [pools[name][i] for i in rng.permutation(len(pools[name]))]
        photo = queues[name].pop()
        try:
            rng_of = np.random.default_rng([seed, made + 1])
            example = sampler.sample(photo, rng_of, heldout=heldout, points=points, complements=complements)
        except InputError:  # a photo whose masks are all too small to ask for
            idle += 1
            if idle > 2 * len(photos) + n:
                raise
            continue
        made += 1
        yield photo, example


def _hold(
    loaded: Loaded, photo: AnnotatedPhoto, example: Example, index: int, seed: int, history: History
) -> HeldDialogue:
    opening = loaded.chat(example.image, seed=seed)
    session = opening.fork()
    turns, moves = example.conversation.turns, example.meta["moves"]
    golds = pointing(example.conversation).turns[1::2]
    told = golds if loaded.model.config.points else anew(Conversation(turns)).turns[1::2]
    remembered: dict[int, Mask] = {}
    said: list[Said] = []
    for user, (gold, steps), known in zip(turns[::2], follow(golds), told, strict=True):
        twin = session.fork() if history == "gold" else session
        said.append(_exchange(twin, user.text, gold, steps, moves[2 * len(said) + 1], remembered))
        if history == "gold":
            reply = session.append_exchange(user.text, known)
            remembered |= {number: region.mask for number, region in zip(gold.names, reply.regions, strict=False)}
    target = _final_target(turns)
    if target is None:
        return HeldDialogue(index, photo.id, photo.source, example.kind, example.focus, tuple(said))
    alone = opening.ask(f"Select {definite(target.phrase)}.").selection
    return HeldDialogue(
        index, photo.id, photo.source, example.kind, example.focus, tuple(said), said[-1].overlap,
        overlap(alone.mask, target.mask),
    )  # fmt: skip


def _exchange(
    session: ChatSession, user: str, gold: Turn, steps: Steps, move: str, remembered: dict[int, Mask]
) -> Said:
    """remembered: for each gold region, the mask that the system has for it; it is filled."""
    before = session.selection
    reply = session.ask(user)
    marks = frozenset(piece.operator for piece in gold.content if isinstance(piece, Mark))
    target = steps[-1].mask if steps else np.zeros(session.size, np.bool_)
    changes = bool(gold.names) or bool(marks & {Operator.UNDO, Operator.EXCEPT})
    counted = overlap(reply.selection.mask, target) if changes else None
    again = [number for number in gold.recalled if number in remembered]
    same = gone = exact = None
    if again:
        named = {number: region.mask for number, region in zip(gold.names, reply.regions, strict=False)}
        same = all(number in named and np.array_equal(named[number], remembered[number]) for number in again)
        if Operator.CUT in marks:
            left = [bool((reply.selection.mask & remembered[number]).any()) for number in again]
            gone = Operator.CUT in reply.operators and not any(left)
    if Operator.EXCEPT in marks:
        masks = [region.mask for region in reply.regions] or [before.mask]
        exact = Operator.EXCEPT in reply.operators and bool(gold.names) == bool(reply.regions)
        exact = exact and np.array_equal(reply.selection.mask, ~np.logical_or.reduce(masks))
    new = [(number, region.mask) for number, region in zip(gold.names, reply.regions, strict=False)]
    remembered |= {number: mask for number, mask in new if number not in gold.recalled}
    done = frozenset(reply.operators)
    return Said(move, user, gold.text, reply.text, marks, done, bool(gold.names), counted, same, gone, exact)


def _final_target(turns: Sequence[Turn]) -> Region | None:
    """The region of the last reply, where it names one, nothing else governs it, and something came before."""
    last = turns[-1]
    alone = len(last.regions) == 1 and not any(isinstance(piece, Mark) for piece in last.content)
    named = sum(isinstance(piece, Name) for piece in last.content)
    return last.regions[0] if alone and named == 1 and len(turns) > 2 else None


# Figures


def _final(held: Sequence[HeldDialogue]) -> dict[str, Any]:
    pairs = [(talk.own, talk.alone, talk.photo) for talk in held if talk.own is not None and talk.alone is not None]
    own, alone = giou([pair[0] for pair in pairs]), giou([pair[1] for pair in pairs])
    low, high = _interval([100 * (b.iou - a.iou) for a, b, _ in pairs], [photo for _, _, photo in pairs])
    return {"n": len(pairs), "giou_own": own, "giou_alone": alone, "gap": alone - own, "gap_interval": [low, high]}


def _intervals(held: Sequence[HeldDialogue]) -> dict[str, list[float]]:
    turns = [(said, f"{talk.source}/{talk.photo}") for talk in held for said in talk.turns]
    values: dict[str, list[tuple[float, str]]] = {
        "giou": [(100 * said.overlap.iou, photo) for said, photo in turns if said.overlap is not None],
        "operators_obeyed": [(op in said.said, photo) for said, photo in turns for op in EDITS if op in said.wanted],
        "refusals": [(Operator.REJECT in said.said, photo) for said, photo in turns if Operator.REJECT in said.wanted],
        "false_refusals": [(Operator.REJECT in said.said, photo) for said, photo in turns if said.wants_mask],
    }
    return {
        name: list(_interval([value for value, _ in pairs], [photo for _, photo in pairs]))
        for name, pairs in values.items()
    }


def _interval(values: Sequence[float], clusters: Sequence[str], rounds: int = 2000) -> tuple[float, float]:
    """95% percentile bootstrap of a mean, clusters (photos) drawn whole."""
    if not values:
        return 0.0, 0.0
    names = sorted(set(clusters))
    place = np.array([names.index(name) for name in clusters])
    sums = np.bincount(place, np.asarray(values, np.float64), len(names))
    counts = np.bincount(place, minlength=len(names))
    drawn = np.random.default_rng(0).integers(0, len(names), (rounds, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _by_turn(held: Sequence[HeldDialogue]) -> list[dict[str, float]]:
    """For turn 1, 2, ...: how many change the selection, and their gIoU."""
    longest = max((len(talk.turns) for talk in held), default=0)
    columns = [
        [talk.turns[i].overlap for talk in held if len(talk.turns) > i and talk.turns[i].overlap is not None]
        for i in range(longest)
    ]
    return [{"n": len(column), "giou": giou([o for o in column if o is not None])} for column in columns]


def _grouped(pairs: Iterable[tuple[str, Overlap | None]]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Overlap]] = {}
    for name, counted in pairs:
        if counted is not None:
            groups.setdefault(name, []).append(counted)
    return {name: {"n": len(group), "giou": giou(group)} for name, group in sorted(groups.items())}


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _line(said: Said) -> dict[str, Any]:
    return {
        "move": said.move, "user": said.user, "gold": said.gold, "reply": said.reply,
        "wanted": sorted(said.wanted), "said": sorted(said.said),
        "iou": None if said.overlap is None else said.overlap.iou,
        **{name: flag for name in ("same", "gone", "exact") if (flag := getattr(said, name)) is not None},
    }  # fmt: skip
