"""What the turns of a conversation cost, with our session and with loops that start anew each turn.

In: a model, a photo, the machine's rates. Out: seconds, tokens a second, memory and newly processed tokens of each
turn, beside the least that it can take (`roofline`). All sides hold the same scripted conversation with the same
weights and the same generated tokens. Both loops encode the photo and the whole prompt at each turn, as the official
evaluation does: "turn" keeps a cache within the turn, "token" does not (LISA's `use_cache=False`, from which the
official code stems).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from miras.cli.benches.machine import Rates, resident_mb
from miras.cli.benches.roofline import Least, least
from miras.cli.benches.script import OPENING, SCRIPT, Timed, Times, equal_length, timed, typical

LOOPS = ("turn", "token")
Exchanges = Sequence[tuple[str, tuple[int, ...]]]


@dataclass
class Turn:
    """What was measured of one. ours: of our session; anew: seconds by loop."""

    ours: list[tuple[str, Timed]] = field(default_factory=list)
    anew: dict[str, Times] = field(default_factory=dict)
    memory_mb: float | None = None
    tokens: tuple[int, int] = (0, 0)

    def row(self, least: Least | None) -> dict[str, Any]:
        """As `--json` prints it; None for what was not measured."""
        seconds = typical([(text, turn.seconds) for text, turn in self.ours])
        anew = {loop: typical(times) for loop, times in self.anew.items() if times}
        token = anew.get("token")
        firsts = {
            name: [(text, value) for text, turn in self.ours if (value := getattr(turn, name)) is not None]
            for name in ("first_token", "first_mask")
        }  # fmt: skip
        return {
            "seconds": round(seconds, 4), "recompute_seconds": round(anew["turn"], 4),
            "ratio": round(anew["turn"] / seconds, 2),
            "token_recompute_seconds": None if token is None else round(token, 4),
            "token_ratio": None if token is None else round(token / seconds, 2),
            "new_tokens": self.tokens[0], "recompute_tokens": self.tokens[1],
            **{f"{name}_seconds": round(typical(times), 4) if times else None for name, times in firsts.items()},
            "tokens_per_second": round(statistics.median(turn.written for _, turn in self.ours), 1),
            "memory_mb": self.memory_mb, "limit_seconds": None if least is None else round(least.seconds, 5),
            "times_the_limit": None if least is None else round(seconds / least.seconds, 2),
        }  # fmt: skip


def measured(
    loaded: Any, photo: Path, count: int, repeats: int, loops: Sequence[str], rates: Rates | None = None,
    say: Callable[[str], None] = lambda line: None, *, last_token: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Rows of `count` turns, and what all of them share. rates: of the machine; None leaves the least out. last_token:
    the loop "token" is timed at the last turn alone, where each turn of it takes minutes."""
    exchanges = equal_length(loaded.model, (OPENING, *SCRIPT))
    opening, *others = exchanges
    turns = [Turn(anew={how: [] for how in loops}) for _ in range(count)]
    encodings = 0
    for round_ in range(repeats):
        say(f"round {round_ + 1} of {repeats}")
        before = loaded.model.encoded_photos
        session = loaded.chat(photo)
        encodings = loaded.model.encoded_photos - before
        early = {"token": "never"} if last_token else {}
        anew = {how: loaded.chat(photo, recompute=early.get(how, how)) for how in loops}
        at = round_ % len(others)
        for turn, (text, ids) in zip(turns, [opening, *others[at:], *others[:at]], strict=False):
            counted = loaded.model.encoded_photos
            ours = timed(session, text, ids)
            encodings += loaded.model.encoded_photos - counted
            turn.ours.append((text, ours))
            turn.memory_mb = memory_mb(loaded.model.device.type)
            for how, loop in anew.items():
                if turn is turns[-1]:
                    loop.backend.options = replace(loop.backend.options, recompute=how)
                other = timed(loop, text, ids)
                if how not in early or turn is turns[-1]:
                    turn.anew[how].append((text, other.seconds))
                turn.tokens = (ours.reply.new_tokens, other.reply.new_tokens if how == "turn" else turn.tokens[1])
        del session, anew  # three sessions at a time: those of the next round come first otherwise
    limits = [None] * count if rates is None else turn_limits(loaded, photo, exchanges[:count], rates)
    rows = [turn.row(limit) for turn, limit in zip(turns, limits, strict=True)]
    later = [row["seconds"] for row in rows[1:]]
    return {
        "turns": rows, "photo_encodings": encodings, "reply_tokens": len(opening[1]),
        "flatness": round(max(later) / min(later), 3),
    }  # fmt: skip


def turn_limits(loaded: Any, photo: Path, exchanges: Exchanges, rates: Rates) -> list[Least]:
    """The least that each turn of one more conversation can take."""
    session = loaded.chat(photo)
    return [
        least(lambda text=text, ids=ids: session.ask(text, forced=ids), rates, loaded.model)  # type: ignore[misc]
        for text, ids in exchanges
    ]


def memory_mb(device: str) -> float | None:
    """What the turns so far took at most of a GPU; of a processor, what this process holds now."""
    if device == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return resident_mb()
