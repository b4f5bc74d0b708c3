"""The page of performance, from performance.json beside this file, which `miras bench all --json` printed.

python benchmarks/performance.py          # writes the page
python benchmarks/performance.py --check  # exits 1 where it is not what the JSON says
"""

# ruff: noqa: E501
from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
ENGINES = {"torch": "torch", "onnx": "onnxruntime"}
LIMIT = "least its bytes or operations allow"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines of a table; None is a dash."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join("-" if value is None else str(value) for value in row) + " |"
    yield ""


def ms(seconds: float) -> str:
    """Milliseconds."""
    return f"{1000 * seconds:.1f}" if seconds < 0.1 else f"{1000 * seconds:.0f}"


def beside(row: dict[str, Any]) -> tuple[str, ...]:
    """Milliseconds, the least that they could be, how many times that."""
    return ms(row["seconds"]), ms(row["limit_seconds"]), f"{row['times_the_limit']:.1f}"


def page(found: dict[str, Any]) -> str:
    """The whole page."""
    return "\n".join([*_machine(found), *_parts(found), *_whole(found), *_missing(found)])


def _machine(found: dict[str, Any]) -> Iterator[str]:
    hardware, measured = found["hardware"], found["hardware"]["measured"]
    yield "# Performance\n"
    yield "What one machine does, and what it could do at most. Made by `python benchmarks/performance.py` from"
    yield "`benchmarks/performance.json`, the last line of\n"
    yield "```sh\nmiras bench all --threads 1 --data DATA --json\n```\n"
    yield f"Run it on yours: every figure stands beside the limit that the same run measured. Seconds of parts and turns are {hardware['seconds_are']},"
    yield f"the fastest of {found['repeats']}; photos a second are on the clock. The limit is a sum over all products and convolutions: each takes at"
    yield "least its operations by the rate of its precision, or the weights that it reads by the bandwidth, whichever is more. Python, the"
    yield "reader of text and all else count as nothing in it, so nothing reaches it.\n"
    packages = hardware["packages"]
    yield from table(("the machine", ""), [
        ("processor", hardware["cpu"]), ("instructions", ", ".join(hardware["instructions"]) or None),
        ("cores", hardware["cores"]), ("threads of the model", hardware["threads"]),
        ("memory", f"{hardware['memory_gb']} GB"), ("system", f"{hardware['system']}, {hardware['machine']}"),
        ("software", ", ".join([f"Python {hardware['python']}", *(f"{k} {v}" for k, v in packages.items())])),
        ("memory is read at", f"{measured['read_gb_per_second']} GB/s"),
        ("float32 products", f"{measured['float32_giga_operations_per_second']} billion operations a second"),
        ("bfloat16 products", f"{measured['bfloat16_giga_operations_per_second']} billion operations a second"),
        ("busy with other programs", f"load {hardware['load_before']:.1f} before, {hardware['load_after']:.1f} after"),
    ])  # fmt: skip
    if hardware["load_before"] > hardware["cores"] / 2:
        yield "Other programs took part of this machine: what is on the clock (photos a second, cold start) would be better alone, and the"
        yield "limits are those of a busy machine.\n"


def _parts(found: dict[str, Any]) -> Iterator[str]:
    head = ("ms", LIMIT, "times that")
    yield "## A photo is encoded\n\nBy how many go through the towers together; for each of them.\n"
    rows = [(r["batch"], r["giga_operations"], *beside(r)) for r in found["encoding"] or ()]
    yield from table(("photos", "billion operations", *head), rows)
    if found["reading"]:
        yield f"Its text is read in {ms(found['reading']['seconds'])} ms, by a reader whose operations nobody counts.\n"
    yield "## The language model reads and writes\n\nOne pass, by how many tokens are new: 1 is a word, 128 a photo and a question.\n"
    rows = [(r["tokens"], r["megabytes"], r["giga_operations"], *beside(r)) for r in found["language"] or ()]
    yield from table(("tokens", "MB of weights", "billion operations", *head), rows)
    yield "## Masks are drawn\n\nBy how many are drawn together; for each of them.\n"
    rows = [(r["masks"], r["giga_operations"], *beside(r)) for r in found["decoder"] or ()]
    yield from table(("masks", "billion operations", *head), rows)


def _whole(found: dict[str, Any]) -> Iterator[str]:
    yield "## A conversation\n\nReplies are given and equally long; a turn costs what is new in it. Against loops that begin anew: `miras bench turns`.\n"
    rows = [(r["turn"], r["new_tokens"], r["giga_operations"], *beside(r)) for r in found["turns"] or ()]
    yield from table(("turn", "new tokens", "billion operations", "ms", LIMIT, "times that"), rows)
    yield "## Many photos\n\n`miras predict`, after its processes have begun ([many photos](predict.md)). At most: what its operations and bytes allow, a core for each process, when torch computes it.\n"
    rows = [
        (ENGINES[r.get("engine", "torch")], r["jobs"], r["questions"], r["photos"], f"{r['photos_per_second']:.2f}", r["limit_photos_per_second"],
         f"{100 * r['share_of_the_limit']:.0f}%", r["processor_seconds"])
        for r in found["predict"] or ()
    ]  # fmt: skip
    yield from table(
        ("engine", "processes", "questions", "photos", "photos a second", "at most", "of that", "processor seconds a photo"), rows
    )  # fmt: skip
    yield "## Memory\n\nOf one process, with so many photos in conversation at once; at least: the weights, and each photo with its features, keys and values.\n"
    yield from table(
        ("photos", "MB", "at least"), [(r["photos"], r["resident_mb"], r["limit_mb"]) for r in found["held"] or ()]
    )  # fmt: skip
    if cold := found["cold_start"]:
        yield "## From the shell to an answer\n"
        yield f"`miras ask PHOTO TEXT --json` ({ENGINES[cold.get('engine', 'torch')]}): {cold['seconds']} s on the clock, {cold['processor_seconds']} s of the processor; of it the model is"
        yield f"loaded in {cold['load_seconds']:.2f} s, the photo encoded in {cold['encode_seconds']:.2f} s. Weights read once and an answer by their limits: {cold['limit_seconds']:.2f} s,"
        yield f"so this is {cold['times_the_limit']:.0f} times the least; nearly all of it is Python that loads libraries.\n"
    if t := found["training"]:
        yield "## Training\n"
        yield f"Stage 2, {t['photos']} photos with {t['conversations']} conversations a step: {t['seconds_per_step']} s of {t['clock']} a step,"
        yield f"{t['conversations_per_second']} conversations a second, {t['resident_mb']} MB (mean of {t['steps']} steps). A step is {t['giga_operations']:.0f} billion operations,"
        yield f"which take {t['limit_seconds']} s at least: {t['times_the_limit']} times that.\n"


def _missing(found: dict[str, Any]) -> Iterator[str]:
    if found["failed"]:
        yield "## Not measured\n"
        yield from (f"- {name}: {reason}" for name, reason in found["failed"].items())


def main() -> int:
    """Exit code 0, or 1 where the page is another."""
    found = json.loads((HERE / "performance.json").read_text("utf-8"))
    text = page(found).rstrip() + "\n"
    if "--check" in sys.argv:
        return int(PAGE.read_text("utf-8") != text)
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
