"""The machine: what it is, how fast its memory is read and how fast it multiplies.

In: a device. Out: facts and rates, measured with the threads that torch has now. They are the limits that everything
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

    def of(self, dtype: str) -> float:
        """Operations a second in a precision; those of float32 where it was not measured."""
        return float(getattr(self, dtype, self.float32))


def clock_now() -> Callable[[], float]:
    """Processor time with one thread, time on the clock with several."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def fastest(work: Callable[[], object], repeats: int, device: str = "cpu") -> float:
    """Seconds of the fastest of `repeats`, after one that is not counted. With one thread they are processor time, so
    that other programs on the machine do not count; with several, and on a GPU, time on the clock."""
    clock = clock_now() if device == "cpu" else time.perf_counter
    work()
    found = []
    for _ in range(repeats):
        wait(device)
        start = clock()
        work()
        wait(device)
        found.append(clock() - start)
    return min(found)


def wait(device: str) -> None:
    """Until a GPU has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


@torch.inference_mode()
def rates(repeats: int, device: str = "cpu") -> Rates:
    """Measured here and now; on a GPU with larger arrays and matrices."""
    grown = 1 if device == "cpu" else 4
    count, side = READ_BYTES * grown // 4, SIDE * grown
    long = torch.ones(count, device=device)
    target = torch.empty_like(long)
    read = 4 * count / fastest(lambda: long.sum(), repeats, device)
    copied = 8 * count / fastest(lambda: target.copy_(long), repeats, device)
    products = {}
    for dtype in (torch.float32, torch.bfloat16):
        one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        taken = fastest(lambda a=one, b=other: a @ b, max(2, repeats // 2), device)  # type: ignore[misc]
        products[dtype] = 2 * side**3 / taken
    return Rates(max(read, copied), products[torch.float32], products[torch.bfloat16])


def hardware(found: Rates) -> dict[str, Any]:
    """What the machine is, what runs on it, how busy it is with other things."""
    about = _cpu()
    return {
        "cpu": about.get("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in FLAGS if flag in about.get("flags", about.get("Features", "")).split()],
        "machine": platform.machine(), "system": f"{platform.system()} {platform.release()}", "cores": cores(),
        "memory_gb": _memory_gb(), "threads": torch.get_num_threads(), "load_before": load(),
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


def load() -> float | None:
    """Programs that run or wait to, over the last minute; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def resident_mb() -> int | None:
    """Megabytes of this process, now; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return round(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024)


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
