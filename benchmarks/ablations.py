"""The paper's ablations with one budget: `mini` and each recipe that leaves a part out, over seeds.

    python benchmarks/ablations.py DATA... --out runs/ablations [--seeds 0 1 2] [--only NAME ...]

Small views (256 and 128 pixels) and few steps, so that a run takes a quarter of an hour on two cores; compare the rows
with each other only. Every run that is done is skipped, so the command can be stopped and given again. Figures: gIoU
of phrases asked alone (validation photos, `train.validation`), and of sampled dialogues with own history
(`miras eval --format dialogues --split val`). Writes ablations.json beside itself and prints the table of
docs/results.md: mean over seeds, and for phrases the difference to `mini` with a 95% interval of paired bootstrap over
photos.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

RECIPES = ("mini", "no-semantic-tower", "no-detail-tower", "no-mask-encoder", "no-alignment", "no-history")
SMALL = (
    "stage1:start.config={detail_size: 256, semantic_size: 128}", "batch.coarse=0", "check.every=0", "check.photos=0",
    "check.overlays=0", "checkpoint_every=100", "keep=1", "stage2:data.recorded=0",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--stage1", type=int, default=400)
    parser.add_argument("--stage2", type=int, default=120)
    parser.add_argument("--dialogues", type=int, default=60)
    parser.add_argument("--only", nargs="+", default=list(RECIPES))
    given = parser.parse_args()
    for seed in given.seeds:
        for name in given.only:
            out = given.out / f"{name}-{seed}"
            if not (out / "figures.json").exists():
                train(name, seed, out, given)
                (out / "figures.json").write_text(json.dumps(measure(out, given), indent=1))
                print(f"{name} {seed}: done", file=sys.stderr, flush=True)
    rows = table(given.out)
    record = {"stage1": given.stage1, "stage2": given.stage2, "dialogues": given.dialogues, "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(markdown(rows))


def train(name: str, seed: int, out: Path, given: argparse.Namespace) -> None:
    changes = [*SMALL, f"seed={seed}", f"stage1:steps={given.stage1}", f"stage2:steps={given.stage2}"]
    command = [sys.executable, "-m", "miras", "train", name, "--out", str(out), "--set", *changes]
    command += ["--data", *map(str, given.data)] + (["--resume"] if out.exists() else [])
    subprocess.run(command, check=True)


def measure(out: Path, given: argparse.Namespace) -> dict[str, object]:
    command = [
        sys.executable, "-m", "miras", "eval", str(given.data[0]), "--format", "dialogues", "--split", "val",
        "--dialogues", str(given.dialogues), "--model", str(out / "model"), "--json",
    ]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"phrases": phrases(out / "model", given.data), "dialogues": json.loads(said.splitlines()[-1])}


def phrases(model: Path, data: list[Path]) -> list[tuple[str, float]]:
    """(photo, mean IoU of its phrases) for every validation photo."""
    from miras.model.miras import Miras
    from miras.train import corpus, validation
    from miras.train.recipe import Data

    loaded = Miras.from_pretrained(model)
    return [
        (corpus.key(photo), validation.phrases(loaded, [photo])["giou"]) for photo in corpus.read(data, Data()).kept
    ]


def table(folder: Path) -> list[dict[str, object]]:
    """A row for each recipe that has figures."""
    found: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for file in sorted(folder.glob("*/figures.json")):
        name, _, seed = file.parent.name.rpartition("-")
        figures = json.loads(file.read_text())
        talk = figures["dialogues"]
        found.setdefault(name, {})[int(seed)] = {"phrases": dict(figures["phrases"]), "talk": talk}
    rows = []
    for name in RECIPES:
        runs = found.get(name, {})
        if not runs:
            continue
        row: dict[str, object] = {"recipe": name, "seeds": len(runs)}
        row["phrases"] = round(float(np.mean([np.mean(list(run["phrases"].values())) for run in runs.values()])), 2)
        for key in ("giou", "ciou"):
            values = [float(run["talk"][key]) for run in runs.values() if key in run["talk"]]
            if values:
                row[f"dialogue_{key}"] = round(float(np.mean(values)), 2)
                row[f"dialogue_{key}_seeds"] = [round(v, 2) for v in values]
        shared = sorted(runs.keys() & found.get("mini", {}).keys())
        if name != "mini" and shared:
            row["difference"] = difference(
                [runs[s]["phrases"] for s in shared], [found["mini"][s]["phrases"] for s in shared]
            )
        rows.append(row)
    return rows


def difference(ours: list[dict[str, float]], theirs: list[dict[str, float]], rounds: int = 4000) -> list[float]:
    """Mean difference over photos (and seeds), with the 2.5 and 97.5 percentiles over resampled photos."""
    photos = sorted(ours[0])
    gaps = np.array([np.mean([o[p] - t[p] for o, t in zip(ours, theirs, strict=True)]) for p in photos])
    rng = np.random.default_rng(0)
    means = gaps[rng.integers(len(gaps), size=(rounds, len(gaps)))].mean(1)
    return [round(float(v), 2) for v in (gaps.mean(), *np.percentile(means, (2.5, 97.5)))]


def markdown(rows: list[dict[str, object]]) -> str:
    lines = [
        "| recipe | seeds | phrases gIoU | less than mini (95%) | dialogues gIoU | cIoU |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        gap = row.get("difference")
        said = f"{gap[0]:+.1f} ({gap[1]:+.1f} to {gap[2]:+.1f})" if isinstance(gap, list) else ""
        lines.append(
            f"| {row['recipe']} | {row['seeds']} | {row['phrases']} | {said} | "
            f"{row.get('dialogue_giou', '')} | {row.get('dialogue_ciou', '')} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
