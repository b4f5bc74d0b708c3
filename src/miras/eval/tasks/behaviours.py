"""How a system behaves on photos kept out: one thing where one is asked for, the same answer to the same question,
words alone where no mask is wanted.

In: a loaded model and annotated photos. Out: an `Outcome` for each question (`behaviour_questions`), and figures over
them, each kind apart, with intervals over photos. A photo is encoded once; every question is asked of a fork of its
session. Knows no file but the photos, and speaks to the model through `chat` only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from miras.chat.load import Loaded
from miras.chat.reply import Reply
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.masks import iou
from miras.core.types import AnnotatedPhoto, Mask, Operator
from miras.data.dialogues.sampler import askable
from miras.data.language.spelling import lexicon
from miras.eval.metrics import statistics
from miras.eval.tasks.behaviour_questions import REFERRING, SAME, TALK, Question, questions

COVERED = 0.5
"""Share of a thing's pixels that is selected where it counts as taken; IoU at which two masks are the same."""
FLAGS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(REFERRING, ("iou", "one", "right")), "any": ("one",), "pairs": ("iou", "apart", "same"),
    **dict.fromkeys(SAME, ("agree", "right")), TALK: ("kept", "words"),
}  # fmt: skip
"""What is told of each kind, see `Outcome`."""
HEADLINES = {
    "pairs_apart": (("pairs",), "apart"), "one_taken": (REFERRING, "one"), "right_one": (REFERRING[:-1], "right"),
    "caps_agree": (("caps",), "agree"), "typos_agree": (("typos",), "agree"),
    "existence_agree": (("there", "absent"), "agree"), "talk_kept": ((TALK,), "kept"), "talk_words": ((TALK,), "words"),
}  # fmt: skip
"""Figures over several kinds: name -> (kinds, flag)."""
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Outcome:
    """One question and what came of it. values, from 0 to 1 each:

    iou: with what was asked for (of a pair, the mean). one: exactly one of its kind is selected, more than half of it;
    right: and that is the one (of two ways to ask: the first is answered as the data says). apart: two masks, no common
    pixel; same: one mask for both. agree: both ways are refused, or both select the same. kept: no region, no operator,
    what was selected stays. words: every word of the reply is in the word list or in the message.
    """

    photo: str
    source: str
    kind: str
    topic: str
    phrase: str
    texts: tuple[str, ...]
    replies: tuple[str, ...]
    values: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The line of `--samples`: plain values."""
        return {
            "photo": self.photo, "source": self.source, "kind": self.kind, "topic": self.topic, "phrase": self.phrase,
            "texts": list(self.texts), "replies": list(self.replies), **self.values,
        }  # fmt: skip


def chosen(photos: Sequence[AnnotatedPhoto], limit: int | None, seed: int) -> list[AnnotatedPhoto]:
    """The photos that are asked about: the sources in turn, at most `limit` of them. Raises InputError for none."""
    pools: dict[str, list[AnnotatedPhoto]] = {}
    for at in np.random.default_rng([seed, 0]).permutation(len(photos)):
        photo = photos[int(at)]
        if askable(photo):
            pools.setdefault(photo.source, []).append(photo)
    order = sorted((number, source) for source, pool in pools.items() for number in range(len(pool)))
    if not order:
        raise InputError("photos with a mask large enough to ask for", f"none of {len(photos)}")
    return [pools[source][number] for number, source in order[:limit]]


def outcomes(loaded: Loaded, photos: Iterable[AnnotatedPhoto], *, seed: int, heldout: bool) -> Iterator[Outcome]:
    """Ask every question of every photo, in the order given."""
    for photo in photos:
        opening = loaded.chat(photo.path, seed=seed)
        rng = np.random.default_rng([seed, *photo.source.encode(), *photo.id.encode()])
        for question in questions(photo, opening.photo, rng, heldout):
            yield _outcome(opening, photo, question)


def figures(found: Sequence[Outcome]) -> dict[str, Any]:
    """`n` questions, `photos`; HEADLINES; `kinds` and `topics` (of remarks): for each its `n` and, for each of its
    FLAGS, {"value", "low", "high"}, the 95% interval of a bootstrap over photos, None for fewer than two."""
    kinds = [kind for kind in FLAGS if any(one.kind == kind for one in found)]
    talk = [one for one in found if one.kind == TALK]
    headlines = {
        name: _share([one.values[flag] for one in found if one.kind in of]) for name, (of, flag) in HEADLINES.items()
    }
    return {
        "n": len(found),
        "photos": len({_photo(one) for one in found}),
        **headlines,
        "kinds": {kind: _told([one for one in found if one.kind == kind], FLAGS[kind]) for kind in kinds},
        "topics": {
            topic: _told([one for one in talk if one.topic == topic], FLAGS[TALK])
            for topic in sorted({one.topic for one in talk})
        },
    }


def words_known(reply: str, message: str, names: str = "") -> bool:
    """Whether no word of the reply is broken: each is in the wordings or the knowledge, in the message, or in names."""
    allowed = lexicon() | set(_WORD.findall(f"{message} {names}".lower()))
    return all({word, *_stems(word)} & allowed for word in _WORD.findall(reply.lower()))


def _stems(word: str) -> list[str]:
    """What an inflected word may come from."""
    cut = [word.removesuffix(end) for end in ("s", "es", "ed", "d", "ing") if word.endswith(end)]
    return cut + [stem + "e" for stem in cut]


# Asking


def _outcome(opening: ChatSession, photo: AnnotatedPhoto, question: Question) -> Outcome:
    start = opening
    if question.before:
        start = opening.fork()
        start.ask(question.before)
    replies = [start.fork().ask(text) for text in question.texts]
    if question.kind == TALK:
        names = " ".join([question.before, *(note.phrase for note in photo.annotations)])
        values = _of_remark(start, replies[0], question.texts[0], names)
    elif question.kind == "pairs":
        values = _of_pair(question, replies)
    elif question.kind in SAME:
        values = _of_same(question, replies)
    else:
        values = _of_one(question, replies[0].selection.mask)
    return Outcome(
        photo.id, photo.source, question.kind, question.topic, question.phrase, question.texts,
        tuple(reply.text for reply in replies), values,
    )  # fmt: skip


def _of_one(question: Question, mask: Mask) -> dict[str, float]:
    (right,) = question.right
    taken = [thing for thing in question.kin if np.count_nonzero(mask & thing) > COVERED * np.count_nonzero(thing)]
    one = len(taken) == 1
    hit = one and bool(np.array_equal(taken[0], right))
    return {"iou": iou(mask, right), "one": float(one), "right": float(hit)}


def _of_pair(question: Question, replies: Sequence[Reply]) -> dict[str, float]:
    left, right = (reply.selection.mask for reply in replies)
    apart = left.any() and right.any() and not (left & right).any()
    same = left.any() and right.any() and iou(left, right) > COVERED
    fits = [iou(mask, wanted) for mask, wanted in zip((left, right), question.right, strict=True)]
    return {"iou": float(np.mean(fits)), "apart": float(apart), "same": float(same)}


def _of_same(question: Question, replies: Sequence[Reply]) -> dict[str, float]:
    one, other = (reply.selection.mask for reply in replies)
    agree = iou(one, other) > COVERED if one.any() and other.any() else not one.any() and not other.any()
    (first, wanted), refused = (one, question.right[0]), Operator.REJECT in replies[0].operators
    right = iou(first, wanted) > COVERED if wanted.any() else refused and not first.any()
    return {"agree": float(agree), "right": float(right)}


def _of_remark(start: ChatSession, reply: Reply, text: str, names: str) -> dict[str, float]:
    still = np.array_equal(reply.selection.mask, start.selection.mask)
    kept = still and not reply.regions and not reply.operators
    return {"kept": float(kept), "words": float(words_known(reply.text, text, names))}


# Figures


def _told(found: Sequence[Outcome], flags: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {"n": len(found)}
    for flag in flags:
        estimate = statistics.mean([one.values[flag] for one in found], [_photo(one) for one in found], draws=2000)
        low, high = estimate.percentile or (None, None)
        told[flag] = {"value": estimate.value, "low": low, "high": high}
    return told


def _photo(one: Outcome) -> str:
    return f"{one.source}/{one.photo}"


def _share(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
