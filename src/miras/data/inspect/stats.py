"""What a dataset holds, in one pass: counts, lengths, sizes of targets, kinds, hops, duplicates.

In: `Record` values. Out: a dict of plain values (JSON), and the same as a table for people. Memory grows with the
number of photos and questions by little each. Knows no file format.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from miras.data.photos.identity import Known, Names
from miras.data.record import Record, RegionRecord

SMALL = 0.05
"""A target on less of its photo than this is fine-grained."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
AREA_EDGES = (*(float(f"{digit}e{power}") for power in range(-5, 0) for digit in (1, 2, 5)), 1.0)
"""Shares of the photo between which final targets are counted: 1, 2, 5 of each decade, 1e-05 to 1."""
_LONGEST = 40
_COUNTS = re.compile("(?:[P-o]{0,6}[0-O])+")
"""COCO's compressed counts: characters that go on, and one that ends a number."""


def statistics(records: Iterable[Record]) -> dict[str, Any]:
    """The figures of a dataset. Histograms have text keys, as JSON has them; no record: zeros, None for means.

    conversations, images (photographs, see `identity`), utterances, masks: counts. turns: exchanges (one question, one
    reply) of a conversation -> conversations. kinds, hops, splits, sources -> conversations; operators -> regions.
    targets: conversations with a final target: a focus, or a region. fine_grained: those whose final target
    is a part (`meta["part"]` is true, or its phrase says "... of the ...") or lies on under SMALL of the
    photo; `meta["part"]` false leaves only the size. fine_grained_share: fine_grained / targets. The final
    target is the region whose phrase is the focus, the last one where several are, else the last region.
    question_words, answer_words, phrase_words: {"mean", "quantiles", "histogram"}, words between spaces; phrases
    are those of the final targets. target_share: area / photo of the final targets, likewise, histogram by
    AREA_EDGES. duplicates: conversations whose photograph and focus came before. distinct_questions_share:
    different users' utterances / users' utterances, case and spaces apart. Where masks are missing (official
    PRIST), fine_grained goes by phrases alone.
    """
    gathered = _Gathered()
    for record in records:
        gathered.add(record)
    return gathered.figures()


def table(stats: Mapping[str, Any]) -> str:
    """The figures as lines of "name  value"; without a line break at the end."""
    rows: list[tuple[str, str]] = [(name, f"{stats[name]:,}") for name in ("conversations", "images", "utterances")]
    rows += [("masks", f"{stats['masks']:,}"), ("fine-grained targets", _percent(stats["fine_grained_share"]))]
    rows += [(name, _shares(stats[name])) for name in ("turns", "kinds", "hops", "splits", "sources", "operators")]
    for name in ("question_words", "answer_words", "phrase_words"):
        rows.append((name.replace("_", " "), _spread(stats[name], lambda value: f"{value:.1f}")))
    rows.append(("target / photo", _spread(stats["target_share"], lambda value: f"{value:.2%}")))
    rows.append(("duplicates (photo, focus)", f"{stats['duplicates']:,}"))
    rows.append(("distinct questions", _percent(stats["distinct_questions_share"])))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def final_region(record: Record) -> RegionRecord | None:
    """The region of the final target: the last one named like the focus, else the last one; None without regions."""
    regions = [region for turn in record["turns"] for region in turn["regions"]]
    meant = [p["region"] for turn in record["turns"] for p in turn["content"]
             if p["type"] == "name" and p["text"] == record["focus"]]  # fmt: skip
    named = [region for region in regions if region["phrase"] == record["focus"] or region["id"] in meant[-1:]]
    return next(reversed(named or regions), None)


def target_share(record: Record) -> float | None:
    """Area of the final target / area of the photo, 0..1; None without a target, or with a broken mask."""
    region = final_region(record)
    if region is None or (not record["focus"] and record["kind"] == "absent"):
        return None
    size, counts = region["rle"]["size"], region["rle"]["counts"]
    whole = size[0] * size[1]
    if not whole or not _COUNTS.fullmatch(counts):  # pycocotools trusts what it is given
        return None
    share = int(rle_tools.area({"size": size, "counts": counts.encode("ascii")})) / whole
    return share if share <= 1 else None


def is_fine_grained(record: Record, share: float | None) -> bool:
    """Whether the final target is a part, or on under SMALL of the photo; see `statistics`."""
    part = record["meta"].get("part")
    region = final_region(record)
    phrase = record["focus"] or (region["phrase"] if region else "")
    said = " of the " in f" {phrase.lower()} " if part is None else bool(part)
    return said or (share is not None and share < SMALL)


class _Gathered:
    """Everything that is counted while the records pass by."""

    def __init__(self) -> None:
        self.count, self.masks, self.utterances = 0, 0, 0
        self.targets, self.fine = 0, 0
        self.histograms: dict[str, Counter[Any]] = {
            name: Counter() for name in ("turns", "kinds", "hops", "splits", "sources", "operators")
        }
        self.words: dict[str, Counter[int]] = {name: Counter() for name in ("question", "answer", "phrase")}
        self.shares = array("d")
        self.names, self.images = Names(), set[bytes]()
        self.pairs: set[bytes] = set()
        self.questions: set[bytes] = set()
        self.asked, self.duplicates = 0, 0

    def add(self, record: Record) -> None:
        self.count += 1
        known = self.names(record["source"], record["image_id"], record["image"], record.get("image_bytes"))
        self.images.add(_photo(record, known))
        turns = record["turns"]
        self.utterances += len(turns)
        for name, value in (
            ("turns", sum(turn["role"] == "user" for turn in turns)), ("kinds", record["kind"]),
            ("hops", record["hops"]), ("splits", record["split"]), ("sources", record["source"]),
        ):  # fmt: skip
            self.histograms[name][value] += 1
        for turn in turns:
            user = turn["role"] == "user"
            self.words["question" if user else "answer"][len(turn["text"].split())] += 1
            if user:
                self.asked += 1
                self.questions.add(_digest(" ".join(turn["text"].lower().split())))
            self.masks += len(turn["regions"])
            self.histograms["operators"].update(region["operator"] for region in turn["regions"])
        self._target(record, known)

    def _target(self, record: Record, known: Known) -> None:
        share, region = target_share(record), final_region(record)
        phrase = record["focus"] or (region["phrase"] if share is not None and region else "")
        if share is not None:
            self.shares.append(share)
        if not phrase:
            return
        self.targets += 1
        self.fine += is_fine_grained(record, share)
        self.words["phrase"][len(phrase.split())] += 1
        if record["focus"]:
            pair = _digest(f"{record['focus']}\0") + _photo(record, known)
            self.duplicates += pair in self.pairs
            self.pairs.add(pair)

    def figures(self) -> dict[str, Any]:
        return {
            "conversations": self.count, "images": len(self.images), "utterances": self.utterances,
            "masks": self.masks, "targets": self.targets, "fine_grained": self.fine,
            "fine_grained_share": self.fine / self.targets if self.targets else None,
            **{name: _sorted(counts) for name, counts in self.histograms.items()},
            **{f"{name}_words": _of_words(counts) for name, counts in self.words.items()},
            "target_share": _of_shares(np.frombuffer(self.shares) if self.shares else np.zeros(0)),
            "duplicates": self.duplicates,
            "distinct_questions_share": len(self.questions) / self.asked if self.asked else None,
        }  # fmt: skip


def _of_words(counts: Counter[int]) -> dict[str, Any]:
    lengths = np.array(sorted(counts), dtype=np.int64)
    every = np.repeat(lengths, [counts[int(length)] for length in lengths])
    longest = Counter({min(length, _LONGEST): 0 for length in counts})
    for length, count in counts.items():
        longest[min(length, _LONGEST)] += count
    histogram = {(f"{key}+" if key == _LONGEST else str(key)): longest[key] for key in sorted(longest)}
    return {**_moments(every), "histogram": histogram}


def _of_shares(shares: NDArray[np.float64]) -> dict[str, Any]:
    """The histogram's keys are lower edges; what is smaller than the first counts there."""
    counts, _ = np.histogram(np.clip(shares, AREA_EDGES[0], AREA_EDGES[-1]), AREA_EDGES)
    return {**_moments(shares), "histogram": {f"{edge:g}": int(n) for edge, n in zip(AREA_EDGES, counts, strict=False)}}


def _moments(values: NDArray[Any]) -> dict[str, Any]:
    if not len(values):
        return {"mean": None, "quantiles": {}}
    points = np.quantile(values, QUANTILES)
    return {
        "mean": float(values.mean()),
        "quantiles": {f"{q:g}": float(point) for q, point in zip(QUANTILES, points, strict=True)},
    }


def _sorted(counts: Counter[Any]) -> dict[str, int]:
    """Text keys; numbers by size, names by frequency."""
    keys: Sequence[Any] = sorted(counts, key=lambda key: (key if isinstance(key, int) else -counts[key], str(key)))
    return {str(key): counts[key] for key in keys}


def _photo(record: Record, known: Known) -> bytes:
    return _digest(f"{record['source']}\0{known.id}")


def _digest(text: str) -> bytes:
    """Eight bytes that stand for a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _shares(counts: Mapping[str, int]) -> str:
    return "  ".join(f"{key or '(none)'}: {count:,}" for key, count in counts.items()) or "-"


def _spread(values: Mapping[str, Any], show: Any) -> str:
    if values["mean"] is None:
        return "-"
    low, middle, high = (show(values["quantiles"][point]) for point in ("0.05", "0.5", "0.95"))
    return f"mean {show(values['mean'])}, median {middle}, 5-95%: {low}-{high}"
