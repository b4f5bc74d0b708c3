"""Sessions that are put aside: exactly what they hold, in files without a name, read back bit by bit.

In: sessions of our own model. Out: the same, which answer as if they had stayed; a session that is made again from its
record reads its words in other passes, and in bfloat16 that moves scores and now and then a word. A file is gone when
its session is, and when the process ends, however it ends. What belongs to the model is not written. Knows no words.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import sys
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from miras.chat.native.backend import NativeBackend
from miras.chat.session import ChatSession

log = logging.getLogger("miras.serve")
MOST_FILES = 256
"""Sessions that are put aside at once: each is an open file."""


@dataclass(frozen=True)
class _File:
    """shared: what it refers to and does not hold. size: bytes."""

    file: BinaryIO
    shared: list[Any]
    size: int
    keys: tuple[str, ...]


class Aside:
    """folder: where the files are, on a disk and not in memory; it is made when it is needed. most: bytes of all files
    together, the eldest given up first; 0: nothing is written. Not for several threads at once."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self._files: OrderedDict[str, _File] = OrderedDict()

    def put(self, conversation: str, session: ChatSession, keys: tuple[str, ...] = ()) -> None:
        """Write a session, unless there is no room for it or it cannot be written. keys: of its turns."""
        self.drop(conversation)
        if not self.most or not isinstance(session.backend, NativeBackend):
            return
        shared: list[Any] = []
        file: BinaryIO | None = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  # closed when it is dropped
            _Writer(file, _of_model(session.backend), shared).dump(session)
            size = file.tell()
        except Exception as error:  # a full disk; a backend that holds what cannot be written
            log.warning("a session could not be put aside: %s", type(error).__name__)
            size = self.most + 1
        if size > self.most:
            if file is not None:
                file.close()
            return
        assert file is not None
        self._files[conversation] = _File(file, shared, size, keys)
        while self.bytes > self.most or len(self._files) > MOST_FILES:
            self.drop(next(iter(self._files)))

    def take(self, conversation: str) -> tuple[ChatSession, tuple[str, ...]] | None:
        """A session as it was put aside, and its keys; it is there no more then. None when it is not there."""
        found = self._files.pop(conversation, None)
        if found is None:
            return None
        with contextlib.closing(found.file) as file:
            try:
                file.seek(0)
                return _Reader(file, found.shared).load(), found.keys
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                log.warning("a session that was put aside could not be read: %s", type(error).__name__)
                return None

    def keys(self, conversation: str) -> tuple[str, ...] | None:
        """Those of a session; None when it is not there."""
        return self._files[conversation].keys if conversation in self._files else None

    def drop(self, conversation: str) -> None:
        """Forget a session."""
        if conversation in self._files:
            self._files.pop(conversation).file.close()

    def clear(self) -> None:
        """Forget all."""
        for conversation in list(self._files):
            self.drop(conversation)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(one.size for one in list(self._files.values()))

    def __len__(self) -> int:
        return len(self._files)


def _of_model(backend: NativeBackend) -> dict[int, Any]:
    """What all sessions of a model share, by identity: it stays where it is."""
    found = [backend.runtime, *vars(backend.runtime).values()]
    return {id(one): one for one in found if hasattr(one, "__dict__")}


class _Stored:
    """The memory that one or several tensors look at. raw: its bytes."""

    def __init__(self, raw: NDArray[np.uint8], device: str) -> None:
        self.raw, self.device = raw, device
        self._made: Any = None

    def storage(self) -> Any:
        """Memory of torch's own, aligned as all of it."""
        import torch

        if self._made is None:
            stored = torch.empty(len(self.raw), dtype=torch.uint8)
            stored.numpy()[:] = self.raw
            self._made = stored.to(self.device).untyped_storage()
        return self._made


class _Writer(pickle.Pickler):
    """Tensors by their storages, as they lie in memory; masks by bits; what the model owns by its place in `shared`."""

    def __init__(self, file: BinaryIO, owned: dict[int, Any], shared: list[Any]) -> None:
        super().__init__(file, protocol=5)
        self.owned, self.shared = owned, shared
        self.stored: dict[tuple[int, int], _Stored] = {}
        self.torch = sys.modules.get("torch")

    def persistent_id(self, thing: Any) -> int | None:
        """Its place among what is shared; None for what is written."""
        is_module = self.torch is not None and isinstance(thing, self.torch.nn.Module)
        if not is_module and id(thing) not in self.owned:
            return None
        self.shared.append(thing)
        return len(self.shared) - 1

    def reducer_override(self, thing: Any) -> Any:
        """How tensors and masks are written."""
        if self.torch is not None and isinstance(thing, self.torch.Tensor):
            storage = thing.untyped_storage()
            place = storage.data_ptr(), storage.nbytes()
            if place not in self.stored:
                raw = self.torch.empty(0, dtype=self.torch.uint8, device=thing.device).set_(storage)
                self.stored[place] = _Stored(raw.cpu().numpy(), str(thing.device))
            return _tensor, (
                self.stored[place],
                thing.dtype,
                thing.storage_offset(),
                tuple(thing.shape),
                thing.stride(),
            )
        if type(thing) is np.ndarray and thing.dtype == np.bool_ and thing.size > 64:
            return _mask, (np.packbits(thing), thing.shape, thing.flags.writeable)
        return NotImplemented


class _Reader(pickle.Unpickler):
    """Reads what a `_Writer` of this process wrote."""

    def __init__(self, file: BinaryIO, shared: list[Any]) -> None:
        super().__init__(file)
        self.shared = shared

    def persistent_load(self, place: Any) -> Any:
        """What is shared."""
        return self.shared[place]


def _tensor(stored: _Stored, dtype: Any, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    """A tensor as it was."""
    import torch

    return torch.empty(0, dtype=dtype, device=stored.device).set_(stored.storage(), offset, shape, stride)


def _mask(bits: NDArray[np.uint8], shape: tuple[int, ...], writeable: bool) -> NDArray[np.bool_]:
    """A mask of its bits."""
    mask = np.unpackbits(bits, count=int(np.prod(shape))).view(np.bool_).reshape(shape)
    mask.flags.writeable = writeable
    return mask
