"""`miras bench turns`: what a turn costs, with our session and with loops that start anew each turn.

In: a model and a photo. Out: seconds and newly processed tokens of each turn, their ratios, the least that memory and
arithmetic of this machine allow (`benches.turns`).
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from miras.cli.benches.everything import everything
from miras.cli.benches.script import OPENING, PHOTO, SCRIPT
from miras.cli.benches.sessions import sessions
from miras.cli.evaluation.bench_metrics import metrics
from miras.cli.evaluation.faithful import baselines
from miras.cli.options import Json, Model
from miras.cli.output import HERE, Computing, emit, load, say, table
from miras.core.errors import InputError

bench_app = cyclopts.App(name="bench", help="Benchmarks: timings of this machine, and the paper's baselines.")
bench_app.command(metrics)
bench_app.command(everything, name="all")
bench_app.command(sessions)
bench_app.command(baselines)


@bench_app.command
def turns(
    *, image: Path | None = None, turns: int = 6, repeats: int = 5, json: Json = False, model: Model = "miras-mini",
    preset: str | None = None, random_weights: Annotated[bool, Parameter(negative="")] = False,
    layers: int | None = None, scale: int | None = None, on: Computing = HERE,
) -> int:  # fmt: skip
    """Seconds of each turn of a scripted conversation, ours and recomputed; to its first word, to its first mask.

    Recomputed: the photo and the whole prompt anew at each turn, no cache across turns, the same tokens.
    --random-weights: of --preset (miras-7b), nothing is fetched. --layers: of its transformers, fewer than all.
    --scale: all of it so many times narrower, for a processor.
    """
    drawn = Drawn(preset, layers, scale)
    if random_weights != (preset is not None) or (drawn.cut and not random_weights):
        raise InputError(
            "--preset, --random-weights (and --layers, --scale) together", "one alone", "or --model NAME"
        )  # fmt: skip
    return run(image, count=turns, repeats=repeats, as_json=json, model=model, on=on, drawn=drawn)


@dataclass(frozen=True)
class Drawn:
    """A preset whose weights are drawn at random, None for none; of so many layers, so many times narrower."""

    preset: str | None = None
    layers: int | None = None
    scale: int | None = None

    @property
    def cut(self) -> bool:
        """Whether it is less than the preset."""
        return self.layers is not None or self.scale is not None

    def load(self, on: Computing) -> Any:
        """The model."""
        from miras.chat.load import load_random

        assert self.preset is not None
        return load_random(
            self.preset, self.layers, on.threads, device=on.device, dtype=on.dtype, narrower=self.scale or 1,
            bits=on.bits, static=on.static,
        )  # fmt: skip


WHOLE = Drawn()


def run(
    image: Path | None, *, count: int, repeats: int, as_json: bool, model: str, on: Computing, drawn: Drawn = WHOLE
) -> int:  # fmt: skip
    """Exit code 0."""
    from miras.cli.benches import machine
    from miras.cli.benches.turns import LOOPS, measured

    if not 2 <= count <= 1 + len(SCRIPT):
        raise InputError(f"--turns from 2 to {1 + len(SCRIPT)}", str(count))
    if repeats < 1:
        raise InputError("--repeats of at least 1", str(repeats))
    started, photo = time.perf_counter(), image or PHOTO
    loaded = load(model, on.measuring(model)) if drawn.preset is None else drawn.load(on)
    first_token = _first_token(loaded, photo, started)
    device = loaded.model.device.type
    at_token = drawn.preset is None or device != "cpu"  # a photo for each token: minutes
    rates = machine.rates(min(repeats, 3), device)
    result = measured(loaded, photo, count, repeats, LOOPS if at_token else LOOPS[:1], rates, say)
    turns = result["turns"]
    result |= {
        "start_to_first_token_seconds": round(first_token, 2), "peak_memory_mb": _peak_mb(), "model": loaded.name,
        "threads": _threads(), "device": device, "repeats": repeats,
        "layers": drawn.layers, "scale": drawn.scale, "bits": on.bits, "static": on.static,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "rates": asdict(rates), "machine": f"{platform.machine()}, {platform.system()}",
    }  # fmt: skip
    if as_json:
        emit(result)
    else:
        head = ("turn", "seconds", "anew each turn", "ratio", "anew each token", "ratio", "new tokens", "of the loop",
                "to a word", "to a mask", "tokens/s", "MB", "at least", "times that")  # fmt: skip
        print(table([(i + 1, *t.values()) for i, t in enumerate(turns)], head))
        print("\n".join(f"{name}: {value}" for name, value in result.items() if name != "turns"))
    return 0


def _first_token(loaded: Any, photo: Path, started: float) -> float:
    """Seconds from before loading to the first piece of the first reply."""
    for _ in loaded.chat(photo).stream(OPENING[0]):
        break
    return time.perf_counter() - started


def _peak_mb() -> float:
    """Largest resident size of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)


def _threads() -> int:
    import torch

    return torch.get_num_threads()
