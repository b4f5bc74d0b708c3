"""Everyday things, stuff and parts asked for by their names: is what is there found, and what is not refused?

In: annotated photos. Out: a record for each name (one question in a conversation of its own), and figures over the
rows of a run that asked them. Every class that covers at least LEAST of its photo is asked once, in one of three
forms, and a few names that are surely not there. The same photo gives the same questions, whatever else is asked.
Knows no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.formats.annotated import read_sources
from miras.data.io.left_out import LeftOut
from miras.data.io.single import single
from miras.data.language import knowledge
from miras.data.language.words import definite, is_plural
from miras.data.record import Record
from miras.eval.metrics.statistics import mean
from miras.eval.runs.samples import Row
from miras.eval.tasks.photos import side_of
from miras.eval.tasks.task import Options

LEAST = 0.01
"""Share of the photo's pixels that a class covers to be asked for."""
SORTS = ("things", "garments", "stuff", "parts", "instructpart")
"""Sorts of what is there: everyday things; what is worn; ground, plants, walls and buildings; parts of things and of
the body; InstructPart's parts."""
ABSENT = ("likely", "unlikely")
"""Sorts of what is not there: looked for in the photo and not found; of places that do not go with the photo's."""
MOST_ABSENT = {"likely": 2, "unlikely": 1}
"""Names of what is not there that are asked of a photo."""
FORMS: dict[str, Callable[[str], str]] = {
    "where": lambda phrase: f"Where {'are' if is_plural(phrase) else 'is'} {definite(phrase)}?",
    "bare": lambda phrase: phrase,
    "the": definite,
}
"""How a name is asked."""
BODY = frozenset({"hair", "skin", "face", "eyes", "nose", "mouth", "hand", "fingernail"})
STUFF = frozenset({"ground", "nature", "surface", "building"})
"""Groups of the knowledge base that have no number."""
_THINGS = frozenset({"potted plant", "rock"})


def records(photos: Iterable[AnnotatedPhoto], split: str = "") -> Iterator[Record]:
    """The questions, photo by photo. Their ids are "sort/form/source/photo/phrase"."""
    known = knowledge.load()
    for photo in photos:
        scene = Scene(photo, known)
        for target in scene.targets:
            if target.sort in ("one", "all"):
                mask = scene.mask(target)
                if np.count_nonzero(mask) >= LEAST * mask.size:
                    yield _question(photo, target.phrase, sort_of(photo, target), split, dict(encode_rle(mask)))
        for sort, names in zip(ABSENT, scene.absent, strict=True):
            for phrase in _drawn(photo, sort, {n for n in names if n not in scene.present}):
                yield _question(photo, phrase, sort, split, None)


def sort_of(photo: AnnotatedPhoto, target: Target) -> str:
    """One of SORTS."""
    if photo.source == "instructpart":
        return "instructpart"
    entry = target.entry
    if entry is None:
        return "things"
    if entry.object or entry.phrase in BODY:
        return "parts"
    if entry.group == "clothing":
        return "garments"
    return "stuff" if entry.group in STUFF and entry.phrase not in _THINGS else "things"


def asked(path: Path, options: Options, left: LeftOut) -> list[Record]:
    """The questions about the photos of one side. Raises InputError."""
    return list(records(side_of(read_sources(path, left), options.side)))


def settings(options: Options) -> dict[str, Any]:
    """None of its own."""
    return {}


def lines(records: Sequence[Record], rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One for each name: what a run's samples.jsonl holds of it, without the masks."""
    for row in rows:
        yield {"record": row.record, "photo": row.photo, "source": row.source, "user": row.user, "reply": row.text,
               "phrase": row.phrase, "refused": row.refused, "iou": row.iou, "seconds": row.seconds}  # fmt: skip


def figures(records: Sequence[Record], rows: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """`told` of the rows, under "phrases"."""
    return {"phrases": told(rows, seed)}


def told(rows: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """By sort, form and source: n, photos; of what is there `giou` (per cent) and `refused` (0 to 1, though it is
    there), of what is not there `refused` alone, each with its 95% interval (BCa bootstrap clustered by photo)."""
    sound = [row for row in rows if row.blame != "data"]
    there = [row for row in sound if _sort(row) in SORTS]
    gone = [row for row in sound if _sort(row) in ABSENT]
    return {
        "there": {"all": _there(there, seed), **_by(there, _sort, SORTS, seed)},
        "absent": {"all": _refused(gone, seed), **_by(gone, _sort, ABSENT, seed)},
        "by_form": {"there": _by(there, _form, FORMS, seed), "absent": _by(gone, _form, FORMS, seed)},
        "by_source": _by(there, lambda row: row.source, sorted({row.source for row in there}), seed),
    }


def _question(photo: AnnotatedPhoto, phrase: str, sort: str, split: str, rle: Any) -> Record:
    form = list(FORMS)[_dice(photo, phrase) % len(FORMS)]
    return single(
        photo.path, photo.size, phrase, rle, ask=FORMS[form](phrase), split=split, source=photo.source,
        id=f"{sort}/{form}/{photo.source}/{photo.id}/{phrase}", image_id=photo.id, meta={"sort": sort, "form": form},
    )  # fmt: skip


def _drawn(photo: AnnotatedPhoto, sort: str, names: set[str]) -> list[str]:
    """A few of the names, which of them depends on the photo and the name alone."""
    return sorted(names, key=lambda name: _dice(photo, f"{sort}\n{name}"))[: MOST_ABSENT[sort]]


def _dice(photo: AnnotatedPhoto, text: str) -> int:
    digest = hashlib.blake2b(f"{photo.source}\n{photo.id}\n{text}".encode(), digest_size=6).digest()
    return int.from_bytes(digest)


def _sort(row: Row) -> str:
    return row.record.split("/", 1)[0]


def _form(row: Row) -> str:
    return row.record.split("/", 2)[1]


def _by(rows: Sequence[Row], of: Callable[[Row], str], names: Iterable[str], seed: int) -> dict[str, Any]:
    """Figures of each group that has rows."""
    groups = {name: [row for row in rows if of(row) == name] for name in names}
    tell = {name: _refused if any(_sort(row) in ABSENT for row in group) else _there for name, group in groups.items()}
    return {name: tell[name](group, seed) for name, group in groups.items() if group}


def _there(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    if not rows:
        return {"n": 0}
    found = mean([100 * (row.iou or 0.0) for row in rows], [row.cluster for row in rows], seed=seed)
    refused = _refused(rows, seed)
    return {**refused, "giou": found.value, "giou_interval": list(found.bca or ()) or None}


def _refused(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    if not rows:
        return {"n": 0}
    rate = mean([float(row.refused) for row in rows], [row.cluster for row in rows], seed=seed)
    return {"n": rate.n, "photos": rate.clusters, "refused": rate.value,
            "refused_interval": list(rate.bca or ()) or None}  # fmt: skip
