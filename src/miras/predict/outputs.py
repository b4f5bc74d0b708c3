"""Answers as files: a mask as PNG and a LabelMe JSON for each photo; one COCO file, JSONL, Parquet for all.

In: photos with their parts. Out: in the job's folder

    masks/NAME.png, labelme/NAME.json         (of several questions: masks/NUMBER/NAME.png)
    instances.json                            COCO; run lengths, an annotation for each answer with a mask
    records.jsonl, parquet/                   records of the project, every turn; scores are in `meta`
    failures.jsonl                            what could not be answered, and why

Masks are written by `chat.export`, records by `data.formats`; nothing here holds more than one photo. A refusal has
no mask and no file. Knows no model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from miras.chat.export import Item, coco_document, labelme_document, png
from miras.core.errors import InputError
from miras.core.files import whole, write_whole
from miras.core.masks import decode_rle
from miras.data.formats.jsonl import write_jsonl
from miras.data.formats.records import write_records
from miras.data.record import Record
from miras.predict.photos import Photo
from miras.predict.questions import Messages

FORMATS = ("coco", "png", "labelme", "jsonl", "parquet")
Part = dict[str, Any]
"""The answers about one photo, see `answer`."""
Parts = Callable[[], Iterable[tuple[Photo, Part]]]
"""Gives all photos with their parts, each time anew."""
FAILURES = "failures.jsonl"


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once. Raises InputError for none and unknown ones."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError(f"--to out of {', '.join(FORMATS)}", ", ".join(unknown) or "none")
    return tuple(name for name in FORMATS if name in formats)


# For each photo


def write_files(out: Path, photo: Photo, part: Part, formats: Sequence[str], *, several: bool) -> None:
    """The files of one photo. several: questions are asked, each has a folder of its own. Raises InputError."""
    if part["size"] is None:
        return
    if "png" in formats:
        for answer in part["answers"]:
            path = mask_file(out, photo, answer["question"], several)
            if answer["selection"] is None:
                path.unlink(missing_ok=True)
            else:
                write_whole(path, png(decode_rle(answer["selection"]["rle"])))
    if "labelme" in formats:
        path = _labelme_file(out, photo)
        document = labelme_document(_items(part), tuple(part["size"]), _way(photo, path.parent))
        write_whole(path, (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def write_missing(out: Path, parts: Parts, formats: Sequence[str], *, several: bool) -> None:
    """The files of all photos that are not there: they were answered for other formats."""
    if not {"png", "labelme"} & set(formats):
        return
    for photo, part in parts():
        masks = [mask_file(out, photo, a["question"], several) for a in part["answers"] if a["selection"] is not None]
        wanted = masks if "png" in formats else []
        if "labelme" in formats and part["size"] is not None:
            wanted = [*wanted, _labelme_file(out, photo)]
        if not all(path.is_file() for path in wanted):
            write_files(out, photo, part, formats, several=several)


def mask_file(out: Path, photo: Photo, question: int, several: bool) -> Path:
    """Where the mask of an answer goes."""
    return out / "masks" / (f"{question}/" if several else "") / f"{photo.name}.png"


def _labelme_file(out: Path, photo: Photo) -> Path:
    return out / "labelme" / f"{photo.name}.json"


def _items(part: Part) -> list[Item]:
    return [
        Item(answer["label"], decode_rle(answer["selection"]["rle"]), answer["score"])
        for answer in part["answers"] if answer["selection"] is not None
    ]  # fmt: skip


def _way(photo: Photo, folder: Path) -> str:
    return valid(Path(os.path.relpath(photo.path, folder)).as_posix())


def valid(text: str) -> str:
    """Text that can be written; names of files may be no Unicode."""
    return text.encode("utf-8", "replace").decode("utf-8")


# For all photos


def write_all(out: Path, parts: Parts, formats: Sequence[str], questions: Sequence[Messages]) -> None:
    """The files of all photos together, each whole or not at all. Raises InputError."""
    if "coco" in formats:
        write_coco(out / "instances.json", parts, questions)
    if "jsonl" in formats:
        write_jsonl(records(parts()), out / "records.jsonl")
    if "parquet" in formats and any(part["answers"] for _, part in parts()):
        write_records(records(parts()), out / "parquet", "miras", photos="reference")


def write_coco(path: Path, parts: Parts, questions: Sequence[Messages]) -> None:
    """COCO instances in one file: photos as `file_name` from the folder they share and as `path`; an annotation says
    which `question` it answers. Categories are the model's own words, sorted."""
    labels = sorted({a["label"] for _, part in parts() for a in part["answers"] if a["selection"] is not None})
    ids = {label: number for number, label in enumerate(labels, 1)}
    info = {"description": "miras predict", "questions": [list(messages) for messages in questions]}
    named = [{"id": number, "name": label, "supercategory": ""} for label, number in ids.items()]
    with whole(path) as staging, staging.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {_json(info)}, "categories": {_json(named)},\n"images": [')
        _listed(file, (image for image, _ in _documents(parts, ids)))
        file.write('],\n"annotations": [')
        _listed(file, (note for _, notes in _documents(parts, ids) for note in notes))
        file.write("]}\n")


def _documents(parts: Parts, ids: dict[str, int]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(image, its annotations), numbered through."""
    number = last = 0
    for photo, part in parts():
        if part["size"] is None:
            continue
        number += 1
        document = coco_document(_items(part), tuple(part["size"]), photo.file)
        asked = [answer for answer in part["answers"] if answer["selection"] is not None]
        notes = []
        for note, answer in zip(document["annotations"], asked, strict=True):
            last += 1
            place = {"id": last, "image_id": number, "category_id": ids[answer["label"]]}
            notes.append({**note, **place, "question": answer["question"], "unsure": answer["unsure"]})
        yield {**document["images"][0], "id": number, "path": valid(photo.path)}, notes


def _listed(file: Any, values: Iterable[Any]) -> None:
    for number, value in enumerate(values):
        file.write(f"{',' if number else ''}\n{_json(value)}")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def records(parts: Iterable[tuple[Photo, Part]]) -> Iterator[Record]:
    """A record for each answer: every turn of its conversation, and in `meta` how sure it is and what is selected."""
    for photo, part in parts:
        for answer in part["answers"]:
            height, width = part["size"]
            kept = ("question", "told", "regions", "label", "selection", "score", "certainty", "refused", "unsure")
            one = len(answer["turns"]) == 2
            yield {
                "id": f"{photo.name}/{answer['question']}", "image_id": photo.name, "image": valid(photo.path),
                "height": height, "width": width, "split": "", "source": "predict",
                "kind": ("absent" if answer["refused"] else "single") if one else "edit", "hops": 1,
                "focus": answer["focus"], "turns": answer["turns"], "meta": {key: answer[key] for key in kept},
            }  # fmt: skip


def write_failures(out: Path, found: Iterable[dict[str, Any]]) -> int:
    """One line for each; returns how many. The file is there even when it is empty."""
    count = 0
    with whole(out / FAILURES) as staging, staging.open("w", encoding="utf-8") as file:
        for line in found:
            file.write(_json({key: valid(v) if isinstance(v, str) else v for key, v in line.items()}) + "\n")
            count += 1
    return count
