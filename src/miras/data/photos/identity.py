"""Which photo a file shows: the one notion of it that readers, writers, splits, training and evaluation share.

In: photos by source, name and file (or the file's bytes). Out: an id for each, of its own in its source. The rules:

1. A photo's id is the name that the dataset has for it, mostly its file's name without the ending.
2. Two files of one name are one photo when they hold the same bytes (copies, links, one file named twice). Otherwise
   they are two: the one that comes first keeps the name, the other takes into its id what tells them apart, first of
   all folders ("cam2/000001", "val/0001", "a.png"). So an id changes in one case only: a photo that comes
   earlier gets the same name. Readers go by sorted names, and what is added to a dataset mostly comes later.
3. An id that says more than the file's name ("ccp/0001" of `ccp-0001.jpg`) is the dataset's word: its files are
   versions of one photograph (text was written onto it), kept together by every split; masks stay with their file.
4. Equal files of different names are `copies`: photos of their own, which no split that is made here puts on two sides.

Bytes are compared where names are equal (or, for `copies`, sizes), never otherwise. Knows no file format.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from miras.core.types import AnnotatedPhoto, Annotation
from miras.data.photos.contents import Contents, File, Look, same_file
from miras.data.record import Record


class Known(NamedTuple):
    """id: of the photograph, in its source. version: which of its files, from 0; of one version all bytes are equal."""

    id: str
    version: int = 0


class Names:
    """Gives every photo an id of its own, in the order in which they come; see the rules above."""

    def __init__(self, *, opened: bool = True) -> None:
        """opened: whether files may be; otherwise all files of one name are one photo."""
        self._opened = opened
        self._of_name: dict[tuple[str, str], str | _Name] = {}

    def __call__(self, source: str, name: str, path: Path | str, content: bytes | None = None) -> Known:
        """name: the dataset's id of the photo. path: its file; content: the file's bytes, where they are embedded."""
        same = self._of_name.get((source, name))
        if content is None or not self._opened:
            only = str(path)
            if same is None:
                self._of_name[source, name] = only
            if same is None or same == only or not self._opened:
                return Known(name)
        look = Look(File(Path(path), content))
        if not isinstance(same, _Name):
            first = look if same is None else Look(File(Path(same)))
            same = self._of_name[source, name] = _Name(first, Known(name))
        number = same.contents.of(look)
        if number == len(same.known):
            same.known.append(self._new(source, name, look, same))
        return same.known[number]

    def _new(self, source: str, name: str, look: Look, same: _Name) -> Known:
        path = look.path
        if not (_repeats(name, path) and _repeats(name, same.first.path)):
            return Known(name, sum(known.id == name for known in same.known))
        id = next(id for id in _ids(name, path, same.first.path) if (source, id) not in self._of_name)
        self._of_name[source, id] = _Name(look, Known(id))
        return Known(id)


def named(records: Iterable[Record]) -> Iterator[Record]:
    """The records, each with an `image_id` that no other photo of its source has."""
    names = Names()
    for record in records:
        given = record["image_id"]
        known = names(record["source"], given or record["image"], record["image"], record.get("image_bytes"))
        yield record if not given or known.id == given else {**record, "image_id": known.id}


def named_photos(photos: Iterable[AnnotatedPhoto], names: Names | None = None) -> Iterator[AnnotatedPhoto]:
    """The photos, each with an `id` that no other of its source has; names: what was named before."""
    names = names or Names()
    for photo in photos:
        known = names(photo.source, photo.id, photo.path, photo.content)
        yield photo if known.id == photo.id else replace(photo, id=known.id)


def united(photos: Iterable[AnnotatedPhoto]) -> list[AnnotatedPhoto]:
    """One for each photo: those of one source, split, id, size and content with all their annotations, in order.

    Nothing is called absent that one of them shows, or does not call absent.
    """
    names, found = Names(), dict[Hashable, AnnotatedPhoto]()
    for photo in photos:
        key = (photo.source, photo.split, *names(photo.source, photo.id, photo.path, photo.content), photo.size)
        first = found.get(key)
        found[key] = photo if first is None else _joined(first, photo)
    return list(found.values())


class Folders:
    """Tells the photos of a dataset's folders apart where each folder has a list of names of its own."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[Path, list[File]]] = {}

    def __call__(self, photos: Sequence[AnnotatedPhoto], folder: Path) -> list[AnnotatedPhoto]:
        """The photos of one more folder; it goes into the ids of those whose name stands for other bytes elsewhere."""
        here: dict[str, list[File]] = {}
        for photo in photos:
            here.setdefault(photo.id, []).append(File(photo.path, photo.content))
        ids: dict[str, str] = {}
        for id, files in here.items():
            first, others = self._first.setdefault(id, (folder, files))
            if first != folder and not any(same_file(one, other) for one in files for other in others):
                ids[id] = "/".join((*told_apart(folder / id, first / id), id))
        return [replace(photo, id=ids.get(photo.id, photo.id)) for photo in photos]


def told_apart(path: Path, other: Path) -> tuple[str, ...]:
    """The folders of a path that another path has not: ("cam2",) of a/cam2/1.png beside a/cam1/1.png.

    Its last folder where it has none of its own; nothing where both lie in one folder.
    """
    mine, theirs = path.parent.parts, other.parent.parts
    if mine == theirs:
        return ()
    while mine and theirs and mine[0] == theirs[0]:
        mine, theirs = mine[1:], theirs[1:]
    while mine and theirs and mine[-1] == theirs[-1]:
        mine, theirs = mine[:-1], theirs[:-1]
    return tuple(part.strip("/\\:") or "root" for part in mine or path.parent.parts[-1:])


class FileNames:
    """A file's name for each photo, that no other has: its own, else with the folders in its id, else with a number."""

    def __init__(self, *, stems: bool = False) -> None:
        """stems: whether names must differ without their endings, too."""
        self._stems = stems
        self._taken: set[str] = set()
        self._names: dict[Hashable, str] = {}

    def __call__(self, photo: Hashable, name: str, id: str, folder: str = "") -> str:
        """photo: what tells it from others; name: of its file; id: its own; folder: put before, with its "/"."""
        if photo not in self._names:
            self._names[photo] = self._new(name, id, folder)
            self._taken.add(self._key(self._names[photo]))
        return self._names[photo]

    def _new(self, name: str, id: str, folder: str) -> str:
        stem, ending = os.path.splitext(name)
        parts, number = id.split("/"), 1
        found = folder + name
        if self._key(found) in self._taken and parts[-1] in (stem, name):
            found = folder + "-".join((*parts[:-1], name))
        while self._key(found) in self._taken:
            number += 1
            found = f"{folder}{stem}-{number}{ending}"
        return found

    def _key(self, name: str) -> str:
        return file_key(os.path.splitext(name)[0] if self._stems else name)


def file_key(name: str) -> str:
    """What two names of files share that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


# Within


def _repeats(name: str, path: Path) -> bool:
    """Whether an id says no more than its file's name does."""
    return PurePosixPath(name).name in (path.stem, path.name)


def _ids(name: str, path: Path, first: Path) -> Iterator[str]:
    """Ids for a photo whose name the photo `first` has, the best one before the others."""
    if apart := told_apart(path, first):
        yield "/".join((*apart, name))
    elif path.name != first.name and not name.endswith(path.suffix):
        yield name + path.suffix
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _joined(first: AnnotatedPhoto, photo: AnnotatedPhoto) -> AnnotatedPhoto:
    told = {_content(note) for note in first.annotations}
    notes = first.annotations + tuple(note for note in photo.annotations if _content(note) not in told)
    return replace(first, annotations=notes, vocabulary=first.vocabulary & photo.vocabulary)


def _content(note: Annotation) -> Hashable:
    return note.label, note.phrase, note.rle.get("counts"), note.instructions


class _Name:
    """The photos of one name. known: what each of their contents is known by, in their order."""

    __slots__ = ("contents", "first", "known")

    def __init__(self, first: Look, known: Known) -> None:
        self.first, self.known = first, [known]
        self.contents = Contents()
        self.contents.of(first)
