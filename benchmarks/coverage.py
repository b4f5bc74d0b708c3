"""Do 95% intervals hold the truth 95 times in 100? A simulation in which the truth is known by construction.

A photo has an ease q ~ Beta(2, 1), drawn once and shared by its samples: 1 + Binomial(7, 1 - q) of them, so hard photos
have more. A sample is found with probability 0.5 + 0.5 q (system B: 0.6 + 0.4 q); found, its IoU is Beta(4 q, 4 - 4 q),
else 0: skewed, many zeros, alike within a photo. Its union is log-normal (sigma 0.5 of the photo and 0.5 of its own)
times 0.5 + q. E[q^k] = 2 / (k + 2) gives every truth as a ratio of expected polynomials in q.

python benchmarks/coverage.py [--runs 1000] [--photos 100] [--draws 1000]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.polynomial import Polynomial

from miras.eval.metrics import statistics

FEW = 20
Q = Polynomial([0, 1])
SIZE = 1 + 7 * (1 - Q)
FOUND = {"a": 0.5 + 0.5 * Q, "b": 0.6 + 0.4 * Q}
AREA = 0.5 + Q
MEAN = "mean (gIoU)"
WAYS = ("percentile", "bca", "unclustered percentile")


def expected(polynomial: Polynomial) -> float:
    """Over q ~ Beta(2, 1)."""
    return float(sum(weight * 2 / (power + 2) for power, weight in enumerate(polynomial.coef)))


def truths() -> dict[str, float]:
    """The figures of endlessly many photos."""
    a, b = (expected(SIZE * FOUND[name] * Q) / expected(SIZE) for name in "ab")
    pooled = expected(SIZE * AREA * FOUND["a"] * Q) / expected(SIZE * AREA)
    return {MEAN: a, "ratio (cIoU)": pooled, "paired difference": a - b}


def sample(photos: int, random: np.random.Generator, same: bool = False) -> dict[str, np.ndarray]:
    """One dataset: IoUs of both systems, unions, photos. same: B is another draw of A."""
    ease = random.beta(2, 1, photos)
    sizes = 1 + random.binomial(7, 1 - ease)
    place = np.repeat(np.arange(photos), sizes)
    q = np.clip(ease[place], 1e-6, 1 - 1e-6)
    ious = {}
    for name in "ab":
        found = random.random(len(q)) < FOUND["a" if same else name](q)
        ious[name] = np.where(found, random.beta(4 * q, 4 * (1 - q)), 0.0)
    union = np.exp(random.normal(0, 0.5, photos)[place] + random.normal(0, 0.5, len(q))) * AREA(q)
    return {**ious, "union": union, "photo": place}


def estimates(data: dict[str, np.ndarray], photos: list[int], draws: int, seed: int) -> dict[str, statistics.Estimate]:
    how = {"draws": draws, "seed": seed}
    return {
        MEAN: statistics.mean(data["a"], photos, **how),
        "ratio (cIoU)": statistics.ratio(data["a"] * data["union"], data["union"], photos, **how),
        "paired difference": statistics.difference(data["a"], data["b"], photos, **how),
    }


def covered(runs: int, photos: int, draws: int) -> list[dict]:
    """A row for each figure: the share of runs in which each interval holds the truth, and its mean width."""
    truth = truths()
    hits = {name: dict.fromkeys(WAYS if name == MEAN else WAYS[:2], 0) for name in truth}
    widths = {name: dict.fromkeys(hits[name], 0.0) for name in truth}
    for run in range(runs):
        data = sample(photos, np.random.default_rng([run, photos]))
        clustered = estimates(data, data["photo"].tolist(), draws, run)
        single = statistics.mean(data["a"], list(range(len(data["a"]))), draws=draws, seed=run).percentile
        for name, value in truth.items():
            spans = [clustered[name].percentile, clustered[name].bca, *([single] if name == MEAN else [])]
            for way, (low, high) in zip(WAYS, spans, strict=False):
                hits[name][way] += low <= value <= high
                widths[name][way] += high - low
    return [
        {"figure": name, "photos": photos, "truth": round(truth[name], 6),
         "covered": {way: hits[name][way] / runs for way in hits[name]},
         "width": {way: round(widths[name][way] / runs, 4) for way in hits[name]}}
        for name in truth
    ]  # fmt: skip


def false_alarms(runs: int, photos: int, draws: int) -> dict:
    """Share of runs with p <= 0.05 when both systems are the same: 0.05 is right."""
    alarms = 0
    for run in range(runs):
        data = sample(photos, np.random.default_rng([run, photos, 1]), same=True)
        alarms += statistics.permutation(data["a"], data["b"], data["photo"].tolist(), draws=draws, seed=run) <= 0.05
    return {"test": "paired permutation, both systems alike", "photos": photos, "rejected at 0.05": alarms / runs}


def main() -> None:
    """A table, and benchmarks/coverage.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("runs", 1000), ("photos", 100), ("draws", 1000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    asked = parser.parse_args()
    started = time.perf_counter()
    rows, alarms = [], []
    for photos in sorted({FEW, 40, asked.photos}):
        rows += covered(asked.runs, photos, asked.draws)
        alarms.append(false_alarms(asked.runs, photos, asked.draws))
    print(f"{'figure':18} photos  " + "  ".join(f"{way:>22}" for way in WAYS))
    for row in rows:
        print(
            f"{row['figure']:18} {row['photos']:6}  "
            + "  ".join(f"{row['covered'][way]:22.3f}" for way in row["covered"])
        )
    for alarm in alarms:
        print(json.dumps(alarm))
    result = {
        "runs": asked.runs, "draws": asked.draws, "level": 0.95, "rows": rows, "tests": alarms,
        "monte_carlo_error": round(float(np.sqrt(0.95 * 0.05 / asked.runs)), 4),
        "seconds": round(time.perf_counter() - started, 1),
        "command": f"python benchmarks/coverage.py --runs {asked.runs} --photos {asked.photos} --draws {asked.draws}",
    }  # fmt: skip
    asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
