"""XML read element by element, without what makes it dangerous.

In: a file. Out: the children of its root, one at a time, so that memory holds one of them. A file with a DOCTYPE is
refused: entities, and with them bombs and outside files, need one. Knows no annotation format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from miras.core.errors import InputError

DEEPEST = 64
"""Elements within each other; no annotation file comes near it."""
_CHUNK = 1 << 16


def children(path: Path, root: str) -> Iterator[Element]:
    """The elements right under the root, in the order of the file, each with all it holds.

    Raises InputError for a file that cannot be read, that is no XML (on the way), has a DOCTYPE or another root.
    """
    reader = _Reader(path, root)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield from reader.feed(chunk)
            yield from reader.feed(b"", final=True)
    except OSError as error:
        raise InputError("an XML file", f"{path} ({error.strerror})") from error


def root_of(path: Path) -> str:
    """The name of the root element; "" where there is none to be found. Reads only the beginning."""
    reader = _Reader(path, "")
    try:
        with path.open("rb") as file:
            list(reader.feed(file.read(_CHUNK)))
    except (OSError, InputError):
        pass
    return reader.found


class _Reader:
    """Feeds expat and keeps the elements that are complete. root "": any."""

    def __init__(self, path: Path, root: str) -> None:
        self._path, self._root = path, root
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._depth = 0
        self._builder: TreeBuilder | None = None
        self._ready: list[Element] = []
        self.found = ""

    def feed(self, chunk: bytes, final: bool = False) -> Iterator[Element]:
        """The elements that this chunk completes."""
        try:
            self._parser.Parse(chunk, final)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise InputError("valid XML", f"{self._path}: {error}") from error
        ready, self._ready = self._ready, []
        yield from ready

    def _refuse(self, name: str, *_: object) -> None:
        raise InputError("XML without a DOCTYPE", f"{self._path} with <!DOCTYPE {name}>", "take that part out")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0:
            self.found = name
            if self._root and name != self._root:
                raise InputError(f"<{self._root}> as the root of {self._path}", f"<{name}>", "is it another format?")
        elif self._depth == DEEPEST:
            raise InputError(f"at most {DEEPEST} elements within each other", f"more in {self._path}")
        else:
            if self._depth == 1:
                self._builder = TreeBuilder()
            if self._builder is not None:
                self._builder.start(name, attributes)
        self._depth += 1

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._builder is None or self._depth == 0:
            return
        self._builder.end(name)
        if self._depth == 1:
            self._ready.append(self._builder.close())
            self._builder = None

    def _text(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)
