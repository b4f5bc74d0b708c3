"""The audit's material: a sample of a dataset, and rating sheets for people.

In: records. Out: a seeded, stratified sample; a folder with a CSV sheet and a Label Studio task list for each rater,
the photos and pictures of the final targets, and the rubric (`rubric.md`). Sheets are blind: an item goes by a code
(`code_of`), its files by that code, and nothing says source, kind or id. Does not know how sheets are read back
(`read`) or what is made of them (`report`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from miras.chat.render import Picture, overlay
from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.core.masks import box_of, resize_mask
from miras.core.photo import read_photo
from miras.core.selection import Steps, advance
from miras.core.types import Example, Mark, Mask, Name, Operator, Region, Selection
from miras.data.io.checks import OnFault, same_size
from miras.data.record import Record, example_of

SCALES = {
    "mask_fit": "Is just what should be selected after the last answer selected, all of it and nothing else?",
    "answer_correct": "Are the answers true of this photo, and do they answer what was asked?",
    "needs_reasoning": "Must one think, beyond finding a thing by its name?",
    "fluency": "Does the conversation read as two people would write it?",
}
"""The scales, each from LOWEST to HIGHEST; their anchors are in `rubric.md`."""
LOWEST, HIGHEST = 1, 5
COLUMNS = ("item", "rater", "photo", "conversation", "target", "mask_picture", *SCALES, "comment", "own_mask")
"""Of a CSV sheet, in order."""
MAX_SIDE = 1600
"""Longer side of the sheet's pictures in pixels, at most."""
NOTHING = "(nothing should be selected)"
_SMALL = 1 / 6
"""A target whose box is smaller than this share of both sides is shown again, enlarged."""
_RUBRIC = Path(__file__).with_name("rubric.md")


def draw(records: Iterable[Record], n: int, seed: int = 0, strata: Sequence[str] = ("kind", "source")) -> list[Record]:
    """`n` records (all, when there are fewer) for people to rate, in random order.

    Proportional to the strata, the distinct values of these fields, but at least one of each; of the largest ones only,
    when there are more strata than `n`. Depends on the ids and the seed, not on the order of the records, which are
    read once and not kept. Raises InputError for n below 1 or a field that records do not have.
    """
    if n < 1:
        raise InputError("a sample of at least 1 record", str(n))
    if unknown := [name for name in strata if name not in Record.__required_keys__ or name in ("turns", "meta")]:
        raise InputError("strata that are plain fields of a record, as kind, source, hops, split", ", ".join(unknown))
    sizes: Counter[str] = Counter()
    kept: dict[str, dict[str, Record]] = {}
    for record in records:
        stratum = json.dumps([record[name] for name in strata])  # type: ignore[literal-required]
        sizes[stratum] += 1
        best = kept.setdefault(stratum, {})
        best[record["id"]] = record
        if len(best) > 2 * n + 64:
            kept[stratum] = _first(best, n, seed)
    shares = _shares(sizes, n)
    sample = [record for name, best in kept.items() for record in _first(best, shares[name], seed).values()]
    return sorted(sample, key=lambda record: _rank(record["id"], seed))


def code_of(record_id: str) -> str:
    """The name an item goes by in sheets: "i" and ten hexadecimal digits (no spreadsheet takes it for a number)."""
    return "i" + hashlib.blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()


def target_of(example: Example) -> Selection | None:
    """What is selected after the last answer; None when that answer selects nothing (a refusal, plain words).

    Raises InputError when a region it names has no mask, or masks are of different sizes.
    """
    steps: Steps = ()
    known: list[Region] = []
    named = False
    for turn in example.conversation.turns:
        if turn.role != "assistant":
            continue
        if lost := {p.region for p in turn.content if isinstance(p, Name)} - {r.id for r in (*known, *turn.regions)}:
            raise InputError("a mask for each phrase that is named", f"none for region {min(lost)}")
        for region in turn.regions:
            first = turn.regions[0].mask.shape if not steps else steps[-1].mask.shape
            same_size("masks", (first[0], first[1]), (region.mask.shape[0], region.mask.shape[1]))
        marks = {piece.operator for piece in turn.content if isinstance(piece, Mark)}
        changes = bool(turn.names) or bool(marks & {Operator.UNDO, Operator.EXCEPT})
        named = changes and Operator.REJECT not in marks
        steps = advance(steps, turn, known)
        known += turn.regions
    return steps[-1] if named and steps and steps[-1].mask.any() else None


def words_of(target: Selection | None, example: Example) -> str:
    """The target in words: a phrase, or phrases joined by + and - as the selection was made, "all but" for ~; NOTHING
    for None."""
    if target is None:
        return NOTHING
    phrases = {str(region.id): region.phrase for region in example.conversation.regions}
    expression = target.expression.replace("~", "all but ")
    return re.sub(r"\d+", lambda found: phrases[found.group()], expression) or example.focus


def picture_of(photo: Picture, target: Mask | None) -> Picture:
    """The photo with its target tinted and outlined, the rest darker; a small one again, enlarged, on the right.

    (H, W, 3) uint8 RGB; W grows by H where the target is small. None: the photo as it is.
    """
    box = None if target is None else box_of(target)
    if target is None or box is None:
        return photo.copy()
    picture = overlay(photo, [Region(1, "", target, 1)], labels=False)
    height, width = target.shape
    x1, y1, x2, y2 = box
    if x2 - x1 >= _SMALL * width or y2 - y1 >= _SMALL * height:
        return picture
    side = int(min(max(2 * max(x2 - x1, y2 - y1), 24), height, width))
    left = int(np.clip((x1 + x2 - side) / 2, 0, width - side))
    top = int(np.clip((y1 + y2 - side) / 2, 0, height - side))
    window = (slice(top, top + side), slice(left, left + side))
    crop = Image.fromarray(photo[window]).resize((height, height), Image.Resampling.BICUBIC)
    close = overlay(np.array(crop), [Region(1, "", resize_mask(target[window], (height, height)), 1)], labels=False)
    return np.concatenate([picture, np.full((height, 6, 3), 255, np.uint8), close], axis=1)


def write_sheets(
    records: Sequence[Record], out: Path, raters: int = 3, seed: int = 0, on_fault: OnFault | None = None
) -> list[Path]:
    """Write the folder of an audit; returns the sheets and task lists. The same records and seed give the same bytes.

    README.md (the rubric), pictures/CODE.jpg and CODE-target.png, rater-N.csv, label-studio/rater-N.json and
    config.xml; each rater has an order of their own. A record whose photo or masks cannot be used goes to `on_fault`
    with its id, and is left out; without it the first one raises InputError. Raises InputError for no usable record.
    """
    if raters < 1:
        raise InputError("at least 1 rater", str(raters))
    items = list(_items(records, out, on_fault))
    if not items:
        raise InputError("at least one record that can be rated", f"none of {len(records)}")
    write_whole(out / "README.md", _RUBRIC.read_bytes())
    write_whole(out / "label-studio" / "config.xml", label_config().encode())
    written: list[Path] = []
    for number in range(1, raters + 1):
        rater = f"rater-{number}"
        order = sorted(items, key=lambda item: hashlib.blake2b(f"{seed}/{rater}/{item.code}".encode()).digest())
        written.append(write_whole(out / f"{rater}.csv", _sheet(order, rater)))
        tasks = json.dumps([_task(item, out.resolve().name) for item in order], ensure_ascii=False, indent=1)
        written.append(write_whole(out / "label-studio" / f"{rater}.json", tasks.encode("utf-8", "replace")))
    return written


def label_config() -> str:
    """Label Studio's labelling configuration: conversation, picture, a rating for each scale, comment, polygon."""
    scales = "\n".join(
        f"  <Header value={quoteattr(f'{name}: {question}')}/>\n"
        f'  <Rating name="{name}" toName="photo" maxRating="{HIGHEST}" icon="star" size="medium"/>'
        for name, question in SCALES.items()
    )
    return f"""<View>
  <Paragraphs name="talk" value="$talk" layout="dialogue" nameKey="author" textKey="text"/>
  <Header value="$target"/>
  <Image name="mask_picture" value="$mask_picture"/>
{scales}
  <TextArea name="comment" toName="photo" placeholder="Comment" rows="2" maxSubmissions="1"/>
  <Header value="Only when asked to: draw the target yourself"/>
  <PolygonLabels name="own_mask" toName="photo"><Label value="target"/></PolygonLabels>
  <Image name="photo" value="$photo"/>
</View>
"""


def talk_of(record: Record) -> list[tuple[str, str]]:
    """(who, text) of each turn, as a person reads it."""
    return [("User" if turn["role"] == "user" else "Assistant", turn["text"]) for turn in record["turns"]]


@dataclass(frozen=True, slots=True)
class _Item:
    """A row of a sheet. photo, mask_picture: file names from the sheet."""

    code: str
    photo: str
    mask_picture: str
    target: str
    talk: list[tuple[str, str]]


def _items(records: Sequence[Record], out: Path, on_fault: OnFault | None) -> Iterator[_Item]:
    """The rows, their pictures written one by one."""
    for record in records:
        try:
            yield _item(record, out)
        except InputError as error:
            if on_fault is None:
                raise InputError(error.expected, f"{error.got} in record {record['id']}", error.cure) from error
            on_fault(f"record {record['id']}: {error}")


def _item(record: Record, out: Path) -> _Item:
    example = example_of(record, Path())
    selection = target_of(example)
    target = None if selection is None else selection.mask
    photo = read_photo(record.get("image_bytes") or record["image"])
    if target is not None:
        same_size("a mask", (photo.shape[0], photo.shape[1]), (target.shape[0], target.shape[1]))
    shrink = MAX_SIDE / max(photo.shape[:2])
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in photo.shape[:2])
        photo = np.array(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))
        target = None if target is None else resize_mask(target, (height, width))
    code = code_of(record["id"])
    names = f"pictures/{code}.jpg", f"pictures/{code}-target.png"
    write_whole(out / names[0], _encoded(photo, "JPEG", quality=92))
    write_whole(out / names[1], _encoded(picture_of(photo, target), "PNG"))
    return _Item(code, *names, words_of(selection, example), talk_of(record))


def _encoded(picture: Picture, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=format, **options)
    return buffer.getvalue()


def _sheet(items: Sequence[_Item], rater: str) -> bytes:
    """CSV with a byte order mark: Excel takes it for UTF-8 then."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for item in items:
        talk = "\n".join(f"{who}: {' '.join(words.split())}" for who, words in item.talk)
        cells = [item.code, rater, item.photo, talk, _no_formula(item.target), item.mask_picture]
        rows.writerow(cells + [""] * (len(COLUMNS) - len(cells)))
    return text.getvalue().encode("utf-8-sig", "replace")


def _no_formula(text: str) -> str:
    """Spreadsheets carry out cells that begin like a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _task(item: _Item, folder: str) -> dict[str, Any]:
    """A task of Label Studio; files by the address under which it serves local ones."""
    photo, picture = (f"/data/local-files/?d={quote(f'{folder}/{name}')}" for name in (item.photo, item.mask_picture))
    talk = [{"author": who, "text": words} for who, words in item.talk]
    return {
        "data": {
            "item": item.code, "photo": photo, "mask_picture": picture, "talk": talk, "target": f"Target: {item.target}"
        }
    }  # fmt: skip


def _rank(record_id: str, seed: int) -> bytes:
    text = f"{seed}/{record_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def _first(records: dict[str, Record], n: int, seed: int) -> dict[str, Record]:
    """The n records that come first by their hash."""
    return {name: records[name] for name in sorted(records, key=lambda name: _rank(name, seed))[:n]}


def _shares(sizes: Counter[str], n: int) -> Counter[str]:
    """How many of each stratum: one each (the largest first), then always to the one most short of its share."""
    total = sum(sizes.values())
    order = sorted(sizes, key=lambda name: (-sizes[name], name))
    shares = Counter(dict.fromkeys(order[:n], 1))
    for _ in range(min(n, total) - len(shares)):
        open_ones = [name for name in order if shares[name] < sizes[name]]
        shares[max(open_ones, key=lambda name: n * sizes[name] / total - shares[name])] += 1
    return shares
