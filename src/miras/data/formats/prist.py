"""Official PRIST: one JSON list of dialogues, and LabelMe polygons of their final targets.

In: `test.json`, a list of {"img_id", "dialogue": [{"from": "human"|"gpt", "value"}], "focus"}, with one `[SEG]` in
the last reply; where they are to be had, photos and a LabelMe file `{stem of img_id}.json` for each (of photos with one
stem it is that of its folder and its `imagePath`). Out: `Record` values, and both kinds of files again: the JSON byte
for byte as it was released. A shape belongs to a dialogue when its label is the focus after normalisation, never by
a part of it (the official code takes "sign text" for "sign"). Source: PixelRIST, ACL 2025.acl-long.864, and its
repository.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.files import staged, whole
from miras.core.masks import union
from miras.core.types import Mask, Name, Operator, Region, Turn, Words
from miras.data.formats import labelme
from miras.data.io.checks import Faults, OnFault, field, inside, load_json, photo_size, same_size
from miras.data.io.places import PHOTOS, files, split_of, the_one
from miras.data.io.stream import items
from miras.data.photos.contents import File, same_file
from miras.data.photos.identity import FileNames, Names
from miras.data.record import Record, TurnRecord, turn_record

SEG = "[SEG]"
ROLES = {"human": "user", "gpt": "assistant"}
_SPEAKERS = {role: speaker for speaker, role in ROLES.items()}
_MESSAGE = {"from", "value"}


def read(
    path: Path | str,
    on_fault: OnFault | None = None,
    *,
    photos: Path | str | None = None,
    masks: Path | str | None = None,
) -> Iterator[Record]:
    """The dialogues of `path` (the JSON, or a folder with test.json), one by one.

    photos, masks: folders; None = "images" and "masks" beside the JSON where they are, else the JSON's own
    folder. What a folder that was named lacks is a fault; otherwise a missing photo gives height = width = 0, a
    missing mask no region (the reply holds the focus in words then), and `meta["without"]` says which of
    "photo", "mask". kind "progressive", hops: the exchanges before the closing one, id: "{stem}-{n}" from 0.
    Faulty dialogues go to `on_fault`; without it one InputError names them at the end.
    """
    path = Path(path)
    file = path / "test.json" if path.is_dir() else path
    faults = Faults(file, on_fault)
    reader = _Reader(
        file, _folder(file, photos, "images"), _folder(file, masks, "masks"), photos is not None, masks is not None
    )
    for index, item in enumerate(items(file)):
        with faults.of(f"record {index}", "dialogues"):
            record = reader.record(item, index)
            if lacking := record["meta"].get("without"):
                faults.leave("targets", f"targets without {' and '.join(lacking)}", f"record {index}")
            else:
                faults.tally.read["targets"] += 1
            yield record
    faults.finish()


def write(
    records: Iterable[Record], path: Path | str, *, masks: Path | str | None = None, on_fault: OnFault | None = None,
    names: PhotoNames | None = None,
) -> int:  # fmt: skip
    """Write the JSON at `path` and the LabelMe files; returns the number of dialogues. Whole or not at all.

    masks: the folder of the LabelMe files ("masks" beside the JSON); made only when a record has a region. names: keeps
    what each photo is called in the file: by its own name, unless another has that.
    PRIST holds one target, in the last reply: a record with regions elsewhere, with several, or with
    operators is a fault, left out when `on_fault` takes it. So is a second mask for the same photo and
    focus that is not the first. Masks are polygons along the pixel edges; one with holes is a LabelMe `mask`
    shape (PNG), since polygons cannot say holes. `read` gives both back exactly. Raises InputError.
    """
    path = Path(path)
    folder = Path(masks) if masks is not None else path.parent / "masks"
    faults = Faults(path, on_fault)
    targets: dict[str, dict[str, Any]] = {}
    names = names or PhotoNames()
    count = 0
    with whole(path) as staging:
        with staging.open("w", encoding="utf-8", newline="\n") as file:
            for index, record in enumerate(records):
                with faults.of(f"record {index} ({record['id']!r})"):
                    item = _item(record, names)
                    _collect(record, item["img_id"], targets)
                    file.write(("[\n    " if count == 0 else ",\n    ") + _indented(item))
                    count += 1
            file.write("\n]" if count else "[]")
        faults.finish()
        for name, document in targets.items():
            with staged(folder / f"{Path(name).stem}.json") as staging_of_mask:
                text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
                staging_of_mask.write_text(text, encoding="utf-8")
    return count


def normal(text: str) -> str:
    """What two labels must share to be the same: Unicode NFKC, case and runs of spaces put aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def mask_of(shapes: list[Any], focus: str, size: tuple[int, int]) -> Mask | None:
    """The shapes of a LabelMe file whose label is the focus, united, (H, W); None when there is none.

    size: (H, W) of the photo. Raises InputError for a shape that cannot be drawn, with its number.
    """
    wanted, chosen = normal(focus), []
    for number, shape in enumerate(shapes):
        label = shape.get("label") if isinstance(shape, dict) else None
        if isinstance(label, str) and normal(label) == wanted:
            try:
                chosen.append(labelme.shape_mask(shape, size))
            except InputError as error:
                raise InputError(f"shape {number}: {error.expected}", error.got, error.cure) from error
    return union(*chosen) if chosen else None


class PhotoNames:
    """What photos are called in a file of PRIST. taken: name -> path and, where it is embedded, the file."""

    def __init__(self) -> None:
        self._names, self._files = Names(), FileNames(stems=True)
        self.taken: dict[str, File] = {}

    def __call__(self, record: Record) -> str:
        """The name of a record's photo: its file's, unless another has that or differs in the ending alone."""
        path, data = Path(record["image"]), record.get("image_bytes")
        if data is None and not path.is_file():
            return path.name
        id = record["image_id"] or record["image"]
        known = self._names(record["source"], id, path, data)
        name = self._files((record["source"], *known), path.name, known.id)
        self.taken.setdefault(name, File(path, data))
        return name


class _Reader:
    """Makes records of one file; keeps the shapes of the last photo."""

    def __init__(self, file: Path, photos: Path, masks: Path, need_photos: bool, need_masks: bool) -> None:
        self._stem = file.stem
        self._photos, self._masks = photos.resolve(), masks
        self._need_photos, self._need_masks = need_photos, need_masks
        self._last: tuple[Path, dict[str, Any]] | None = None
        self._of_stem: dict[str, list[Path]] | None = None

    def record(self, item: Any, index: int) -> Record:
        name, focus, turns = _parsed(item)
        photo = inside(self._photos, name)
        size = photo_size(photo) if self._need_photos or photo.is_file() else (0, 0)
        mask = self._mask(name, photo, focus, size) if size != (0, 0) else None
        last = _closing(item["dialogue"][-1]["value"], focus, mask, len(turns) - 1)
        without = [what for what, lacks in (("photo", size == (0, 0)), ("mask", mask is None)) if lacks]
        return {
            "id": f"{self._stem}-{index}", "image_id": name, "image": photo.as_posix(), "height": size[0],
            "width": size[1], "split": split_of(self._stem), "source": "prist",
            "kind": "progressive", "hops": max(1, len(turns) // 2 - 1), "focus": focus, "turns": [*turns[:-1], last],
            "meta": {"without": without} if without else {},
        }  # fmt: skip

    def _mask(self, name: str, photo: Path, focus: str, size: tuple[int, int]) -> Mask | None:
        own, flat = (inside(self._masks, Path(stem).with_suffix(".json").as_posix()) for stem in (name, photo.name))
        path = own if own.is_file() else flat
        if not path.is_file():
            if self._need_masks:
                raise InputError("the mask", f"no file {path}")
            return None
        if self._last is None or self._last[0] != path:
            self._last = (path, load_json(path, dict))
        shapes = _shapes_in(self._last[1], path, size)
        self._check_photo(self._last[1].get("imagePath"), photo, path)
        try:
            mask = mask_of(shapes, focus, size)
        except InputError as error:
            raise InputError(f"{path.name}, {error.expected}", error.got, error.cure) from error
        if mask is None:
            labels = sorted({repr(shape.get("label")) for shape in shapes if isinstance(shape, dict)})
            raise InputError(f"a shape labelled {focus!r} in {path.name}", ", ".join(labels)[:300] or "none")
        return mask

    def _check_photo(self, said: Any, photo: Path, file: Path) -> None:
        """That a LabelMe file is about this photo, where others have its name. Raises InputError."""
        if self._of_stem is None:
            self._of_stem = {}
            for other in files(self._photos, *PHOTOS):
                self._of_stem.setdefault(other.stem, []).append(other)
        others = self._of_stem.get(photo.stem, [])
        if len(others) < 2:
            return
        place = file.relative_to(self._masks).with_suffix("")
        near = [other for other in others if other.relative_to(self._photos).with_suffix("") == place] or others
        parts = Path(said.replace("\\", "/")).parts if isinstance(said, str) else ()
        for start in range(len(parts)):  # the more of its path fits, the surer it is
            if fits := [other for other in near if other.parts[-len(parts) + start :] == parts[start:]]:
                near = fits
                break
        only = the_one(near, file.name)
        if only is None or not same_file(File(only), File(photo)):
            raise InputError(f"a mask of {photo.name}", f"{file.name}, which is of {only.name if only else said}")


# Reading


def _folder(file: Path, given: Path | str | None, name: str) -> Path:
    if given is not None:
        if not Path(given).is_dir():
            raise InputError(f"a folder of {name}", f"no folder {given}")
        return Path(given)
    beside = file.parent / name
    return beside if beside.is_dir() else file.parent


def _shapes_in(document: dict[str, Any], path: Path, size: tuple[int, int]) -> list[Any]:
    noted = (document.get("imageHeight"), document.get("imageWidth"))
    if all(type(side) is int for side in noted):
        same_size(f"a LabelMe file ({path.name})", size, noted)  # type: ignore[arg-type]
    return field(document, "shapes", list)


def _parsed(item: Any) -> tuple[str, str, list[TurnRecord]]:
    """(img_id, focus, turns), the last of which is still without its target."""
    name, focus = field(item, "img_id", str), field(item, "focus", str)
    messages = field(item, "dialogue", list)
    if not focus.strip():
        raise InputError("a focus", "an empty one")
    if not messages:
        raise InputError("a dialogue", "an empty one")
    for number, message in enumerate(messages):
        speaker, expected = field(message, "from", str), list(ROLES)[number % 2]
        if speaker != expected:
            raise InputError(f'message {number} from "{expected}"', repr(speaker))
        if not field(message, "value", str).strip():
            raise InputError(f"words in message {number}", "none")
    if len(messages) % 2:
        raise InputError("a reply to the last message", "none")
    places = [number for number, message in enumerate(messages) for _ in range(message["value"].count(SEG))]
    if places != [len(messages) - 1]:
        raise InputError(f"one {SEG}, in the last reply", f"{len(places)}, in messages {places}")
    if extra := sorted((set(item) - {"img_id", "dialogue", "focus"}) | {k for m in messages for k in m} - _MESSAGE):
        raise InputError("the keys img_id, dialogue, focus, from, value", f"also {extra[:4]}")
    turns = [Turn(ROLES[m["from"]], (Words(m["value"]),)) for m in messages]  # type: ignore[arg-type]
    return name, focus, [turn_record(turn) for turn in turns]


def _closing(value: str, focus: str, mask: Mask | None, index: int) -> TurnRecord:
    """The last reply: the focus in the place of `[SEG]`, as the name of its region where there is one."""
    before, after = value.split(SEG)
    target = Words(focus) if mask is None else Name(focus, 1)
    content = tuple(piece for piece in (Words(before), target, Words(after)) if piece != Words(""))
    regions = () if mask is None else (Region(1, focus, mask, index),)
    return turn_record(Turn("assistant", content, regions))


# Writing


def _item(record: Record, names: PhotoNames) -> dict[str, Any]:
    """The record as PRIST has it. Raises InputError when PRIST cannot hold it."""
    turns = record["turns"]
    roles = [turn["role"] for turn in turns]
    if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
        raise InputError("user and assistant in turn", ", ".join(roles) or "no turns")
    regions = [(number, region) for number, turn in enumerate(turns) for region in turn["regions"]]
    if [number for number, _ in regions] not in ([], [len(turns) - 1]):
        raise InputError("one region, in the last reply", f"{len(regions)}, in turns {[n for n, _ in regions]}")
    marks = [p["text"] for turn in turns for p in turn["content"] if p["type"] == "mark"]
    if any(mark != Operator.REPLACE for mark in marks):
        raise InputError("no operators", ", ".join(marks))
    wanted = ("name", regions[0][1]["phrase"]) if regions else ("words", record["focus"])
    places = [number for number, p in enumerate(turns[-1]["content"]) if (p["type"], p["text"]) == wanted]
    if not places:
        raise InputError("the focus in the last reply", f"{record['focus']!r} in {turns[-1]['text']!r:.80}")
    if any(p["type"] == "name" and p["region"] not in {r["id"] for r in turn["regions"]}
           for turn in turns for p in turn["content"]):  # fmt: skip
        raise InputError("regions that are named once", "one that is meant again")
    dialogue = []
    for turn in turns:
        said = [SEG if turn is turns[-1] and n == places[-1] else p["text"] for n, p in enumerate(turn["content"])]
        dialogue.append({"from": _SPEAKERS[turn["role"]], "value": "".join(said)})
    focus = regions[0][1]["phrase"] if regions else record["focus"]
    return {"img_id": names(record), "dialogue": dialogue, "focus": focus}


def _collect(record: Record, name: str, targets: dict[str, dict[str, Any]]) -> None:
    """Add the record's region to the LabelMe document of its photo."""
    regions = record["turns"][-1]["regions"]
    if not regions:
        return
    region = regions[0]
    document = targets.get(name) or labelme.document([], name, (record["height"], record["width"]))
    shapes = document["shapes"]
    known = [shape for shape in shapes if normal(shape["label"]) == normal(region["phrase"])]
    group = known[0]["group_id"] if known else 1 + max((shape["group_id"] for shape in shapes), default=0)
    made = labelme.shapes_of(region["phrase"], dict(region["rle"]), group)
    if known and [{**shape, "label": ""} for shape in known] != [{**shape, "label": ""} for shape in made]:
        raise InputError(f"one mask for {region['phrase']!r} on {name}", "another one in an earlier record")
    shapes += [] if known else made
    targets[name] = document


def _indented(item: dict[str, Any]) -> str:
    return json.dumps(item, indent=4, ensure_ascii=False).replace("\n", "\n    ")
