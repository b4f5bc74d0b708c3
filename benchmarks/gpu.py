"""Speed and memory of `miras-7b` at its true size, with random weights, on one GPU: one run of at most ten minutes.

    python benchmarks/gpu.py > benchmarks/gpu.json                                  # one GPU of 40 GB or more, bf16
    python benchmarks/gpu.py --device cpu --minutes 60 > benchmarks/cpu.json        # the same on a processor of 24 GB
    python benchmarks/gpu.py --device cpu --layers 4                                # few layers of the true width
    python benchmarks/gpu.py --device cpu --scale 8                                 # all layers, narrower

Nothing is fetched: weights are drawn, photos ship. Prints one JSON object; what passes and what differs goes to
standard error, too. Checked, each against what the same run measured of the machine: decoding within twice the time
that the weights' bytes take at the memory's bandwidth; turn 6 at least 8 times faster than a loop that reads everything
again for each token (LISA's evaluation); a training step's share of the products' rate (aim 35%); its memory within 15%
of `miras train RECIPE --dry-run`. A part that would not fit into what is left of the time is not begun, and told.
On a processor the parts are the same and the limits are the processor's own, but memory is the sum of
all tensors that live, nothing is recorded (CUDA graphs), bfloat16 depends on the processor, and the loop that reads
everything again for each token is timed at turn 6 alone.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import statistics
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import miras
from miras.chat.load import Loaded, load_random
from miras.cli.benches import machine, roofline, sessions, turns
from miras.cli.benches.script import OPENING, PHOTO, SCRIPT, equal_length
from miras.core.masks import encode_rle
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto, Annotation
from miras.model import presets
from miras.model.hub import checkpoint
from miras.model.loading.place import faster
from miras.train import run
from miras.train.data.corpus import Corpus
from miras.train.data.targets import moved
from miras.train.loop import trainer
from miras.train.loop.average import MovingAverage
from miras.train.loop.estimate import CONTEXT, estimate
from miras.train.recipe import recipe as recipes
from miras.train.recipe.schema import Recipe
from miras.train.stages import training_module

PAST = 700
"""Tokens of a conversation before those that are decoded: a photo and a few turns."""
RECIPES = ("full-80gb", "full-24gb")
"""Those for one GPU; `full-8x80gb` holds on each device what `full-80gb` does, `full-2nodes` needs sixteen."""
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 operations a second, by the makers' data sheets."""


class Run:
    """What was found, what it was held to, and how much time is left."""

    def __init__(self, device: str, minutes: float, only: Sequence[str] = ()) -> None:
        self.only = tuple(only)
        self.kept: Path | None = None
        self.device, self.kind = device, torch.device(device).type
        self.until = time.perf_counter() + 60 * minutes
        self.found: dict[str, Any] = {}
        self.checks: list[dict[str, Any]] = []

    def part(self, name: str, measure: Callable[[], Any], seconds: float) -> None:
        """One part, which takes so long at most where all is well; a line where it cannot be."""
        left = self.until - time.perf_counter()
        start = time.perf_counter()
        if self.only and name not in self.only:
            self.found[name] = {"not_run": "not asked for"}
        elif left < seconds:
            self.found[name] = {"not_run": f"{left:.0f} s are left"}
        else:
            try:
                self.found[name] = measure()
            except Exception as error:  # ten minutes of a GPU are not to be lost to one part
                self.found[name] = {"not_run": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        if self.kind == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
        note = self.found[name].get("not_run", "measured") if isinstance(self.found[name], dict) else "measured"
        print(f"{time.perf_counter() - start:6.0f} s  {name}: {note}", file=sys.stderr, flush=True)
        if self.kept is not None:  # what was measured is there whatever becomes of the rest
            self.kept.write_text(json.dumps(self.found) + "\n", encoding="utf-8")

    def check(self, what: str, got: float | None, wanted: str, holds: bool | None) -> None:
        """holds: None where it was not measured."""
        says = "not measured" if holds is None else "pass" if holds else "differ"
        self.checks.append({"check": what, "wanted": wanted, "got": got, "says": says})


def decoding(loaded: Loaded, kind: str) -> dict[str, Any]:
    """A token after `PAST` of them, with caches that grow and with those of fixed size. The bandwidth is measured right
    before: what else runs on a machine takes of it."""
    model, bandwidth = loaded.model, machine.rates(3, kind).bandwidth
    language, width = model.instruction.language, model.instruction.width
    weights = sum(w.nbytes for layer in language.module.decoder.layers for w in vars(layer).values())
    weights += language.module.lm_head.weight.nbytes
    limit = weights / bandwidth
    rows: dict[str, Any] = {"weight_gb": round(weights / 1e9, 2), "bandwidth": bandwidth, "limit_seconds": limit}
    for name, static in (("growing", False), ("static", True)):
        language.held = None
        faster(model, static=static)
        with torch.inference_mode():
            cache = language.cache()
            model.comprehend(torch.randn(1, PAST, width, device=model.device), cache)
            new = torch.randn(1, 1, width, device=model.device)
            model.comprehend(new, cache)
            clock = machine.clock_now() if kind == "cpu" else time.perf_counter  # one thread: others do not count
            times = []
            for _ in range(12):
                machine.wait(kind)
                start = clock()
                model.comprehend(new, cache)
                machine.wait(kind)
                times.append(clock() - start)
        taken = statistics.median(times)
        rows[name] = {"seconds": taken, "tokens_per_second": round(1 / taken, 2),
                      "times_the_limit": round(taken / limit, 2)}  # fmt: skip
    language.held = None
    return rows


def quantised(drawn: Callable[[], Loaded], bits: int, kind: str) -> dict[str, Any]:
    """Decoding with weights of fewer bits."""
    if importlib.util.find_spec("torchao") is None:
        return {"not_run": "no torchao: pip install 'miras[bits]'"}
    loaded = drawn()
    faster(loaded.model, bits)
    return decoding(loaded, kind)["growing"]  # type: ignore[no-any-return]


def talked(loaded: Loaded, rates: machine.Rates, static: bool) -> dict[str, Any]:
    """Six turns beside the loops that begin anew."""
    faster(loaded.model, static=static)
    on_cpu = loaded.model.device.type == "cpu"
    found = turns.measured(loaded, PHOTO, 6, 1, turns.LOOPS, rates, last_token=on_cpu)
    loaded.model.instruction.language.held = None
    return found


def together(loaded: Loaded) -> dict[str, Any]:
    """Conversations at once. Replies are given: random weights say nothing."""
    forced = [ids for _, ids in equal_length(loaded.model, (OPENING, *SCRIPT))]
    return {"rows": sessions.measured(loaded, (1, 4, 8), 2, 1, forced)}


def photos(folder: Path) -> Corpus:
    """The photos that ship, with drawn regions: what a step costs does not depend on what they show."""
    made = []
    for number, path in enumerate(sorted((Path(miras.__file__).parent / "assets").glob("*.jpg"))):
        height, width = read_photo(path).shape[:2]
        notes = []
        for place, label in enumerate(("cup", "spoon", "table", "plate", "door", "wheel")):
            mask = np.zeros((height, width), bool)
            row, column = divmod(place, 3)
            mask[
                row * height // 2 + 8 : (row + 1) * height // 2 - 8, column * width // 3 + 8 : (column + 1) * width // 3
            ] = 1
            notes.append(Annotation(label, f"the {label}", encode_rle(mask)))
        made.append(AnnotatedPhoto(str(number), path, (height, width), tuple(notes), "assets"))
    return Corpus(made, {}, made[:1], made[:1])


def here(name: str, stage: int, preset: str, size: dict[str, Any]) -> Recipe:
    """A stage of a recipe as it is measured: one micro-batch. size: `device`, `layers` and `narrower` of
    `checkpoint.Origin`."""
    first, *_ = chain = recipes.load(name).recipes
    start = replace(first.start, preset=preset)
    if size["layers"] is not None:
        states = {min(number, size["layers"]) for number in presets.configuration(preset).alignment_layers}
        start = replace(start, config={**start.config, "alignment_layers": sorted(states)})
    chosen = chain[stage - 1]
    chosen = replace(chosen, start=start, batch=replace(chosen.batch, accumulate=1, workers=0))
    on_cpu = {"device": "cpu", "precision": "auto", "frozen": "bf16"}
    return chosen if size["device"] != "cpu" else replace(chosen, **on_cpu)


def training(name: str, stage: int, preset: str, size: dict[str, Any], rates: machine.Rates) -> dict[str, Any]:
    """One micro-batch and its step, as a recipe has them; its memory beside what a dry run says. size: as in `here`."""
    device, kind = size["device"], torch.device(size["device"]).type
    chosen = here(name, stage, preset, size)
    if kind == "cpu" and chosen.optimiser.kind != "adamw":
        return {"not_run": "bitsandbytes packs weights on a GPU alone"}
    with checkpoint.origin("random", **size):
        said = estimate(chosen)
        module = training_module.build(chosen).to(device).train()
    collate, things = run.Collate(module.model, chosen), run.items(chosen, photos(Path()))
    average = MovingAverage(module.model, chosen.optimiser.ema)
    optimiser = trainer.optimiser(chosen)(list(training_module.groups(module, chosen)))
    numbered = [things[n] for n in range(chosen.batch.photos)]

    def batch() -> Any:
        made = moved(collate(numbered)["batch"], torch.device(device))
        return replace(made, own_C=torch.zeros_like(made.own_C)) if stage == 2 else made

    given = batch()

    def step() -> None:
        module(given)["loss"].backward()
        torch.nn.utils.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], 1.0)
        optimiser.step()
        average.update(module.model)
        optimiser.zero_grad(set_to_none=True)

    step()  # warms up; the optimiser has its state by then
    counted = roofline.least(step, rates, module)
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = machine.fastest(step, 1 if kind == "cpu" else 3, kind)
    memory = torch.cuda.max_memory_allocated() if kind == "cuda" else tracked(module, optimiser, average, step)
    peak = next(
        (value for name, value in PEAK.items() if kind == "cuda" and name in torch.cuda.get_device_name()), None
    )
    expected = said.memory - CONTEXT
    return {
        "recipe": name, "stage": stage, "photos": chosen.batch.photos, "seconds": round(taken, 4),
        "teraflop": round(counted.operations / 1e12, 3), "dry_run_teraflop": round(said.operations / 1e12, 3),
        "share_of_rate": round(counted.operations / taken / rates.of("bfloat16" if module.is_half else "float32"), 3),
        "share_of_data_sheet": None if peak is None else round(counted.operations / taken / peak, 3),
        "memory_gb": round(memory / 1e9, 3), "dry_run_gb": round(expected / 1e9, 3),
        "memory_ratio": round(memory / expected, 3),
        "tokens": said.tokens,
    }  # fmt: skip


class Live(TorchDispatchMode):
    """Bytes of the tensors that are made while it is entered, as long as they live. known: those that were there.
    (`torch.distributed._tools.mem_tracker` hooks into module outputs, and stops at those without a gradient.)"""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = float(sum({one.data_ptr(): one.nbytes for one in known}.values()))
        self._seen = {one.untyped_storage()._cdata for one in known}
        self._refs: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen or not size:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)

        def gone(_: object) -> None:
            self.now -= size
            self._seen.discard(key)
            self._refs.pop(key, None)

        self._refs[key] = weakref.ref(storage, gone)


def tracked(module: Any, optimiser: Any, average: MovingAverage, step: Callable[[], None]) -> float:
    """Bytes of all tensors at the top of a step."""
    states = [value for one in optimiser.state.values() for value in one.values() if isinstance(value, torch.Tensor)]
    known = [*module.parameters(), *module.buffers(), *states, *average.mean.values()]
    with Live(known) as live:
        step()
    return live.peak


def held_to(job: Run) -> None:
    """The checklist."""
    found = job.found

    def of(part: str, *path: str) -> Any:
        value: Any = found.get(part)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    best = "static" if job.kind == "cuda" else "growing"
    ratio = of("decoding", best, "times_the_limit")
    job.check(f"decoding ({best} cache) over weight bytes by bandwidth", ratio, "at most 2", ratio and ratio <= 2)
    rows = of("turns", "turns") or []
    last = rows[-1]["token_ratio"] if rows else None
    job.check("turn 6 against the loop without a cache", last, "at least 8", last and last >= 8)
    flat = of("turns", "flatness")
    job.check("turns 2 to 6: slowest over fastest", flat, "at most 1.5", flat and flat <= 1.5)
    for name in RECIPES:
        for stage in (1, 2):
            share, memory = (of(f"{name} {stage}", key) for key in ("share_of_rate", "memory_ratio"))
            if stage == 2:
                job.check(
                    f"{name}, stage 2: share of the products' rate", share, "at least 0.35", share and share >= 0.35
                )
            near = memory and 1 / 1.15 <= memory <= 1.15
            job.check(f"{name}, stage {stage}: memory over --dry-run", memory, "0.87 to 1.15", near)


def answers(job: Run, loaded: Loaded, rates: machine.Rates, slow: int) -> None:
    """What is measured of a model that answers, which is left afterwards."""
    job.part("decoding", lambda: decoding(loaded, job.kind), 20)
    job.part("turns", lambda: talked(loaded, rates, job.kind == "cuda"), 60 * slow)
    job.part("together", lambda: together(loaded), 30 * slow)


def main() -> int:
    """Exit code 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scale", type=int, default=1, help="all parts so many times narrower")
    parser.add_argument("--layers", type=int, help="of each transformer, fewer than all")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--preset", default="miras-7b")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--only", nargs="+", default=[], help='parts, as decoding turns together "full-80gb 2" "8 bits"'
    )
    parser.add_argument("--keep", type=Path, help="a file that gets what is measured, part by part")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.device != "cpu" and not torch.cuda.is_available():
        print("miras: expected a GPU, got none (--device cpu --layers 4 is for a processor)", file=sys.stderr)
        return 2
    job = Run(given.device, given.minutes, given.only)
    size = {"device": given.device, "layers": given.layers, "narrower": given.scale}
    job.kept = given.keep
    torch.manual_seed(0)
    rates = machine.rates(3, given.device)
    slow = 1 if job.kind == "cuda" else 2

    def drawn() -> Loaded:
        return load_random(
            given.preset, given.layers, None, device=given.device, dtype="bfloat16", narrower=given.scale
        )

    answers(job, drawn(), rates, slow)
    for name in RECIPES:
        for stage in (1, 2):
            job.part(
                f"{name} {stage}",
                lambda name=name, stage=stage: training(name, stage, given.preset, size, rates),  # type: ignore[misc]
                40 * slow,
            )
    for bits in (8, 4):
        job.part(f"{bits} bits", lambda bits=bits: quantised(drawn, bits, job.kind), 30 * slow)  # type: ignore[misc]
    held_to(job)
    for row in job.checks:
        print(f"{row['says']:>12}  {row['check']}: {row['got']} ({row['wanted']})", file=sys.stderr)
    about = {**size, "preset": given.preset, "torch": torch.__version__,
             "name": torch.cuda.get_device_name() if job.kind == "cuda" else "processor", "load": machine.load(),
             "rates": asdict(rates)}  # fmt: skip
    print(json.dumps({"about": about, **job.found, "checks": job.checks}))
    return int(any(row["says"] == "differ" for row in job.checks))


if __name__ == "__main__":
    sys.exit(main())
