"""Kills of workers for `serve_load.py`: which processes they are, and conversations that go on while they die.

In: the process of a server, conversations. Out: what was lost, and what had to be asked again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from miras.client import AsyncClient, Refused

TITLE = "ray::ServeReplica:"


def replicas(server: int) -> list[int]:
    """Processes of the workers that a server began, by number."""
    parents, found = {}, []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_text().startswith(TITLE):
                found.append(int(folder.name))
        except OSError:
            continue

    def ours(process: int) -> bool:
        while process > 1:
            if process == server:
                return True
            process = parents.get(process, 0)
        return False

    return sorted(process for process in found if ours(process))


async def measure_lose(
    server: int, begin: Callable[[int], Awaitable[tuple[AsyncClient, str]]],
    texts: Callable[[int], list[str]], said: Callable[[Any], Any], people: int, kills: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """A worker is killed now and then while all talk; a turn that was cut off is asked again as the page would."""
    found: Counter[str] = Counter()
    rng = random.Random(seed)
    told: dict[int, list[Any]] = {}
    waits: list[float] = []

    async def hold(number: int) -> None:
        client, name = await begin(number)
        told[number] = []
        async with client:
            for text in texts(number):
                again = False
                started = time.perf_counter()
                while True:
                    try:
                        turn = await client.ask(name, None if again else text)
                        break
                    except Refused as error:
                        if error.kind != "lost":
                            raise
                        found["marked"] += 1
                        view = await client.conversation(name)
                        found["not_open"] += view.open is None or view.open.text != text
                        again = True
                waits.append(time.perf_counter() - started)
                told[number].append(said(turn))
            kept = [said(turn) for turn in (await client.conversation(name)).history]
            found["lost"] += kept != told[number] or len(kept) != len(texts(number))

    load = asyncio.gather(*(hold(number) for number in range(people)))
    for kill in range(kills):
        before = sum(map(len, told.values()))
        while not load.done() and sum(map(len, told.values())) < before + people // 2:
            await asyncio.sleep(0.02)
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        alive = replicas(server)
        if load.done() or not alive:
            break
        os.kill(rng.choice(alive), signal.SIGKILL)
        found["kills"] += 1
        print(f"kill {kill + 1}: {sum(map(len, told.values()))} turns told, {dict(found)}", file=sys.stderr)
    await load
    return {
        "people": people, "turns_told": sum(map(len, told.values())), "longest_wait": round(max(waits), 2),
        **{name: found[name] for name in ("kills", "marked", "not_open", "lost")},
        "told": [told[number] for number in range(people)],
        "failed": bool(found["lost"] or found["not_open"] or not found["kills"]),
    }  # fmt: skip
