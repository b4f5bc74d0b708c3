"""Training throughput of stage 2: conversations that share one encoding of their photo, against a loop that encodes the
photo for every conversation. The same conversations, the same model, one run.

    python benchmarks/training.py DATA [--conversations 4] [--photos 2] [--steps 5]

Prints photos/s, conversations/s, the ratio, peak memory and, on a GPU, the share of its peak (from counted operations).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from miras.train import run
from miras.train.data import corpus
from miras.train.data.photos import Item
from miras.train.data.targets import moved
from miras.train.recipe import recipe
from miras.train.stages import training_module

PEAK = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100-SXM4-80GB": 312e12}
"""Dense bf16 operations a second, from the makers' data sheets."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    given = parser.parse_args()
    torch.manual_seed(0)
    size = [f"batch.photos={given.photos}", f"batch.conversations={given.conversations}"]
    chosen = recipe.load("stage2", ["start.weights=miras-mini", "start.operators=false", *size]).recipes[0]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = training_module.build(chosen).to(device).train()
    data = corpus.read([given.data], chosen.data)
    items = run.items(chosen, data)
    collate = run.Collate(module.model, chosen)
    seconds = {"shared": 0.0, "apart": 0.0}
    operations = dict.fromkeys(seconds, 0.0)
    for step in range(given.steps + 1):  # the first is for warming up
        numbered = [items[step * given.photos + n] for n in range(given.photos)]
        apart = [(n, Item(i.pixels, [talk], i.photo)) for n, i in numbered for talk in i.conversations]
        for name, chosen_items in (("shared", numbered), ("apart", apart)):
            batch = moved(collate(chosen_items)["batch"], device)
            batch = replace(batch, own_C=torch.zeros_like(batch.own_C))
            _wait(device)
            start = time.perf_counter()
            module(batch)["loss"].backward()
            _wait(device)
            if step:
                seconds[name] += time.perf_counter() - start
            elif device.type == "cuda":
                with FlopCounterMode(display=False) as counter:
                    module(batch)["loss"].backward()
                operations[name] = counter.get_total_flops()
            module.zero_grad(set_to_none=True)
    talks = given.photos * given.conversations * given.steps
    result = {
        name: {
            "photos_per_second": round(given.photos * given.steps / s, 3),
            "conversations_per_second": round(talks / s, 3),
        }
        for name, s in seconds.items()
    }  # fmt: skip
    peak = PEAK.get(torch.cuda.get_device_name()) if device.type == "cuda" else None
    result |= {
        "ratio": round(seconds["apart"] / seconds["shared"], 2), "photos": given.photos,
        "conversations": given.conversations, "steps": given.steps,
        "peak_gb": round((torch.cuda.max_memory_allocated() / 2**30) if device.type == "cuda"
                         else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "share_of_peak": round(operations["shared"] * given.steps / seconds["shared"] / peak, 3) if peak else None,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "CPU",
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    print(json.dumps(result))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
