"""The paper's ablations and the baselines with one budget: `mini` and each recipe that differs from it, over seeds.

    python benchmarks/ablations.py DATA... --out runs/ablations [--seeds 0 1 2] [--talks 0] [--only NAME ...]

Small views (192 and 96 pixels), towers frozen as ImageNet left them, few steps, so that a run of stage 1 takes some
ten minutes on one thread; compare the rows with each other only. The cheap part is stage 1 (phrases alone), for every
seed; stage 2 and its dialogues are run for the seeds of `--talks`. `no-history` differs in stage 2 only. Every run that
is done is skipped, so the command can be stopped and given again. Figures: gIoU of phrases asked alone after stage 1,
and of the selections after each turn of sampled dialogues with own history after stage 2; validation photos, which no
run trained on; and, of each photo, how often a name that is there has a higher presence than one that surely is not
(area under the curve, per cent; after stage 1). The figures of every photo go to ablated/ beside this script, so that
another machine can go on with further rows and seeds; from them come ablations.json and the table of docs/results.md:
mean over seeds, and the difference to `mini` with a 95% interval of a paired bootstrap over seeds and photos (photos
alone for one seed).

With `--config` and `--kept` the same is done for another configuration of the model, beside those figures:

    python benchmarks/ablations.py DATA... --out runs/classifier --only mini no-semantic-tower --talks --stage1 300 \
        --config '{"semantic_tower": "efficientnet-lite2", "semantic_head": true,
                   "detail_size": 256, "semantic_size": 256}' \
        --kept ablated-classifier
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from miras.core.photo import read_photo
from miras.data.dialogues.scene import Scene
from miras.data.language import knowledge
from miras.model.miras import Miras
from miras.train.data import corpus
from miras.train.loop import validation
from miras.train.recipe import recipe as recipes
from miras.train.recipe import schema
from miras.train.stages.stage1 import PhraseStates

RECIPES = (
    "mini", "no-semantic-tower", "no-detail-tower", "no-mask-encoder", "no-alignment", "no-history", "lisa-style",
    "as-released", "random-fusion",
)  # fmt: skip
RANDOM = "random-fusion"
"""`mini` whose semantic tower joins through random layers, not through ones that start at zero (`zero_fusion`)."""
STAGE2_ONLY = ("no-history",)
"""Recipes whose stage 1 is that of `mini`."""
SMALL = (
    "precision=float32", "batch.coarse=0", "check.every=0", "check.photos=0", "check.overlays=0", "checkpoint_every=50",
    "keep=1", r'optimiser.rates={"_tower\\.": 0}',
)  # fmt: skip
TALKS = ("data.recorded=0", "batch.photos=2", "finish=40")
VIEWS = {"detail_size": 192, "semantic_size": 96}
TITLES = {"phrases": "phrases gIoU", "presence": "presence AUC", "talks": "dialogues gIoU"}
ABSENT = 12
"""Names that are not there, of each photo."""
Figures = dict[str, float]
"""Photo -> per cent."""
KEPT = "ablated"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--talks", type=int, nargs="*", default=[0])
    parser.add_argument("--stage1", type=int, default=400)
    parser.add_argument("--stage2", type=int, default=150)
    parser.add_argument("--dialogues", type=int, default=60)
    parser.add_argument("--only", nargs="+", default=list(RECIPES))
    parser.add_argument("--config", type=json.loads, default={}, help="keys of the model's configuration, as JSON")
    parser.add_argument("--kept", default=KEPT, help="the folder beside this script, and the name of the JSON file")
    given = parser.parse_args()
    given.folder = Path(__file__).with_name(given.kept)
    for seed in dict.fromkeys([*given.seeds, *given.talks]):
        for name in given.only:
            if seed in given.seeds and name not in STAGE2_ONLY:
                once("phrases", name, seed, given)
                once("presence", name, seed, given)
            if seed in given.talks:
                once("talks", name, seed, given)
    rows = table(given.folder)
    budget = {"stage1": given.stage1, "stage2": given.stage2, "dialogues": given.dialogues, "config": given.config}
    name = Path(__file__).stem if given.kept == KEPT else given.kept
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps({**budget, "rows": rows}, indent=1) + "\n")
    print(markdown(rows))


def once(what: str, name: str, seed: int, given: argparse.Namespace) -> None:
    """Train and measure, where that was not done before."""
    out, kept = given.out / f"{name}-{seed}", given.folder / f"{name}-{seed}-{what}.json"
    if kept.exists():
        return
    if what in ("phrases", "presence"):
        figures = phrases if what == "phrases" else presence
        found = figures(stage1(name, seed, out, given), given.data)
    else:
        found = talks(stage2(name, seed, out, given), given)
    given.folder.mkdir(exist_ok=True)
    kept.write_text(json.dumps({photo: round(value, 2) for photo, value in sorted(found.items())}, indent=1) + "\n")
    print(f"{name} {seed} {what}: done", file=sys.stderr, flush=True)


def stage1(name: str, seed: int, out: Path, given: argparse.Namespace) -> Path:
    """The model of its stage 1, trained where it is not there yet."""
    if name in STAGE2_ONLY:
        return stage1("mini", seed, given.out / f"mini-{seed}", given)
    recipe = chain(name, given.config)[0]
    changes = [f"start.config={json.dumps(recipe.start.config)}", f"steps={given.stage1}"]
    return trained("stage1", changes, seed, out / "stage1", given.data)


def chain(name: str, changed: dict[str, Any]) -> tuple[schema.Recipe, ...]:
    """Both stages of a row of the table, with its views."""
    views = {**VIEWS, **changed}
    base, config = (name, views) if name != RANDOM else ("mini", {**views, "zero_fusion": False})
    return recipes.load(base, [f"stage1:start.config={json.dumps(config)}"]).recipes


def stage2(name: str, seed: int, out: Path, given: argparse.Namespace) -> Path:
    before = stage1(name, seed, out, given)
    recipe = chain(name, given.config)[1]
    changes = [f"start.weights={before}", f"steps={given.stage2}", f"history={json.dumps(recipe.history)}", *TALKS]
    return trained("stage2", changes, seed, out / "stage2", given.data)


def trained(stage: str, changes: list[str], seed: int, out: Path, data: list[Path]) -> Path:
    if not (out / "model" / "model.safetensors").exists():
        command = [sys.executable, "-m", "miras", "train", stage, "--out", str(out)]
        command += ["--set", *SMALL, f"seed={seed}", *changes, "--data", *map(str, data)]
        subprocess.run(command + (["--resume"] if any(out.glob("checkpoint-*")) else []), check=True)
    return out / "model"


def phrases(model: Path, data: list[Path]) -> Figures:
    """Mean IoU of the phrases of every validation photo."""
    loaded = Miras.from_pretrained(model)
    photos = corpus.read(data, schema.Data()).held_out
    return {corpus.key(photo): validation.phrases(loaded, [photo])["giou"] for photo in photos}


@torch.no_grad()
def presence(model: Path, data: list[Path]) -> Figures:
    """Of every validation photo, the share of pairs (there, not there) whose presence is the right way round."""
    loaded, found = Miras.from_pretrained(model), Figures()
    states = PhraseStates(loaded)
    for photo in corpus.read(data, schema.Data()).held_out:
        scene = Scene(photo, knowledge.load())
        there = {target.phrase for target in scene.targets if target.sort in ("one", "all")}
        absent = sorted({name for names in scene.absent for name in names} - scene.present)
        if not there or not absent:
            continue
        chosen = np.random.default_rng([*photo.id.encode()]).permutation(absent)[:ABSENT]
        features = loaded.encode_image([read_photo(photo.file)])
        yes, no = (
            np.array([loaded.presence(features, 0, states([name])[0][0]) for name in names])
            for names in (sorted(there), map(str, chosen))
        )
        gaps = yes[:, None] - no[None]
        found[corpus.key(photo)] = float(100 * ((gaps > 0) + (gaps == 0) / 2).mean())
    return found


def talks(model: Path, given: argparse.Namespace) -> Figures:
    """Mean IoU of the selections after all turns about a photo, own history, in per cent."""
    lines = model.parent / "dialogues.jsonl"
    command = [sys.executable, "-m", "miras", "eval", str(given.data[0]), "--format", "dialogues", "--split", "val"]
    command += ["--dialogues", str(given.dialogues), "--model", str(model), "--samples", str(lines), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, list[float]] = {}
    for line in lines.read_text().splitlines():
        talk = json.loads(line)
        values = [100 * turn["iou"] for turn in talk["turns"] if turn["iou"] is not None]
        found.setdefault(f"{talk['source']}/{talk['photo']}", []).extend(values)
    return {photo: float(np.mean(values)) for photo, values in found.items() if values}


def table(folder: Path) -> list[dict[str, Any]]:
    """A row for each recipe that has figures."""
    rows = []
    for name in RECIPES:
        row: dict[str, Any] = {"recipe": name}
        for what in ("phrases", "presence", "talks"):
            runs, whole = gathered(folder, name, what), gathered(folder, "mini", what)
            if not runs:
                continue
            row[what] = [round(float(np.mean(list(run.values()))), 2) for run in runs.values()]
            shared = sorted(runs.keys() & whole.keys())
            if name != "mini" and shared:
                row[f"{what}_less"] = difference([runs[s] for s in shared], [whole[s] for s in shared])
        if len(row) > 1:
            rows.append(row)
    return rows


def gathered(folder: Path, name: str, what: str) -> dict[int, Figures]:
    """Seed -> figures."""
    found = {}
    for file in folder.glob(f"{name}-*-{what}.json"):
        seed = file.name.removeprefix(f"{name}-").removesuffix(f"-{what}.json")
        if seed.isdecimal():
            found[int(seed)] = json.loads(file.read_text())
    return dict(sorted(found.items()))


def difference(ours: list[Figures], theirs: list[Figures], rounds: int = 4000) -> list[float]:
    """Mean difference over seeds and photos, with the 2.5 and 97.5 percentiles over resampled seeds and photos."""
    photos = sorted(ours[0].keys() & theirs[0].keys())
    gaps_SP = np.array([[o[p] - t[p] for p in photos] for o, t in zip(ours, theirs, strict=True)])
    rng = np.random.default_rng(0)
    seeds_RS, photos_RP = (rng.integers(size, size=(rounds, size)) for size in gaps_SP.shape)
    means = [gaps_SP[s].mean(0)[p].mean() for s, p in zip(seeds_RS, photos_RP, strict=True)]
    return [round(float(v), 2) for v in (gaps_SP.mean(), *np.percentile(means, (2.5, 97.5)))]


def markdown(rows: list[dict[str, Any]]) -> str:
    shown = [what for what in TITLES if any(what in row for row in rows)]
    lines = ["| recipe |" + "".join(f" {TITLES[what]} (seeds) | against mini (95%) |" for what in shown)]
    lines += ["|---|" + "---|---|" * len(shown)]
    for row in rows:
        cells = [row["recipe"]]
        for what in shown:
            seeds, gap = row.get(what), row.get(f"{what}_less")
            cells.append(f"{np.mean(seeds):.1f} ({', '.join(f'{v:.1f}' for v in seeds)})" if seeds else "")
            cells.append(f"{gap[0]:+.1f} ({gap[1]:+.1f} to {gap[2]:+.1f})" if gap else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
