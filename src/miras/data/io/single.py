"""A plain annotation as a record: one question, one answer, one mask.

In: a photo, a mask as run lengths, the words for it. Out: a `Record` of kind "single". Knows no file
format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto, Mark, Name, Operator, Piece, Rle, Turn, Words
from miras.data.io.places import split_folders as split_folders
from miras.data.io.places import split_of as split_of
from miras.data.language.words import definite, indefinite
from miras.data.record import Record, TurnRecord, turn_record

REQUEST = "Show me {}."


def single(
    path: Path, size: tuple[int, int], phrase: str, rle: Rle | None, *, id: str, image_id: str, source: str,
    ask: str = "", split: str = "", meta: dict[str, Any] | None = None,
) -> Record:  # fmt: skip
    """One exchange. path: the photo; size: its (H, W); ask: the user's words, made from the phrase when empty.

    rle None is a refusal (kind "absent", no focus): what was asked for is not in the photo.
    """
    reply: list[Piece] = [Name(phrase, 1), Words(".")]
    if rle is None:
        reply = [Mark(Operator.REJECT), Words(f"There is not {indefinite(phrase)} in the photo.")]
    answer = turn_record(Turn("assistant", tuple(reply)))
    if rle is not None:
        given = {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}
        answer["regions"] = [{"id": 1, "phrase": phrase, "operator": str(Operator.REPLACE), "rle": given}]  # type: ignore[typeddict-item]
    turns: list[TurnRecord] = [turn_record(Turn.user(ask or request(phrase))), answer]
    image = Path(os.path.abspath(path)).as_posix()
    return {
        "id": id, "image_id": image_id, "image": image, "height": size[0], "width": size[1],
        "split": split, "source": source, "kind": "absent" if rle is None else "single", "hops": 1,
        "focus": "" if rle is None else phrase, "turns": turns, "meta": meta or {},
    }  # fmt: skip


def request(phrase: str) -> str:
    """What a person says who wants the thing: "Show me the cup."."""
    said = phrase.strip().rstrip(".?!")
    return REQUEST.format(said if said.lower().startswith(("the ", "a ", "an ")) else definite(said))


def records_of(
    photos: Sequence[AnnotatedPhoto], split: str = "", instruction: int = 0, metas: Sequence[dict[str, Any]] = (),
    seen: dict[tuple[str, str], int] | None = None,
) -> Iterator[Record]:  # fmt: skip
    """One record for each annotation. instruction: which of the annotation's own questions is asked.

    The id is "{source}/{split}/{image_id}-{n}", n from 1 in each photograph; seen: (split, image_id) -> the last n,
    where a dataset has several files. All the questions stay in `meta` under
    "instructions", the number of the one asked under "instruction". metas: more of it, one for each photo.
    Raises InputError when an annotation has instructions, but not so many.
    """
    seen = {} if seen is None else seen
    for number, photo in enumerate(photos):
        for note in photo.annotations:
            count = seen[split, photo.id] = seen.get((split, photo.id), 0) + 1
            meta: dict[str, Any] = {"label": note.label, **(metas[number] if metas else {})}
            ask = ""
            if note.instructions:
                if not 0 <= instruction < len(note.instructions):
                    raise InputError(f"an instruction of 0 to {len(note.instructions) - 1}", str(instruction))
                ask = note.instructions[instruction]
                meta |= {"instructions": list(note.instructions), "instruction": instruction}
            yield single(
                photo.path, photo.size, note.phrase, note.rle, ask=ask, split=split, source=photo.source, meta=meta,
                id=id_of(photo.source, split, f"{photo.id}-{count}"), image_id=photo.id,
            )  # fmt: skip


def id_of(source: str, split: str, name: str) -> str:
    """The id of a record: source, split where there is one, and name, with "/" between."""
    return "/".join(part for part in (source, split, name) if part)
