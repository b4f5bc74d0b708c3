"""A process that forks after a model was loaded: the threads of torch are made anew on both sides.

In: nothing; `survive` is called when a model is loaded. Out: children of `os.fork` (multiprocessing's "fork",
gunicorn's `--preload`) answer, with as many threads as their parent. A fork copies no threads: the pool of GNU OpenMP
would wait in the child for threads that are not there, for ever (pytorch#49555). Where the pool cannot be put away
before the fork, the child has one thread. Knows no model.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import torch

MAPS = Path("/proc/self/maps")
_HARD = 2
"""omp_pause_hard: threads and what they hold are given up; the next parallel region makes new ones."""
_state = {"registered": False, "paused": False}


def survive() -> None:
    """Make forks of this process safe, from now on; more calls change nothing. Nothing where there are no forks."""
    if not _state["registered"] and hasattr(os, "register_at_fork"):
        _state["registered"] = True
        os.register_at_fork(before=_before, after_in_child=_in_child)


def _before() -> None:
    _state["paused"] = _pause()


def _in_child() -> None:
    if not _state["paused"] and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _pause() -> bool:
    """Whether every GNU OpenMP of this process has given its threads up; False where there is none to be found."""
    try:
        names = {line.split()[-1] for line in MAPS.read_text(encoding="utf-8").splitlines() if "libgomp" in line}
        libraries = [ctypes.CDLL(name) for name in sorted(names)]
        return bool(libraries) and all(library.omp_pause_resource_all(_HARD) == 0 for library in libraries)
    except (OSError, ValueError, AttributeError):  # another system, or one older than OpenMP 5
        return False
