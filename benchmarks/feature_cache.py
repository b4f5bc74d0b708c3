"""A training step of `miras-mini` with frozen towers: features computed, and from the cache on disk.

    python benchmarks/feature_cache.py DATA [--steps 6] [--stage 2] [--photos 3]

The same batches three times: without a cache, the first time with one, and once more. Prints processor seconds a step
(they hold on a machine that others use, too), the size on disk, and whether the losses are the same bit by bit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from miras.train import run
from miras.train.data import corpus
from miras.train.recipe import recipe
from miras.train.recipe.schema import Features
from miras.train.stages import training_module

STILL = "augment={whole: 1, flip: 0, colours: 0, hue_shift: 0, grey: 0, jpeg: 0, coarse: 0, copy_paste: 0, text: 0}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--stage", type=int, default=2)
    parser.add_argument("--photos", type=int, default=3)
    given = parser.parse_args()
    changes = [
        "start.weights=miras-mini", "start.operators=false", "batch.detail=512", "batch.coarse=0",
        f"batch.photos={given.photos}", "history.own=0", "history.mode=gold", STILL,
    ]  # fmt: skip
    chosen = recipe.load(f"stage{given.stage}", changes).recipes[0]
    frozen = {"_tower\\.": 0.0, **{key: rate for key, rate in chosen.optimiser.rates.items() if key != "_tower\\."}}
    chosen = replace(chosen, optimiser=replace(chosen.optimiser, rates=frozen))
    module = training_module.build(chosen).train()
    data = corpus.read([given.data], chosen.data)
    items = run.items(chosen, data, module.model)
    seconds, losses = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        kept = replace(chosen, features=Features(10, folder))
        collate = run.Collate(module.model, kept)
        batches = [
            collate([items[step * given.photos + n] for n in range(given.photos)]) for step in range(given.steps + 1)
        ]
        for name in ("without", "first", "again"):
            if name == "first":
                module.keep_features(kept)
            seconds[name], losses[name] = steps(module, batches)
        features = module.features
        assert features is not None
        summary = features.summary()
    photos = len({name for batch in batches for name in batch["photos"]})
    print(json.dumps({
        "cpu_seconds_a_step": {name: round(value, 3) for name, value in seconds.items()},
        "ratio": round(seconds["without"] / seconds["again"], 2), "equal": losses["without"] == losses["again"],
        "mb_a_photo": round(1000 * summary["gigabytes"] / photos, 2), "photos_a_step": given.photos,
        "steps": given.steps, "stage": given.stage, "detail": 512, "threads": torch.get_num_threads(),
        "precision": "bf16" if module.is_half else "float32",
    }))  # fmt: skip


def steps(module: training_module.TrainingModule, batches: list[dict[str, object]]) -> tuple[float, list[float]]:
    """Processor seconds a step, the first (for warming up) apart, and the losses."""
    losses, spent = [], 0.0
    for number, batch in enumerate(batches):
        torch.manual_seed(number)
        start = time.process_time()
        loss = module(batch["batch"], batch["photos"])["loss"]
        loss.backward()
        spent += time.process_time() - start if number else 0.0
        losses.append(float(loss))
        module.zero_grad(set_to_none=True)
    return spent / (len(batches) - 1), losses


if __name__ == "__main__":
    main()
