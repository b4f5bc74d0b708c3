"""How a system behaves on held-out photos: one thing where one is asked for, the same answer to the same question,
words alone where no mask is wanted.

In: annotated photos. Out: a record for each way of asking each question (`behaviour_questions`); an `Outcome` for each
question from the rows, and figures over them, each kind apart, with intervals over photos. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle, iou
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto, Mark, Mask, Name, Operator, Region, Turn, Words
from miras.data.dialogues.sampler import askable
from miras.data.formats.annotated import read_sources
from miras.data.io.left_out import LeftOut
from miras.data.language.normalise import lexicon
from miras.data.record import Record, TurnRecord, turn_record
from miras.eval.metrics import statistics
from miras.eval.runs.samples import Row
from miras.eval.tasks.behaviour_questions import REFERRING, SAME, TALK, Question, questions
from miras.eval.tasks.photos import side_of
from miras.eval.tasks.task import Options, by_record

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
READY = "All right."
"""What the data says where nothing is compared with it."""
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


def asked(path: Path, options: Options, left: LeftOut) -> list[Record]:
    """Every question about the photos that are `chosen`. Raises InputError."""
    photos = chosen(side_of(read_sources(path, left), options.side), options.limit, options.seed)
    return list(records(photos, seed=options.seed, heldout=options.heldout))


def settings(options: Options) -> dict[str, Any]:
    """How many photos, and in which words."""
    return {"limit": options.limit, "heldout": options.heldout}


def records(photos: Iterable[AnnotatedPhoto], *, seed: int, heldout: bool) -> Iterator[Record]:
    """A record for each way of asking each question, in the order of the photos. `meta`: the question's kind, topic,
    phrase and words, and (of one of several) the masks of all things of its label."""
    for photo in photos:
        pixels = read_photo(photo.path if photo.content is None else photo.content)
        rng = np.random.default_rng([seed, *photo.source.encode(), *photo.id.encode()])
        for number, question in enumerate(questions(photo, pixels, rng, heldout)):
            for way in range(len(question.texts)):
                yield _record(photo, question, number, way)


def figures(records: Sequence[Record], rows: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """`told` of their outcomes."""
    return told(outcomes(records, rows))


def lines(records: Sequence[Record], rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each question."""
    for one in outcomes(records, rows):
        yield one.to_dict()


def outcomes(records: Sequence[Record], rows: Sequence[Row]) -> list[Outcome]:
    """What came of each question; none of those whose data is at fault."""
    groups = by_record([row for row in rows if row.blame != "data"])
    ways: dict[str, list[Record]] = {}
    for record in records:
        ways.setdefault(record["meta"]["question"], []).append(record)
    return [
        _outcome(held, [groups[record["id"]] for record in held])
        for held in ways.values() if all(record["id"] in groups for record in held)
    ]  # fmt: skip


def told(found: Sequence[Outcome]) -> dict[str, Any]:
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


# Records


def _record(photo: AnnotatedPhoto, question: Question, number: int, way: int) -> Record:
    """One way of asking, after what is said before it."""
    first = [(question.before, Turn("assistant", (Words(READY),)))] if question.before else []
    turns: list[TurnRecord] = []
    for text, reply in (*first, (question.texts[way], _gold(question, way))):
        turns += [turn_record(Turn.user(text)), turn_record(reply)]
    name = f"{photo.source}/{photo.id}/{number}"
    meta = {
        "question": name, "way": way, "kind": question.kind, "topic": question.topic, "phrase": question.phrase,
        "texts": list(question.texts), "kin": [dict(encode_rle(mask)) for mask in question.kin], "alone": False,
        "names": " ".join([question.before, *(note.phrase for note in photo.annotations)]),
    }  # fmt: skip
    made: Record = {
        "id": f"{question.kind}/{name}/{way}", "image_id": photo.id, "image": photo.path.absolute().as_posix(),
        "height": photo.size[0], "width": photo.size[1], "split": "", "source": photo.source, "kind": "single",
        "hops": 1, "focus": "", "turns": turns, "meta": meta,
    }  # fmt: skip
    return made if photo.content is None else {**made, "image_bytes": photo.content}


def _gold(question: Question, way: int) -> Turn:
    """The reply that is right; words alone for a remark."""
    if not question.right:
        return Turn("assistant", (Words(READY),))
    mask = question.right[way]
    if not mask.any():
        return Turn("assistant", (Mark(Operator.REJECT), Words(f"There is no {question.phrase}.")))
    return Turn("assistant", (Name(question.phrase, 1), Words(".")), (Region(1, question.phrase, mask, 1),))


# Outcomes


def _outcome(ways: Sequence[Record], held: Sequence[Sequence[Row]]) -> Outcome:
    """held: the rows of each way."""
    record, rows = ways[0], [group[-1] for group in held]
    meta = record["meta"]
    kind, masks = meta["kind"], [_selected(row) for row in rows]
    if kind == TALK:
        values = _of_remark(held[0], meta)
    elif kind == "pairs":
        values = _of_pair(masks, [_right(row) for row in rows])
    elif kind in SAME:
        values = _of_same(masks, _right(rows[0]), Operator.REJECT in rows[0].marks_got)
    else:
        values = _of_one(masks[0], _right(rows[0]), [decode_rle(rle) for rle in meta["kin"]])
    texts, replies = tuple(meta["texts"]), tuple(row.text for row in rows)
    return Outcome(record["image_id"], record["source"], kind, meta["topic"], meta["phrase"], texts, replies, values)


def _selected(row: Row) -> Mask:
    return np.zeros(row.size, np.bool_) if row.rle is None else decode_rle(row.rle)


def _right(row: Row) -> Mask:
    return np.zeros(row.size, np.bool_) if row.gold_rle is None else decode_rle(row.gold_rle)


def _of_one(mask: Mask, right: Mask, kin: Sequence[Mask]) -> dict[str, float]:
    taken = [thing for thing in kin if np.count_nonzero(mask & thing) > COVERED * np.count_nonzero(thing)]
    one = len(taken) == 1
    hit = one and bool(np.array_equal(taken[0], right))
    return {"iou": iou(mask, right), "one": float(one), "right": float(hit)}


def _of_pair(masks: Sequence[Mask], wanted: Sequence[Mask]) -> dict[str, float]:
    left, right = masks
    apart = left.any() and right.any() and not (left & right).any()
    same = left.any() and right.any() and iou(left, right) > COVERED
    fits = [iou(mask, one) for mask, one in zip(masks, wanted, strict=True)]
    return {"iou": float(np.mean(fits)), "apart": float(apart), "same": float(same)}


def _of_same(masks: Sequence[Mask], wanted: Mask, refused: bool) -> dict[str, float]:
    """refused: the first way."""
    one, other = masks
    agree = iou(one, other) > COVERED if one.any() and other.any() else not one.any() and not other.any()
    right = iou(one, wanted) > COVERED if wanted.any() else refused and not one.any()
    return {"agree": float(agree), "right": float(right)}


def _of_remark(rows: Sequence[Row], meta: Mapping[str, Any]) -> dict[str, float]:
    """rows: of the conversation; the last is the remark's."""
    last = rows[-1]
    before = _selected(rows[-2]) if len(rows) > 1 else np.zeros(last.size, np.bool_)
    kept = np.array_equal(_selected(last), before) and not last.named and not last.marks_got
    return {"kept": float(kept), "words": float(words_known(last.text, last.user, meta["names"]))}


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
