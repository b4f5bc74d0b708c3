"""The machine: what it is, how fast its memory is read and how fast it multiplies.

In: nothing. Out: facts and rates, measured with the threads that torch has now. They are the limits that everything
else is held against: no part of an answer can be faster than its bytes by the bandwidth or its operations by the rate.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from miras.core.parallel.threads import cores

READ_BYTES, SIDE = 2**28, 2048
"""Bytes of the array that is read, more than any cache holds; side of the matrices that are multiplied."""
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


@dataclass(frozen=True)
class Rates:
    """bandwidth: bytes a second, read. float32, bfloat16: operations a second of large products (a multiplication and
    an addition are two)."""

    bandwidth: float
    float32: float
    bfloat16: float

    def beside(self, seconds: float, *, size: float = 0.0, operations: float = 0.0, dtype: str = "bfloat16") -> dict:  # type: ignore[type-arg]
        """What took so long, with the least time that its bytes and operations allow."""
        limit = max(size / self.bandwidth, operations / float(getattr(self, dtype)))
        return {
            "seconds": round(seconds, 4), "megabytes": round(size / 1e6, 1),
            "giga_operations": round(operations / 1e9, 2), "limit_seconds": round(limit, 4),
            "times_the_limit": round(seconds / limit, 2),
        }  # fmt: skip


def clock_now() -> Callable[[], float]:
    """Processor time with one thread, time on the clock with several."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of `repeats`, after one that is not counted. With one thread they are processor time, so
    that other programs on the machine do not count; with several, time on the clock."""
    clock = clock_now()
    work()
    found = []
    for _ in range(repeats):
        start = clock()
        work()
        found.append(clock() - start)
    return min(found)


@torch.inference_mode()
def rates(repeats: int) -> Rates:
    """Measured here and now."""
    long = torch.ones(READ_BYTES // 4)
    target = torch.empty_like(long)
    read = READ_BYTES / fastest(lambda: long.sum(), repeats)
    copied = 2 * READ_BYTES / fastest(lambda: target.copy_(long), repeats)
    products = {}
    for dtype in (torch.float32, torch.bfloat16):
        one, other = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
        products[dtype] = 2 * SIDE**3 / fastest(lambda a=one, b=other: a @ b, max(2, repeats // 2))  # type: ignore[misc]
    return Rates(max(read, copied), products[torch.float32], products[torch.bfloat16])


def hardware(found: Rates) -> dict[str, Any]:
    """What the machine is, what runs on it, how busy it is with other things."""
    about = _cpu()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": about.get("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in FLAGS if flag in about.get("flags", about.get("Features", "")).split()],
        "machine": platform.machine(), "system": f"{platform.system()} {platform.release()}", "cores": cores(),
        "memory_gb": _memory_gb(), "threads": torch.get_num_threads(), "load_before": load,
        "seconds_are": "processor time" if torch.get_num_threads() == 1 else "time on the clock",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("miras", "torch", "transformers", "numpy", "onnxruntime")},
        "measured": {
            "read_gb_per_second": round(found.bandwidth / 1e9, 2),
            "float32_giga_operations_per_second": round(found.float32 / 1e9, 1),
            "bfloat16_giga_operations_per_second": round(found.bfloat16 / 1e9, 1),
        },
        "rates": asdict(found),
    }  # fmt: skip


def _cpu() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
