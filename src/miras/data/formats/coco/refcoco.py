"""RefCOCO: referring expressions, `refs(NAME).json` or `.p`, over the annotations of `instances.json`.

In: the folder of both, or the refs file. Out: one record a sentence. RefCOCO's testA and testB are "test"
here, the original stands in `meta`. gRefCOCO's lists of annotations are united, its sentences without a
target are refusals. Of a large JSON, only the annotations that are named are kept in memory.
Source: Kazemzadeh et al., ReferItGame, EMNLP 2014; Yu et al., ECCV 2016; Liu et al., GRES, CVPR 2023.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as rle_tools

from miras.core.errors import InputError
from miras.core.types import Rle
from miras.data.formats.coco.stream import Photo, categories, images, photos_beside, segmentation
from miras.data.io.checks import Faults, OnFault, field, files_in, key_of, whole_number
from miras.data.io.single import id_of, single
from miras.data.io.stream import items
from miras.data.language.vocabulary import labels_of
from miras.data.record import Record

SPLIT_OF = {"train": "train", "val": "val", "test": "test", "testA": "test", "testB": "test", "testC": "test"}
"""Split in the file -> split of the record."""


def read(path: Path, on_fault: OnFault | None = None, image_root: Path | None = None) -> Iterator[Record]:
    """A record for each sentence, in the order of the refs. image_root: looked for beside the files when None.

    meta: sent_id, ref_id, ann_id (a list for gRefCOCO), category, split. Faulty records are left out
    and told to `on_fault`; without it they raise InputError after the last good one.
    """
    refs_path = refs_file(path)
    instances = refs_path.parent / "instances.json"
    faults = Faults(refs_path, on_fault)
    notes: dict[Any, Any] = {}
    wanted: set[Any] = set()
    for ref in _refs(refs_path):
        if isinstance(ref, dict):
            notes |= dict.fromkeys(_notes(ref))
            wanted.add(image_id if isinstance(image_id := whole_number(ref.get("image_id")), int | str) else None)
    labels = labels_of(categories(instances, faults))
    photos, _ = images(instances, image_root or photos_beside(instances), faults, wanted)
    _fill(notes, instances, photos, faults)
    source, seen = refs_path.resolve().parent.name, set[Any]()
    for index, ref in enumerate(_refs(refs_path)):
        name = f"ref {ref['ref_id'] if isinstance(ref, dict) and 'ref_id' in ref else f'number {index}'}"
        said = ref.get("sentences") if isinstance(ref, dict) else None
        with faults.of(name, "sentences", len(said) if isinstance(said, list) else 1, apart=True):
            photo = photos.get(key_of(ref, "image_id"))
            if photo is None:
                raise InputError("an image_id of a photo that can be used", repr(ref["image_id"]))
            rle = _mask(ref, notes)
            for sentence in field(ref, "sentences", list):
                with faults.of(name, "sentences"):
                    yield _record(ref, sentence, photo, rle, labels, seen, source)
    faults.finish()


def refs_file(path: Path) -> Path:
    """The refs file at a path: itself, or the only one in the folder. Raises InputError for none or several."""
    if path.is_file():
        return path
    files = sorted(file for end in ("json", "p") for file in files_in(path, f"*refs(*).{end}"))
    if len(files) != 1:
        got = ", ".join(file.name for file in files) or "none"
        raise InputError(f"one refs(NAME).json or .p in {path}", got, "name the file itself")
    return files[0]


class _NumberType:
    """The type of a numpy number, for `_number` alone: a code ("i8", "f4", "b1") and its order of bytes."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[iuf][1248]|b1", code):
            raise InputError("numbers", f"a numpy type {code!r:.40}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="


def _number(kind: _NumberType, content: bytes) -> int | float | bool:
    """A numpy number as a plain one."""
    found: int | float | bool = np.frombuffer(content, np.dtype(kind.order + kind.code), 1)[0].item()
    return found


def _bytes(text: str, encoding: str) -> bytes:
    """How pickles of protocol 2 hold bytes."""
    return text.encode("latin1") if encoding == "latin1" else b""


_NUMBERS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "scalar"): _number, ("numpy._core.multiarray", "scalar"): _number,
    ("numpy", "dtype"): _NumberType, ("_codecs", "encode"): _bytes,
}  # fmt: skip
"""What numpy's numbers are made by in a pickle -> what makes them here."""


class _Plain(pickle.Unpickler):
    """Builds lists, dicts, tuples, sets, text, bytes and numbers, numpy's too; any other name is refused."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")  # text of Python 2

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NUMBERS:
            return _NUMBERS[module, name]
        raise InputError("a pickle of plain lists, dicts, text and numbers", f"one that wants {module}.{name}")


def load_pickle(path: Path) -> Any:
    """The value of a pickle of plain containers; nothing in it can run. Raises InputError for any other."""
    try:
        with path.open("rb") as file:
            return _Plain(file).load()
    except InputError as error:
        raise InputError(
            error.expected, f"{error.got} ({path})", "use only files you trust, as refs(NAME).json"
        ) from None
    except OSError as error:
        raise InputError("a pickle", f"{path} ({error.strerror})") from error
    except Exception as error:  # what damaged pickles raise is without end: EOFError, KeyError, ValueError, ...
        raise InputError("a pickle", f"{path} ({type(error).__name__}: {str(error)[:80]})") from error


def _refs(path: Path) -> Iterator[Any]:
    if path.suffix != ".p":
        yield from items(path)
        return
    refs = load_pickle(path)
    if not isinstance(refs, list):
        raise InputError(f"a list of refs in {path}", f"a {type(refs).__name__}")
    yield from refs


def _notes(ref: dict[str, Any]) -> list[Any]:
    """The annotation ids of a ref; none where it has no target (-1 in gRefCOCO)."""
    given = ref.get("ann_id")
    ids = [whole_number(i) for i in (given if isinstance(given, list) else [given])]
    return [i for i in ids if isinstance(i, int | str) and not isinstance(i, bool) and i != -1]


def _fill(notes: dict[Any, Any], instances: Path, photos: dict[Any, Photo], faults: Faults) -> None:
    """Put (RLE, image id) under each id that is asked for; no RLE where the photo cannot be used."""
    for index, note in enumerate(items(instances, "annotations")):
        given = whole_number(note.get("id")) if isinstance(note, dict) else None
        if not isinstance(given, int | str) or given not in notes:
            faults.leave("annotations", "annotations that no ref names", f"{instances.name}, annotation number {index}")
            continue
        with faults.of(f"{instances.name}, annotation {given}", "annotations"):
            image_id = key_of(note, "image_id")
            photo = photos.get(image_id)
            rle = segmentation(note.get("segmentation"), photo.size) if photo else None
            notes[given] = (rle, image_id)


def _mask(ref: Any, notes: dict[Any, Any]) -> Rle | None:
    """The mask of a ref, several annotations united; None where it has none to show (gRefCOCO)."""
    if ref.get("no_target") or ref.get("ann_id") in (-1, [-1]):
        return None
    ids = _notes(ref)
    found = [notes.get(i) for i in ids]
    if not ids or None in found:
        raise InputError("an ann_id that can be used", f"{ref.get('ann_id')!r:.60}")
    other = [note[1] for note in found if note is not None and note[1] != whole_number(ref["image_id"])]
    if other:
        raise InputError(f"an annotation of image {ref['image_id']}", f"one of image {other[0]}")
    rles = [note[0] for note in found if note is not None]
    if len(rles) == 1:
        return dict(rles[0])
    merged = rle_tools.merge([{**rle, "counts": rle["counts"].encode("ascii")} for rle in rles])
    return {"size": [int(side) for side in merged["size"]], "counts": merged["counts"].decode("ascii")}


def _record(
    ref: dict[str, Any], sentence: Any, photo: Photo, rle: Rle | None, labels: dict[Any, str | None], seen: set[Any],
    source: str,
) -> Record:  # fmt: skip
    sent_id = key_of(sentence, "sent_id")
    if sent_id in seen:
        raise InputError("each sent_id once", f"{sent_id} again")
    seen.add(sent_id)
    phrase = " ".join(field(sentence, "sent" if "sent" in sentence else "raw", str).split())
    split = field(ref, "split", str)
    if not phrase or split not in SPLIT_OF:
        raise InputError("a sentence, and a split of " + ", ".join(SPLIT_OF), f"{phrase!r:.40}, {split!r}")
    category = whole_number(ref.get("category_id"))
    meta = {
        "sent_id": sent_id, "ref_id": ref.get("ref_id"), "ann_id": ref.get("ann_id"), "split": split,
        "category": labels.get(category if isinstance(category, int | str) else None) or "",
    }  # fmt: skip
    return single(
        photo.path, photo.size, phrase, rle, id=id_of(source, "", str(sent_id)), image_id=photo.id, source=source,
        split=SPLIT_OF[split], meta=meta,
    )  # fmt: skip
