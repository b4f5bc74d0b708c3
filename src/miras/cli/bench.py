"""`miras bench turns`: what a turn costs, with our session and with loops that start anew each turn.

In: a model and a photo. Out: seconds and newly processed tokens of each turn, and their ratios. All
sides hold the same scripted conversation with the same weights and the same generated tokens. Both
loops encode the photo and the whole prompt at each turn, as the official evaluation does: "turn" keeps
a cache within the turn, "token" does not (LISA's `use_cache=False`, from which the official code stems).
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from miras.cli.benches.everything import everything
from miras.cli.benches.script import OPENING, PHOTO, SCRIPT, Times, equal_length, timed, typical
from miras.cli.evaluation.bench_metrics import metrics
from miras.cli.options import Json, Model
from miras.cli.output import HERE, Computing, emit, load, say, table
from miras.core.errors import InputError

LOOPS = ("turn", "token")
bench_app = cyclopts.App(name="bench", help="Benchmarks: timings of this machine.")
bench_app.command(metrics)
bench_app.command(everything, name="all")


@bench_app.command
def turns(
    *, image: Path | None = None, turns: int = 6, repeats: int = 5, json: Json = False, model: Model = "miras-mini",
    preset: str | None = None, random_weights: Annotated[bool, Parameter(negative="")] = False,
    layers: int | None = None, on: Computing = HERE,
) -> int:  # fmt: skip
    """Seconds of each turn of a scripted conversation, ours and recomputed.

    Recomputed: the photo and the whole prompt anew at each turn, no cache across turns, the same tokens.
    --random-weights: of --preset (miras-7b), nothing is fetched. --layers: of its transformers, fewer than all.
    """
    if random_weights != (preset is not None) or (layers is not None and not random_weights):
        raise InputError("--preset, --random-weights (and --layers) together", "one alone", "or --model NAME")
    return run(image, count=turns, repeats=repeats, as_json=json, model=model, on=on, random=preset, layers=layers)


def run(
    image: Path | None, *, count: int, repeats: int, as_json: bool, model: str, on: Computing,
    random: str | None = None, layers: int | None = None,
) -> int:  # fmt: skip
    """Exit code 0. random: a preset whose weights are drawn at random, of so many layers."""
    if not 2 <= count <= 1 + len(SCRIPT):
        raise InputError(f"--turns from 2 to {1 + len(SCRIPT)}", str(count))
    if repeats < 1:
        raise InputError("--repeats of at least 1", str(repeats))
    started = time.perf_counter()
    loaded = load(model, on.measuring(model)) if random is None else _random(random, layers, on)
    first_token = _first_token(loaded, image or PHOTO, started)
    opening, *others = equal_length(loaded.model, (OPENING, *SCRIPT))
    ours: list[Times] = [[] for _ in range(count)]
    held_against = LOOPS if random is None or on.device != "cpu" else LOOPS[:1]  # a photo for each token: minutes
    anew: dict[str, list[Times]] = {how: [[] for _ in range(count)] for how in held_against}
    tokens: list[tuple[int, int]] = []
    for round_ in range(repeats):
        say(f"round {round_ + 1} of {repeats}")
        before = loaded.model.encoded_photos
        session = loaded.chat(image or PHOTO)
        encodings = loaded.model.encoded_photos - before
        loops = {how: loaded.chat(image or PHOTO, recompute=how) for how in held_against}
        tokens = []
        at = round_ % len(others)
        for turn, (text, ids) in enumerate([opening, *others[at:], *others[:at]][:count]):
            counted = loaded.model.encoded_photos
            ours_reply, seconds = timed(session, text, ids)
            encodings += loaded.model.encoded_photos - counted
            ours[turn].append((text, seconds))
            replies = {}
            for how, loop in loops.items():
                replies[how], seconds = timed(loop, text, ids)
                anew[how][turn].append((text, seconds))
            tokens.append((ours_reply.new_tokens, replies["turn"].new_tokens))
        del session, loops  # three sessions at a time: those of the next round come first otherwise
    each_token = anew.get("token", [None] * count)
    turns = [_turn(*row) for row in zip(ours, anew["turn"], each_token, tokens, strict=True)]
    result = {
        "turns": turns, "photo_encodings": encodings, "reply_tokens": len(opening[1]),
        "flatness": round(max(t["seconds"] for t in turns[1:]) / min(t["seconds"] for t in turns[1:]), 3),
        "start_to_first_token_seconds": round(first_token, 2), "peak_memory_mb": _peak_mb(), "model": loaded.name,
        "threads": _threads(), "device": loaded.model.device.type, "repeats": repeats,
        "layers": layers, "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "machine": f"{platform.machine()}, {platform.system()}",
    }  # fmt: skip
    if as_json:
        emit(result)
    else:
        head = ("turn", "seconds", "anew each turn", "ratio", "anew each token", "ratio", "new tokens", "of the loop")
        rows = [(i + 1, *(t[k] for k in t)) for i, t in enumerate(turns)]
        print(table(rows, head))
        print("\n".join(f"{name}: {value}" for name, value in result.items() if name != "turns"))
    return 0


def _random(preset: str, layers: int | None, on: Computing) -> Any:
    from miras.chat.load import load_random

    return load_random(preset, layers, on.threads, device=on.device, dtype=on.dtype)


def _turn(ours: Times, anew: Times, token: Times | None, tokens: tuple[int, int]) -> dict[str, Any]:
    """token: None where it was not measured."""
    seconds, recomputed = typical(ours), typical(anew)
    each_token = None if token is None else typical(token)
    return {
        "seconds": round(seconds, 4), "recompute_seconds": round(recomputed, 4),
        "ratio": round(recomputed / seconds, 2),
        "token_recompute_seconds": None if each_token is None else round(each_token, 4),
        "token_ratio": None if each_token is None else round(each_token / seconds, 2),
        "new_tokens": tokens[0], "recompute_tokens": tokens[1],
    }  # fmt: skip


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
