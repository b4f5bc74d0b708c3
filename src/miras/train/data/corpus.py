"""What a run trains on: photos with masks, photos with recorded conversations, and which are held out.

In: folders and files of any format. Out: `Corpus`. Whatever `miras data validate` would reject stops the run before
it begins. Splits go by photograph.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.dialogues.sampler import askable
from miras.data.formats.annotated import FORMATS as ANNOTATED
from miras.data.formats.annotated import SOURCES, TOOLS, read_sources
from miras.data.formats.annotated import read as read_annotations
from miras.data.formats.guess import guess_format
from miras.data.inspect.decoded import all_of, faulty
from miras.data.io.checks import files_in
from miras.data.io.gather import Losses, Picture, gather
from miras.data.io.left_out import LeftOut
from miras.data.io.places import split_folders
from miras.data.io.single import request
from miras.data.photos.contents import File, Parted, same_file
from miras.data.photos.identity import Folders, Names, named_photos, united
from miras.data.photos.split import CALIBRATION_SHARE, group_of, groups, recipe_sides, split
from miras.data.record import Record
from miras.train.data import conversations
from miras.train.recipe.schema import Data

log = logging.getLogger(__name__)
MEND = "mend or delete what is named (docs/own_data.md)"
"""What to do about faulty data."""


@dataclass
class Corpus:
    """photos: trained on, those without annotations are for their records alone. records: recorded conversations of
    training photos by `key`. held_out: for validation, talks: recorded conversations about these; calibration: for the
    few numbers fitted afterwards, recorded: recorded conversations about these. left: what was left out, and why."""

    photos: list[AnnotatedPhoto] = field(default_factory=list)
    records: dict[str, list[Record]] = field(default_factory=dict)
    held_out: list[AnnotatedPhoto] = field(default_factory=list)
    calibration: list[AnnotatedPhoto] = field(default_factory=list)
    talks: list[Record] = field(default_factory=list)
    recorded: list[Record] = field(default_factory=list)
    left: LeftOut = field(default_factory=LeftOut)

    def summary(self) -> dict[str, int]:
        """Numbers for the log."""
        return {
            "photos": len(self.photos), "conversations": sum(map(len, self.records.values())),
            "held out": len(self.held_out), "calibration": len(self.calibration),
        }  # fmt: skip

    def phrases(self) -> Corpus:
        """The same for stage 1: photos that only conversations know get the regions of these as annotations."""
        filled = _filled(self.photos, (record for rows in self.records.values() for record in rows))
        return replace(self, photos=[photo for photo in filled if photo.annotations], records={})


def key(photo: AnnotatedPhoto) -> str:
    """By which records find their photo: PRIST-Open's `image_id`."""
    return f"{photo.source}/{photo.id}"


class _Faults:
    """What is wrong with the data, wherever it lies, and the commands that list it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.commands: dict[str, None] = {}

    def add(self, lines: Sequence[str], path: Path, format: str) -> None:
        self.lines += lines
        if lines:
            self.commands[f"`miras data validate {path} --format {format}`"] = None

    def finish(self, report: Path | None) -> None:
        """Raise one InputError for all of them; a report of an earlier try goes when there are none."""
        if report is not None and not self.lines:
            report.unlink(missing_ok=True)
        if self.lines:
            listed = f"{' and '.join(self.commands)} {'list' if len(self.commands) > 1 else 'lists'} them all"
            cure = f"{MEND}; {listed}" if self.commands else MEND
            raise all_of(self.lines, "data without faults", cure, report)


def read(paths: Sequence[Path], data: Data, report: Path | None = None, *, decode: bool = True) -> Corpus:
    """Everything at `paths`, split as the recipe says.

    decode: whether every photo is decoded first, on all cores, so that no file that is cut off stops the run later.
    Raises InputError for no data, when a side is left empty, and for faulty data: all faults of all paths at once, the
    first few named, each in a line of the file `report`, with the commands that list them.
    """
    if not paths:
        raise InputError("data to train on", "none", "name folders with --data")
    photos: list[AnnotatedPhoto] = []
    records: list[Record] = []
    names, taken, left, faults = Names(), Counter[str](), LeftOut(), _Faults()
    if gone := [path for path in paths if not path.exists()]:
        raise InputError("data to train on", f"no file or folder {gone[0]}")
    for path in paths:
        if path.is_dir() and any((path / where).exists() for where, _ in SOURCES.values()):
            tally = LeftOut(faults.lines.append)
            more, talks = read_sources(path, tally), list[Record]()
            left.add(tally)
        else:
            more, talks = _formatted(path, left, faults)
        photos += _named(more, names)
        records += (_of_photo(_numbered(record, taken), names) for record in talks)
    if decode:
        files = [(photo.path, photo.content, photo.size) for photo in photos if photo.content or photo.path.is_file()]
        files += [(Path(r["image"]), r.get("image_bytes"), (r["height"], r["width"])) for r in records]
        faults.lines += faulty(files).values()
    faults.finish(report)
    photos = united(photos)
    if not photos and not records:
        got = "none in " + ", ".join(map(str, paths))
        cure = "outline something in each photo and save it"
        raise left.explained(InputError("photos with masks to train on", got, cure))
    _add_recorded(photos, records)
    corpus = replace(_divide(photos, records, data, left), left=left)
    if not corpus.photos:
        raise InputError("photos to train on", f"none of {len(photos)} on the training side", "see data.split")
    return corpus


def _formatted(path: Path, left: LeftOut, faults: _Faults) -> tuple[list[AnnotatedPhoto], list[Record]]:
    """Annotations as photos, conversations and questions in a person's own words as records."""
    format = _format(path)
    if format in ANNOTATED:
        return _annotations(path, format, left, faults), []
    told: list[str] = []
    records = conversations.read(path, format, told.append, left=left)
    faults.add(told, path, format)
    plain = [record for record in records if record["kind"] == "single" and _is_plain(record)]
    talks = [record for record in records if record["kind"] != "single" or not _is_plain(record)]
    pictures, _ = gather(plain, Losses(), on_fault=left)
    splits = {(r["source"], r["image_id"]): r["split"] for r in plain}
    return [_annotated(picture, splits) for picture in pictures], talks


def _format(path: Path) -> str:
    try:
        return guess_format(path)
    except InputError as error:
        cure = "LabelMe leaves a JSON beside each photo; else name the file itself with --data"
        raise InputError(f"photos with masks in {path}", error.got, cure) from error


def _named(photos: Iterable[AnnotatedPhoto], names: Names) -> Iterator[AnnotatedPhoto]:
    """Photos with ids that none of other data has."""
    return named_photos(photos, names)


def _numbered(record: Record, taken: Counter[str]) -> Record:
    """The record with an id that none of other data has."""
    taken[record["id"]] += 1
    count = taken[record["id"]]
    return record if count == 1 else {**record, "id": f"{record['id']}~{count}"}


def _of_photo(record: Record, names: Names) -> Record:
    """The record with the id that its photo has among all data."""
    given = name_of(record).removeprefix(f"{record['source']}/")
    known = names(record["source"], given, record["image"], record.get("image_bytes"))
    return record if known.id == given else {**record, "image_id": known.id}


def _annotations(path: Path, format: str, left: LeftOut, faults: _Faults) -> list[AnnotatedPhoto]:
    told: list[str] = []
    tally = LeftOut(told.append)
    photos: list[AnnotatedPhoto] = []
    whole = format in TOOLS or path.is_file() or _has_lists(path)
    told_apart = Folders()
    for folder, given in [(path, "")] if whole else split_folders(path, _has_lists):
        found = told_apart(read_annotations(folder, format, tally), folder)
        if folder != path:
            found = [replace(photo, source=path.resolve().name, split=given) for photo in found]
        photos += found
    left.add(tally)
    faults.add(told, path, format)
    return photos


def _has_lists(folder: Path) -> bool:
    """Whether a folder itself holds what its annotations start from."""
    return bool(files_in(folder, "*.json")) or (folder / "labels.txt").is_file()


def _is_plain(record: Record) -> bool:
    """Whether the words were made from the phrase by a reader."""
    return record["focus"] != "" and record["turns"][0]["text"] == request(record["focus"])


def _annotated(picture: Picture, splits: dict[tuple[str, str], str]) -> AnnotatedPhoto:
    given = splits.get((picture.source, picture.id), "")
    return AnnotatedPhoto(
        picture.id, picture.path, picture.size, _notes(picture), picture.source, content=picture.data, split=given
    )  # fmt: skip


def name_of(record: Record) -> str:
    """The `key` of the photo of a record."""
    name = record["image_id"] or record["image"]
    return name if name.startswith(f"{record['source']}/") else f"{record['source']}/{name}"


def _notes(picture: Picture) -> tuple[Annotation, ...]:
    return tuple(Annotation(shown.phrase, shown.phrase, shown.rle) for shown in picture.shown)


def _filled(photos: list[AnnotatedPhoto], records: Iterable[Record]) -> list[AnnotatedPhoto]:
    """Photos that only conversations know get the regions of these as annotations."""
    bare = {key(photo) for photo in photos if not photo.annotations}
    talks = [record for record in records if name_of(record) in bare]
    found: dict[str, list[Picture]] = {}
    for shown in gather(talks, Losses())[0]:
        found.setdefault(f"{shown.source}/{shown.id.removeprefix(shown.source + '/')}", []).append(shown)
    filled = []
    for photo in photos:
        file = File(photo.path, photo.content)
        mine = found.get(key(photo), []) if not photo.annotations else []
        picture = next((one for one in mine if same_file(File(one.path, one.data), file)), None)
        notes = _notes(picture) if picture is not None else photo.annotations
        filled.append(replace(photo, annotations=notes))
    return filled


def _add_recorded(photos: list[AnnotatedPhoto], records: Iterable[Record]) -> None:
    """Photos that only conversations know, with nothing to sample from."""
    known = {key(photo) for photo in photos}
    for record in records:
        name = name_of(record)
        if name not in known:
            known.add(name)
            size = (record["height"], record["width"])
            id = name.removeprefix(f"{record['source']}/")
            path, content = Path(record["image"]), record.get("image_bytes")
            photos.append(AnnotatedPhoto(id, path, size, (), record["source"], content=content))


def _divide(photos: list[AnnotatedPhoto], records: list[Record], data: Data, left: LeftOut) -> Corpus:
    by_photo: dict[str, list[Record]] = {}
    for record in records:
        by_photo.setdefault(name_of(record), []).append(record)
    if data.split == "recipe":
        sides = recipe_sides(photos)
        train, calibration, held_out = sides["train"], sides["calibration"], sides["val"]
        train = [p for p in train if not _is_held_out(p, by_photo.get(key(p), ()))]
    elif data.split == "share":
        train, held_out, calibration = _shared(photos, data.val)
    else:
        sides = _given(photos, by_photo)
        train, held_out, calibration = sides["train"], sides["val"], sides["val"]
    given, train = train, [photo for photo in train if askable(photo) or key(photo) in by_photo]
    kept_names = {photo.path for photo in train}
    idle = [photo.path.name for photo in given if photo.path not in kept_names]
    left.leave("photos to train on", "training photos with nothing to ask for", "".join(idle[:1]), len(idle))
    mine = {key(photo) for photo in train}
    talks = {name: rows for name, rows in by_photo.items() if name in mine}
    held = [row for photo in held_out for row in by_photo.get(key(photo), ())]
    held_out = _filled(held_out, held) if data.split == "share" else held_out
    shown = [photo for photo in held_out if photo.annotations]
    recorded = [row for photo in calibration for row in by_photo.get(key(photo), ())]
    return Corpus(train, talks, shown, [p for p in calibration if askable(p)], held, recorded)


def _is_held_out(photo: AnnotatedPhoto, records: Sequence[Record]) -> bool:
    """Whether the data itself keeps the photo out of training. A dataset's copy of a photo may have other bytes (its
    metadata is taken off), so that the recipe's own split does not know it again."""
    return any(given not in ("", "train") for given in (photo.split, *(row["split"] for row in records)))


def _shared(
    photos: list[AnnotatedPhoto], share: float
) -> tuple[list[AnnotatedPhoto], list[AnnotatedPhoto], list[AnnotatedPhoto]]:
    """(training, validation, calibration). Where photos are few and chance left a side empty, the share moves until
    each has a photo; raises InputError where it cannot. Copies of one photo are divided where there is no other."""
    together = groups(photos)
    if len(set(together)) == 1 < len(photos) and 0 < share < 1:
        together = [group_of(photo) for photo in photos]
        log.warning("all %d photos are copies of one: what is validated with was trained on", len(photos))
    train, rest = split(photos, share, by=lambda _: together)
    low, high = 0.0, 1.0
    while 0 < share < 1 and not (train and rest):
        low, high = (low, share) if rest else (share, high)
        if high - low < 1e-9:
            cure = "annotate more, or --set data.val=0 to train without validation"
            raise InputError("two photos at least, to train on and to validate with", f"{len(photos)} alone", cure)
        share = (low + high) / 2
        train, rest = split(photos, share, by=lambda _: together)
    held_out, calibration = split(rest, CALIBRATION_SHARE, seed=1)
    return (train, held_out, calibration) if held_out else (train, rest, [])


def _given(photos: list[AnnotatedPhoto], by_photo: dict[str, list[Record]]) -> dict[str, list[AnnotatedPhoto]]:
    sides: dict[str, list[AnnotatedPhoto]] = {"train": [], "val": [], "test": []}
    for photo in photos:
        rows = by_photo.get(key(photo))
        side = rows[0]["split"] if rows else photo.split
        if side not in sides:
            raise InputError(
                "data with a split of its own (data.split: given)", f"none for photo {photo.id}", "data.split=share"
            )
        sides[side].append(photo)
    names = {side: {key(photo) for photo in some} for side, some in sides.items()}
    if twice := sorted(names["train"] & (names["val"] | names["test"]) | names["val"] & names["test"]):
        raise InputError("each photograph in one split", f"{twice[0]} in several", MEND)
    parted = Parted()
    for side, photo in ((side, photo) for side, some in sides.items() for photo in some):
        parted.add(key(photo), side, File(photo.path, photo.content))
    for line in parted.lines:
        log.warning("%s", line)
    return sides
