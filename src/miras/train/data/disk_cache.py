"""Tensors on disk by name, for several processes of a machine, of a bounded size together.

In: a folder, a bound in bytes, lists of tensors. Out: the same tensors, bit by bit and in the same memory format. What
no longer fits is not kept: a run that goes through its photos again and again would find nothing in a cache that
forgets the oldest. What another scope left there and nobody used for a day gives way. Knows no model and no photo.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from miras.core.errors import InputError
from miras.core.files import staged

LOCK, BYTES, USED = ".lock", ".bytes", ".used"
UNUSED = 24 * 3600.0
"""Seconds after which what another scope left may go."""
TOUCHED = 600.0
"""Seconds between two notes that a scope is in use."""
SUFFIX = ".safetensors"


class DiskCache:
    """`hits`, `misses`: of this process. `is_full`: something did not fit."""

    def __init__(self, folder: Path, limit: float) -> None:
        """folder: made if it is not there, on a disk of this machine. limit: bytes of all scopes in it together.
        Raises InputError where nothing can be written."""
        self.folder, self.limit = folder, int(limit)
        self.hits = self.misses = 0
        self.is_full = False
        self.touched: dict[str, float] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._write_total(self._counted())
        except OSError as error:
            cure = "give another features.folder, or features.gigabytes=0"
            raise InputError(f"a folder to keep features in at {folder}", str(error.strerror or error), cure) from error

    @property
    def bytes(self) -> int:
        """Of all that is kept."""
        with self._locked():
            return self._total()

    def get(self, scope: str, name: str) -> list[Tensor] | None:
        """What was kept, on the CPU; None where there is nothing, or it is damaged, which is taken away."""
        file = self._file(scope, name)
        try:
            with safe_open(file, "pt") as held:
                formats = json.loads((held.metadata() or {})["formats"])
                found = [_as(held.get_tensor(str(n)), formats[n]) for n in range(len(formats))]
        except (OSError, SafetensorError, KeyError, ValueError, IndexError):
            if file.is_file():
                self._drop(file)
            self.misses += 1
            return None
        self.hits += 1
        self._touch(scope)
        return found

    def put(self, scope: str, name: str, tensors: Sequence[Tensor]) -> bool:
        """Keep tensors; False where they do not fit, or the disk is full."""
        file = self._file(scope, name)
        held = [tensor.detach().cpu() for tensor in tensors]
        formats = json.dumps([_format(tensor) for tensor in held])
        size = sum(tensor.nbytes for tensor in held) + 96 * len(held) + len(formats) + 64
        try:
            with self._locked():
                if file.is_file():
                    return True
                if self._total() + size > self.limit and not self._make_room(scope, size):
                    self.is_full = True
                    return False
                with staged(file) as staging:
                    content = {str(n): tensor.contiguous() for n, tensor in enumerate(held)}
                    save_file(content, staging, {"formats": formats})
                self._write_total(self._total() + file.stat().st_size)
                self._touch(scope)
        except OSError:
            self.is_full = True
            return False
        return True

    def _file(self, scope: str, name: str) -> Path:
        return self.folder / scope / name[:2] / f"{name}{SUFFIX}"

    def _locked(self) -> FileLock:
        return FileLock(self.folder / LOCK)

    def _total(self) -> int:
        try:
            return int((self.folder / BYTES).read_text())
        except (OSError, ValueError):
            return self._counted()

    def _write_total(self, total: int) -> None:
        with staged(self.folder / BYTES) as staging:
            staging.write_text(str(total))

    def _counted(self, scope: str = "") -> int:
        """Bytes that lie there; what a killed process left half written is taken away. Under the lock."""
        total = 0
        for file in (self.folder / scope).rglob("*"):
            if file.suffix == ".part":
                file.unlink(missing_ok=True)
            elif file.suffix == SUFFIX:
                total += file.stat().st_size
        return total

    def _drop(self, file: Path) -> None:
        with self._locked():
            if file.is_file():
                size = file.stat().st_size
                file.unlink()
                self._write_total(max(0, self._total() - size))

    def _make_room(self, scope: str, size: int) -> bool:
        """Other scopes go, the one that was used longest ago first. Under the lock."""
        others = [(self._used(path), path) for path in self.folder.iterdir() if path.is_dir() and path.name != scope]
        for used, path in sorted(others):
            if time.time() - used < UNUSED:
                break
            shutil.rmtree(path, ignore_errors=True)
            self._write_total(self._counted())
            if self._total() + size <= self.limit:
                return True
        return False

    def _used(self, path: Path) -> float:
        mark = path / USED
        return (mark if mark.is_file() else path).stat().st_mtime

    def _touch(self, scope: str) -> None:
        if time.time() - self.touched.get(scope, 0.0) > TOUCHED:
            self.touched[scope] = time.time()
            mark = self.folder / scope / USED
            mark.touch()
            os.utime(mark)


def _format(tensor: Tensor) -> str:
    is_last = (
        tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    )
    return "channels_last" if is_last else "contiguous"


def _as(tensor: Tensor, name: str) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if name == "channels_last" else tensor
