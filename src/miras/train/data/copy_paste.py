"""Copy and paste: a whole object of one photo put into another, with its name.

In: a sample, a donor, a random generator. Out: the sample with one object more, its mask and its phrase, and the masks
below it without what it hides; or the sample unchanged where the new words could be false. Source of the idea:
Ghiasi et al. 2021, Simple Copy-Paste. Knows no model.

Only what is surely not in the photo is pasted (`Scene.absent`: looked for and not found, or of a place that does not
go with this one): else "the dog" would be two dogs. Only labels of WHOLE: things that a person would name alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from miras.core.masks import box_of, decode_rle, encode_rle, mask_to_polygons, ring_area
from miras.core.types import AnnotatedPhoto, Annotation, Mask
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge as knowledge_base
from miras.data.language.knowledge import Entry, Knowledge
from miras.data.language.vocabulary import looked_for
from miras.train.data.sample import Sample, gone, is_written, least_share, resize

WHOLE = frozenset({
    "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light", "fire hydrant",
    "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear",
    "zebra", "giraffe", "backpack", "umbrella", "handbag", "suitcase", "frisbee", "snowboard", "sports ball",
    "kite", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "toilet", "tv", "laptop", "computer mouse", "remote control", "keyboard", "cell phone", "microwave",
    "toaster", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
})  # fmt: skip
"""Labels that are cut out: countable, of one piece, not worn and not held (COCO's things without persons)."""
LEAST_SIDE = 28
"""Pixels of a donor's shorter side: what is smaller is a blot."""
ENLARGED = 1.4
"""An object is enlarged by this factor at most."""
_LETTERED = frozenset({"stop sign", "parking meter", "keyboard", "book", "clock", "bus", "truck", "train"})
_PLACE = re.compile(
    r"\b(?:left|right|upper|lower|top|bottom|middle|centre|center|front|back|rear|behind|near(?:est)?|next|beside"
    r"|between|above|below|under|inside|corner|side|edge|far|(?:back|fore)ground|scene|photo|picture|image"
    r"|first|second|last|other|same|all|both|every|only|another)\b",
    re.I,
)
"""Words that place or count a thing among others: not true any more in another photo."""
_COMPARED = re.compile(
    r"\b(?:only|everything|anything else|(?:larg|bigg|small|near|clos|tall|long)est|whole (?:picture|photo|image))\b",
    re.I,
)
"""Words of the sample's own questions that one object more could make false."""
_ONE_PIECE = 0.9
_INSIDE = 0.8
_TOUCHED = 0.12
_BEHIND = frozenset({"ground", "building", "surface", "nature", "opening", "textile", "furniture", "bedding"})
"""Groups that stand behind or below things; of others that touch it, an object may be half hidden."""
_TRIES = 12
_FEATHER = 0.8


@dataclass(frozen=True)
class _Piece:
    """What is cut out: the object, then its parts. masks: (H, W) of the donor."""

    notes: tuple[Annotation, ...]
    masks: tuple[Mask, ...]
    entry: Entry


def copy_paste(
    sample: Sample,
    donor: Sample,
    rng: np.random.Generator,
    *,
    share: tuple[float, float] = (0.015, 0.12),
    whole: Collection[str] = WHOLE,
    knowledge: Knowledge | None = None,
) -> Sample:
    """The sample with one object of the donor at a random place, or as it is when none suits.

    share: area of the object, of the photo's pixels, drawn evenly on a logarithmic scale. whole: labels that may be
    pasted. The object stands last among the annotations, followed by its parts; it brings no instructions, they spoke
    of another photo. Masks lose what it hides; those left with too little are dropped, with their labels no longer in
    the vocabulary; written text is never hidden. Labels that the object may be taken for leave the vocabulary too.
    """
    known = knowledge or knowledge_base.load()
    said = [text for note in sample.photo.annotations for text in (note.phrase, *note.instructions)]
    if any(_COMPARED.search(text) for text in said):
        return sample
    scene = Scene(sample.photo, known)
    missing = {phrase for phrases in scene.absent for phrase in phrases}
    near = known.near(scene.present)
    pieces = [
        piece
        for note in donor.photo.annotations
        if note.label in whole
        and (piece := _piece(note, donor.photo, known)) is not None
        and piece.entry.phrase in missing
        and not near & {note.label, *piece.entry.also}
    ]
    for index in rng.permutation(len(pieces)):
        done = _paste(sample, donor, pieces[index], share, rng)
        if done is not None:
            return replace(done, photo=_without_near(done.photo, pieces[index].entry, known))
    return sample


def _piece(note: Annotation, photo: AnnotatedPhoto, known: Knowledge) -> _Piece | None:
    """An object that may be cut out, with its parts; None for what is no whole object on its own."""
    entry = known.find(note.label, note.phrase)
    alike = sum(other.label == note.label for other in photo.annotations)
    plural = alike == 1 and note.label in (known.many or {}).get(photo.source, ())  # one mask for all of them
    if entry is None or entry.object or plural or entry.group in (known.wholes or {}) or _PLACE.search(note.phrase):
        return None
    mask = decode_rle(note.rle)
    box = box_of(mask)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE or _cut_off(mask) or not _of_one_piece(mask):
        return None
    notes, masks, ring = [note], [mask], _ring(mask)
    for other in photo.annotations:
        of = known.find(other.label, other.phrase)
        part = decode_rle(other.rle)
        if of is None or of.object not in (note.label, entry.phrase, *entry.also):
            before = other is not note and (of is None or of.group not in _BEHIND)
            if before and np.count_nonzero(part & ring) > _TOUCHED * np.count_nonzero(ring):
                return None  # perhaps hidden in part
            continue
        inside = np.count_nonzero(part & mask)
        if inside < _INSIDE * np.count_nonzero(part):
            if inside:
                return None  # partly on it: whose part it is cannot be told
            continue
        if _PLACE.search(other.phrase):
            return None
        notes.append(other)
        masks.append(part & mask)
    return _Piece(tuple(notes), tuple(masks), entry)


def _cut_off(mask: Mask) -> bool:
    """Whether the photo's border cuts the object."""
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return any(np.count_nonzero(edge) > 2 for edge in edges)


def _ring(mask: Mask) -> Mask:
    """The two pixels around a mask."""
    grown = np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(5))) > 0
    return np.asarray(grown & ~mask)


def _of_one_piece(mask: Mask) -> bool:
    """Whether nearly all of the mask hangs together: what others cut in two is no whole object."""
    areas = [ring_area(ring) for ring in mask_to_polygons(mask)]
    return bool(max(areas) >= _ONE_PIECE * np.count_nonzero(mask))


def _paste(
    sample: Sample, donor: Sample, piece: _Piece, share: tuple[float, float], rng: np.random.Generator
) -> Sample | None:
    """The piece in the sample where it hides least of what is annotated; None when it fits nowhere."""
    height, width = sample.photo.size
    box = box_of(piece.masks[0])
    assert box is not None
    x0, y0, x1, y1 = (int(v) for v in box)
    wanted = float(np.exp(rng.uniform(*np.log(share)))) * height * width
    scale = min(
        (wanted / int(np.count_nonzero(piece.masks[0]))) ** 0.5,
        ENLARGED,
        0.9 * height / (y1 - y0),
        0.9 * width / (x1 - x0),
    )
    size = (max(2, round((y1 - y0) * scale)), max(2, round((x1 - x0) * scale)))
    if size[0] > height or size[1] > width:  # a strip of a pixel or two
        return None
    mirrored = rng.random() < 0.5 and piece.entry.phrase not in _LETTERED
    masks = [resize(mask, (x0, y0, x1, y1), size) for mask in piece.masks]
    image = Image.fromarray(donor.pixels[y0:y1, x0:x1]).resize(size[::-1], Image.Resampling.LANCZOS)
    patch = np.asarray(image)
    if mirrored:
        masks, patch = [mask[:, ::-1] for mask in masks], patch[:, ::-1]
    if np.count_nonzero(masks[0]) < 0.5 * share[0] * height * width:
        return None
    old = [decode_rle(note.rle) for note in sample.photo.annotations]
    place = _place(sample.photo, old, masks[0], rng)
    if place is None:
        return None
    pixels = _blend(sample.pixels, patch, masks[0], place)
    covers = [_at(mask, place, (height, width)) for mask in masks]
    photo = hide(sample.photo, old, covers[0])
    new = tuple(
        replace(note, rle=encode_rle(cover), instructions=())
        for note, cover in zip(piece.notes, covers, strict=True)
        if cover.any()
    )
    return replace(sample, pixels=pixels, photo=replace(photo, annotations=photo.annotations + new))


def hide(photo: AnnotatedPhoto, masks: Sequence[Mask], cover: Mask) -> AnnotatedPhoto:
    """The annotations without the pixels of `cover`; those of which too little stays go, and so do their labels.

    masks: of the annotations, in their order. cover: (H, W) bool.
    """
    kept, more = [], set(photo.uncounted)
    for note, mask in zip(photo.annotations, masks, strict=True):
        seen = mask & ~cover
        count, before = np.count_nonzero(seen), np.count_nonzero(mask)
        if count == before:
            kept.append(note)
        elif count and count >= least_share(note) * before:
            kept.append(replace(note, rle=encode_rle(seen)))
        elif count:
            more.add(note.label)
    vocabulary = photo.vocabulary - gone(photo.annotations, kept)
    return replace(photo, annotations=tuple(kept), vocabulary=vocabulary, uncounted=frozenset(more))


def _place(
    photo: AnnotatedPhoto, masks: Sequence[Mask], shape: Mask, rng: np.random.Generator
) -> tuple[int, int] | None:
    """(y, x) of the upper left corner: of a few drawn the first that drops fewest annotations.

    None: every place drops more than half of them, or written text.
    """
    best: tuple[int, tuple[int, int]] | None = None
    areas = [np.count_nonzero(mask) for mask in masks]
    for _ in range(_TRIES):
        y, x = (int(rng.integers(0, whole - own + 1)) for whole, own in zip(photo.size, shape.shape, strict=True))
        lost = [
            note
            for note, mask, area in zip(photo.annotations, masks, areas, strict=True)
            if area - np.count_nonzero(_window(mask, (y, x), shape) & shape) < least_share(note) * area
        ]
        if any(is_written(note) for note in lost) or 2 * len(lost) > len(masks):
            continue
        if best is None or len(lost) < best[0]:
            best = (len(lost), (y, x))
        if not lost:
            break
    return best[1] if best else None


def _window(mask: Mask, place: tuple[int, int], shape: Mask) -> Mask:
    """The part of a mask below `shape`."""
    return mask[place[0] : place[0] + shape.shape[0], place[1] : place[1] + shape.shape[1]]


def _blend(
    pixels: NDArray[np.uint8], patch: NDArray[np.uint8], shape: Mask, place: tuple[int, int]
) -> NDArray[np.uint8]:
    """The patch over the photo, with an edge that fades inwards, so that nothing of its old ground comes along."""
    (y, x), (height, width) = place, shape.shape
    padded = Image.fromarray(np.pad(shape, 3).astype(np.uint8) * 255)
    soft = np.asarray(padded.filter(ImageFilter.GaussianBlur(_FEATHER)), np.float32)[3:-3, 3:-3] / 255
    alpha = np.where(shape, np.clip(2 * soft - 0.6, 0, 1), 0)[..., None]
    out = pixels.copy()
    window = out[y : y + height, x : x + width]
    window[:] = np.rint(alpha * patch + (1 - alpha) * window).astype(np.uint8)
    return out


def _at(mask: Mask, place: tuple[int, int], size: tuple[int, int]) -> Mask:
    """The mask at its place in a photo of `size` (H, W)."""
    whole = np.zeros(size, np.bool_)
    whole[place[0] : place[0] + mask.shape[0], place[1] : place[1] + mask.shape[1]] = mask
    return whole


def _without_near(photo: AnnotatedPhoto, entry: Entry, known: Knowledge) -> AnnotatedPhoto:
    """The vocabulary without what may now be taken for the new object, or for a part of it."""
    names = {entry.phrase, *entry.also}
    near = known.near(names) - known.near(())
    unsure = {
        label
        for label in photo.vocabulary
        if label in near or ((part := known.find(label, label)) is not None and part.object in near)
    }
    present = {note.label for note in photo.annotations}
    return replace(photo, vocabulary=looked_for(photo.vocabulary, present, unsure - present))
