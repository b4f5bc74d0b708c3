"""`miras bench sessions`: what conversations at once cost, answered together and one after the other.

In: a model, photos, how many conversations. Out: turns and tokens a second both ways, and how many shared a pass of the
language model (`model.runtime.together`). Both ways hold the same conversations; they say the same but for the last
digits of float sums, and how much of it was the same is told.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.benches.script import OPENING, SCRIPT
from miras.cli.options import Json, Model
from miras.cli.output import HERE, Computing, emit, load, say, table
from miras.core.errors import InputError

PHOTOS = Path(__file__).parents[2] / "assets"
LINES = (OPENING[0], *(text for text, _ in SCRIPT))


def sessions(
    *, count: Annotated[list[int], Parameter(consume_multiple=True, help="Conversations at once.")]
    = [1, 4, 8],  # noqa: B006
    turns: int = 3, repeats: int = 2, json: Json = False, model: Model = "miras-mini", on: Computing = HERE,
) -> int:  # fmt: skip
    """Conversations at once: turns and tokens a second, together and one after the other."""
    if min(*count, turns, repeats) < 1 or turns > len(LINES):
        raise InputError(f"--count, --repeats of at least 1 and --turns up to {len(LINES)}", f"{count}, {turns}")
    rows = measured(load(model, on.measuring(model)), count, turns, repeats)
    if json:
        emit({"rows": rows, "model": model, "turns": turns, "repeats": repeats, "device": on.device})
    else:
        print(table([tuple(row.values()) for row in rows], tuple(rows[0])))
    return 0


def measured(
    loaded: Any, counts: Sequence[int], turns: int, repeats: int, forced: Sequence[tuple[int, ...]] | None = None
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each count. forced: ids of the replies, in the order of `LINES`; None for the model's own."""
    from miras.chat.load import Loaded
    from miras.model.runtime.together import Together

    photos = sorted(PHOTOS.glob("*.jpg"))

    def talk(talker: Any, number: int) -> list[Any]:
        session = talker.chat(photos[number % len(photos)])
        ids = forced or [None] * turns  # type: ignore[list-item]
        return [session.ask(text, forced=given) for text, given in zip(LINES[:turns], ids, strict=False)]

    rows = []
    for count in counts:
        alone, shared = [], []
        for _ in range(repeats):
            alone.append(_timed(lambda: [talk(loaded, number) for number in range(count)], loaded))  # noqa: B023
            runtime = Together(loaded.model)
            talker = Loaded(runtime, loaded.name, 0.0)
            works = [lambda number=number, talker=talker: talk(talker, number) for number in range(count)]
            shared.append((*_timed(lambda: runtime.each(works), loaded), runtime.passes))  # noqa: B023
            say(f"{count} at once: {alone[-1][0]:.1f} s one after the other, {shared[-1][0]:.1f} s together")
        rows.append(_row(count, min(alone, key=_seconds), min(shared, key=_seconds)))
    return rows


def _seconds(one: tuple[Any, ...]) -> float:
    return float(one[0])


def _timed(work: Callable[[], list[list[Any]]], loaded: Any) -> tuple[float, list[Any]]:
    """Seconds, as `machine.fastest` counts them, and the replies."""
    import time

    from miras.cli.benches.machine import clock_now, wait

    device = loaded.model.device.type
    clock = clock_now() if device == "cpu" else time.perf_counter
    start = clock()
    replies = [reply for talk in work() for reply in talk]
    wait(device)
    return clock() - start, replies


def _row(count: int, alone: tuple[float, list[Any]], shared: tuple[float, list[Any], list[int]]) -> dict[str, Any]:
    tokens = [sum(len(reply.ids) for reply in replies) for replies in (alone[1], shared[1])]
    same = statistics.mean(one.ids == other.ids for one, other in zip(alone[1], shared[1], strict=True))
    return {
        "conversations": count, "alone_turns_per_second": round(len(alone[1]) / alone[0], 2),
        "together_turns_per_second": round(len(shared[1]) / shared[0], 2),
        "gain": round(alone[0] / shared[0], 2),
        "alone_tokens_per_second": round(tokens[0] / alone[0], 1),
        "together_tokens_per_second": round(tokens[1] / shared[0], 1),
        "in_a_pass": round(statistics.mean(shared[2]), 2), "same_replies": round(same, 3),
    }  # fmt: skip
