"""Recorded conversations as training uses them: checked, packed, and changed together with their photo.

In: canonical records of any format, grouped by photo. Out: `RecordedPhoto`, and for a view of the photo the
`Conversation` that is true of it: masks cropped and mirrored, left and right swapped in what is said. A conversation
whose words depend on what else is in sight is shown with the whole photo; one that a mirror would make false is
not mirrored. Knows no batch and no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.selection import follow
from miras.core.types import AnnotatedPhoto, Annotation, Conversation, Mask, Name, Piece, Region, Turn, Words
from miras.data.formats.records import guess_format, read_records
from miras.data.inspect.validate import validate, without
from miras.data.io.checks import SHOWN_FAULTS, OnFault
from miras.data.io.left_out import LeftOut
from miras.data.language import knowledge
from miras.data.language.spelling import rough
from miras.data.language.words import mirror
from miras.data.photos.contents import Contents, File
from miras.data.record import Record, TurnRecord, turn_of
from miras.train.data import augment
from miras.train.data.augment import DEFAULT, Strength
from miras.train.data.sample import MIN_SHARE, MIN_WRITTEN, Sample, is_written, resize

MIN_PIXELS = 12
"""A region of which a crop leaves fewer is lost, unless it was as small before."""
_PLACE = re.compile(
    r"\b(left|right|\w+most|most|least|top|bottom|upper|lower|above|below|under|underneath|beneath|behind|front|rear|"
    r"middle|cent(er|re)|corner|edge|background|foreground|between|beside|next to|near(by)?|around|against|"
    r"touch(es|ing)?|opposite|across|far|close|high|low|half|side|other|others|another|both|all|every|each|pair|two|three|four|five|"
    r"(first|second|third|last) (one|from)|(larg|bigg|small|tall|short|long|wid|narrow|near|clos|high|thin|thick|old|"
    r"young|dark|bright|light|great|littl|tini)e(r|st)|farther|farthest|furthest)\b",
    re.IGNORECASE,
)
"""Words that can become false when less of the photo is in sight."""
_NOT_PLACE = re.compile(
    r"\ball right\b|\bright (?:now|away)\b|\bat (?:least|all)\b|\bno longer\b|\bboth the\b", re.IGNORECASE
)
_UNSURE = re.compile(
    r"\bleft[ -]?(?:over|behind|out|off|alone|it|them|for)|\b(?:is|are|be|been|nothing|anything|something|any) left\b|"
    r"(?<!the )\bright(?:\?| (?:against|at|above|below|under|underneath|behind|before|after|beside|next|in|into|on|"
    r"onto|by|near|over|inside|outside|through|beneath|across|around|between|up|down|back|off|out|from)\b)|clockwise|o'clock|"
    r"\b(?:(?:east|west)\w*|letters?|reads|writing|written|lettering|inscription)\b",
    re.IGNORECASE,
)
"""Left and right that may be no sides, and what looks otherwise in a mirror."""


@dataclass(frozen=True, slots=True)
class PackedConversation:
    """A recorded conversation, its masks packed. wide: only true of the whole photo. still: never mirrored. least:
    share of each region that a crop must keep."""

    id: str
    packed: bytes
    wide: bool
    still: bool
    least: float = MIN_SHARE

    def conversation(self) -> Conversation:
        """As recorded, masks decoded at the photo's full size."""
        turns: list[TurnRecord] = json.loads(self.packed)
        return Conversation(tuple(turn_of(turn, index) for index, turn in enumerate(turns)))


@dataclass(frozen=True, slots=True, eq=False)
class RecordedPhoto:
    """A photo file with its conversations and, where it is known to show the same, its annotations. content: the
    file, where it came with the records."""

    photo: AnnotatedPhoto
    talks: tuple[PackedConversation, ...] = ()
    content: bytes | None = None


def read(
    path: Path, format: str | None = None, on_fault: OnFault | None = None, *, photos: bool = True,
    left: LeftOut | None = None,
) -> list[Record]:  # fmt: skip
    """All records at `path`. photos: whether photo files are opened (headers only). left: counts what is left out.

    Whatever `miras data validate` calls a fault is told to `on_fault`; without it InputError is raised, with the number
    of faults, the first of them, and the command that lists all. Raises InputError for conversations without photos.
    """
    faults: list[str] = []
    kept: list[Record] = []
    format = format or guess_format(path)
    tally = LeftOut(faults.append)
    faults += map(str, validate(_kept(read_records(path, format, tally), kept), photos=photos))
    if left is not None:
        left.add(tally)
    if on_fault is not None:
        for fault in faults:
            on_fault(fault)
    elif faults:
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise InputError(
            f"{path} without faults", f"{len(faults)}: " + "; ".join(faults[:SHOWN_FAULTS]) + more,
            f"`miras data validate {path} --format {format}` lists them all",
        )  # fmt: skip
    if blind := sum("photo" in without(record) for record in kept):
        raise InputError("photos to train on", f"{blind} of {len(kept)} conversations in {path} without theirs")
    return kept


def _kept(records: Iterable[Record], kept: list[Record]) -> Iterator[Record]:
    for record in records:
        kept.append(record)
        yield record


def pack(record: Record) -> PackedConversation:
    """A faultless record, packed. Regions follow the order in which their turn names them, as `render` does."""
    turns: list[TurnRecord] = []
    for turn in record["turns"]:
        place = {piece["region"]: i for i, piece in enumerate(turn["content"]) if piece["type"] == "name"}
        turns.append({**turn, "regions": sorted(turn["regions"], key=lambda region: place.get(region["id"], 0))})
    written = record["kind"] == "text"
    return PackedConversation(
        record["id"], json.dumps(turns, separators=(",", ":")).encode(), wide=_speaks_of_place(record),
        still=written or any(_UNSURE.search(turn["text"]) for turn in turns),
        least=MIN_WRITTEN if written else MIN_SHARE,
    )  # fmt: skip


def versions(photo: AnnotatedPhoto, records: Iterable[Record]) -> tuple[RecordedPhoto, ...]:
    """The files of one photograph, each with its conversations; photo: its annotations, there may be none.

    Only the annotated photo itself, by its bytes, has annotations: text may have been written onto another (kind
    "text"). It is among them whenever it has annotations.
    """
    files: dict[int, list[Record]] = {}
    contents = Contents()
    for record in records:
        files.setdefault(contents(File(Path(record["image"]), record.get("image_bytes"))), []).append(record)
    number = contents(File(photo.path, photo.content)) if files else -1
    unseen = photo.content is None and not photo.path.is_file()
    found: list[RecordedPhoto] = []
    for file, group in files.items():
        size, content = (group[0]["height"], group[0]["width"]), group[0].get("image_bytes")
        own = replace(photo, path=Path(group[0]["image"]), size=size, content=content)
        said = unseen and any(record["kind"] != "text" for record in group)
        same = size == photo.size and (file == number or said)
        shown = own if same else replace(own, annotations=(), vocabulary=frozenset())
        found.append(RecordedPhoto(shown, tuple(map(pack, group)), content))
    if photo.annotations and not any(version.photo.annotations for version in found):
        found.insert(0, RecordedPhoto(photo))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class View:
    """What of a photo is seen. size: (H, W) of the photo as it is held; box: XYXY in its pixels; flip: mirrored;
    out: (H, W) of what is seen."""

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    flip: bool
    out: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off."""
        return self.box == (0, 0, self.size[1], self.size[0])

    def part(self, mask: Mask) -> Mask:
        """A mask at `size` cropped and mirrored; memory of its own."""
        x0, y0, x1, y1 = self.box
        part = mask[y0:y1, x0:x1]
        return np.ascontiguousarray(part[:, ::-1] if self.flip else part)

    def say(self, text: str) -> str:
        """What is said of the photo, said of what is seen."""
        return mirror(text) if self.flip else text


def augmented(
    sample: Sample,
    talks: Sequence[PackedConversation],
    rng: np.random.Generator,
    strength: Strength = DEFAULT,
    *,
    whole: bool = False,
) -> tuple[Sample, list[Conversation]]:
    """A photo and recorded conversations about it, cropped, mirrored, made coarser and coloured together.

    The crop is the one of `augment`, around an annotation or, where there is none, around a region. It is the whole
    photo when `whole` says so, when a conversation needs it, and when each would lose a region by the crop; when
    only some would, these are left out. Nothing is pasted or written: it would not be what was talked about. Equal
    input and generator state give equal output.
    """
    height, width = sample.photo.size
    everything = (0, 0, width, height)
    part = everything
    if not whole and not any(talk.wide for talk in talks):
        part = augment._crop(_target(sample.photo, talks, rng), rng, strength)
    still = any(talk.still for talk in talks) or any(is_written(note) for note in sample.photo.annotations)
    flipped = bool(rng.random() < strength.flip) and not still
    factor = rng.uniform(*strength.scale) if rng.random() < strength.coarse else 1.0
    for box in (part, everything):
        new = augment.cropped(sample, box)
        new = augment.flip(new) if flipped else new
        if factor < 1:
            new = augment.shrink(new.pixels, new.photo, max(32, int(max(new.photo.size) * factor)))
        out = (new.pixels.shape[0], new.pixels.shape[1])
        view = View(sample.photo.size, box, flipped, out)
        shown = [conversation for talk in talks if (conversation := seen(talk, view)) is not None]
        if shown or not talks:
            break
    words = " ".join(turn.text for conversation in shown for turn in conversation.turns)
    spoken = replace(new.photo, annotations=(*new.photo.annotations, Annotation("", words, {})))
    return Sample(augment._colours(Sample(new.pixels, spoken), rng, strength), new.photo), shown


def seen(talk: PackedConversation, view: View) -> Conversation | None:
    """The conversation about what is seen, masks at its size. None when a crop takes too much of a region, or leaves
    nothing of a selection."""
    turns = []
    for turn in talk.conversation().turns:
        regions = [_region_seen(region, view, talk.least) for region in turn.regions]
        there = tuple(region for region in regions if region is not None)
        if len(there) < len(regions):
            return None
        turns.append(Turn(turn.role, tuple(_piece_seen(piece, view) for piece in turn.content), there))
    conversation = Conversation(tuple(turns))
    return None if not view.whole and _emptied(conversation) else conversation


def typed(conversation: Conversation, rng: np.random.Generator, share: float) -> Conversation:
    """The conversation as it may be typed, a share of the user's texts; one about written text stays as it is."""
    if any(quote in region.phrase for region in conversation.regions for quote in "'\""):
        return conversation
    turns = (
        Turn.user(rough(turn.text, rng, share)) if turn.role == "user" else turn for turn in conversation.turns
    )  # fmt: skip
    return Conversation(tuple(turns))


def at_size(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask at the size (H, W) at which its photo is held; what is too small for it keeps one pixel."""
    height, width = mask.shape
    if (height, width) == size:
        return mask
    small = resize(mask, (0, 0, width, height), size)
    if not small.any() and mask.any():
        rows, columns = np.nonzero(mask)
        middle = len(rows) // 2
        small[rows[middle] * size[0] // height, columns[middle] * size[1] // width] = True
    return small


def _region_seen(region: Region, view: View, least: float) -> Region | None:
    full = at_size(region.mask, view.size)
    part = view.part(full)
    if not view.whole and not _stays(part, full, least):
        return None
    return replace(region, phrase=view.say(region.phrase), mask=at_size(part, view.out))


def _piece_seen(piece: Piece, view: View) -> Piece:
    if isinstance(piece, Words):
        return Words(view.say(piece.text))
    return Name(view.say(piece.phrase), piece.region) if isinstance(piece, Name) else piece


def _stays(part: Mask, full: Mask, least: float) -> bool:
    """Whether enough of a mask is in sight."""
    kept, before = int(np.count_nonzero(part)), int(np.count_nonzero(full))
    return kept >= least * before and (kept >= MIN_PIXELS or kept == before)


def _emptied(conversation: Conversation) -> bool:
    """Whether some step selects nothing."""
    return any(bool(steps) and not steps[-1].mask.any() for _, steps in follow(conversation.turns))


def _target(photo: AnnotatedPhoto, talks: Sequence[PackedConversation], rng: np.random.Generator) -> AnnotatedPhoto:
    """The photo with something to crop around."""
    if photo.annotations or not talks:
        return photo
    regions = talks[int(rng.integers(len(talks)))].conversation().regions
    if not regions:
        return photo
    region = regions[int(rng.integers(len(regions)))]
    rle = encode_rle(at_size(region.mask, photo.size))
    return replace(photo, annotations=(Annotation(region.phrase, region.phrase, rle),))


def _speaks_of_place(record: Record) -> bool:
    """Whether a crop can make a word false: it compares or tells places, or a reply names nothing that a mask shows.

    Names of parts from the knowledge base ("front left door") belong to the thing, whatever else is in sight.
    """
    shown = False
    for turn in record["turns"]:
        shown |= bool(turn["regions"])
        bare = _NOT_PLACE.sub(" ", _part_names().sub(" ", turn["text"]))
        if _PLACE.search(bare):
            return True
        marked = any(piece["type"] == "mark" for piece in turn["content"])
        if turn["role"] == "assistant" and not shown and not marked:
            return True
    return False


@lru_cache(maxsize=1)
def _part_names() -> re.Pattern[str]:
    """Names of parts that hold a word of place: "front left door", "back of the chair"."""
    names = set()
    for entry in knowledge.load().entries.values():
        if entry.object:
            names |= {entry.phrase, *entry.also, *([entry.part] if " " in entry.part else [])}
    placed = sorted((name for name in names if _PLACE.search(name)), key=lambda name: (-len(name), name))
    return re.compile(r"\b(?:" + "|".join(map(re.escape, placed)) + r")\b", re.IGNORECASE)
