"""`miras serve`: the API and the page, or sheets to be rated.

In: an address, a folder, limits. Out: a server until Ctrl-C. What is wrong with the settings is told before the model
is loaded; rating needs none.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from miras.cli.options import Model
from miras.cli.output import ALONE, HERE, Computing, Pair, load, say
from miras.core.errors import InputError

if TYPE_CHECKING:
    from miras.serve.settings import Settings


def serve(
    *, host: str = "127.0.0.1", port: int = 8000, data: Path | None = None, token_file: Path | None = None,
    allow_host: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    allow_origin: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    retention_days: int | None = None, memory: int = 256, queue: int = 64,
    log_content: Annotated[bool, Parameter(negative="")] = False,
    rate: Annotated[list[Path], Parameter(consume_multiple=True)] = [],  # noqa: B006
    workers: int | None = None, model: Model = "miras-mini", pair: Pair = ALONE, on: Computing = HERE,
) -> int:  # fmt: skip
    """Conversations about photos over HTTP: the page, and the API that docs/api.md describes.

    --host: another address than the loopback one needs a token. --token-file: tokens, one a line; MIRAS_TOKEN is
    another one. --data: where conversations are kept, ~/.local/share/miras by default. --allow-host: further names of
    this server. --allow-origin: pages of other origins that may ask. --retention-days: conversations that were not used
    for so long are deleted. --memory: MB for sessions that are kept ready. --queue: turns that may wait.
    --log-content: write messages and replies into the log. --rate: instead of all that, rating sheets (CSV of miras
    audit draw or miras people sheets) to be filled in in the browser. --workers: models in processes of their own
    (Ray Serve), here or on the cluster of RAY_ADDRESS; by default one model, in this process.
    """
    return run(
        host=host, port=port, data=data, token_file=token_file, allow_host=allow_host, allow_origin=allow_origin,
        retention_days=retention_days, memory=memory, queue=queue, log_content=log_content, rate=rate, model=model,
        on=on, pair=pair, workers=workers,
    )  # fmt: skip


def run(
    *, host: str, port: int, data: Path | None, token_file: Path | None, allow_host: list[str], allow_origin: list[str],
    retention_days: int | None, memory: int, queue: int, log_content: bool, rate: list[Path], model: str, on: Computing,
    pair: Pair = ALONE, workers: int | None = None,
) -> int:  # fmt: skip
    """Exit code 0 when it was told to stop."""
    if missing := [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]:
        raise InputError("the packages of the server", f"no {missing[0]}", "pip install 'miras[serve]'")
    from miras.serve.run import address_of, bound, serve
    from miras.serve.settings import Limits, Settings, default_data, read_tokens

    settings = Settings(
        data or default_data(), host, port, read_tokens(token_file), tuple(allow_host), tuple(allow_origin),
        retention_days, memory * 2**20, log_content, Limits(queue=queue),
    )  # fmt: skip
    if rate:
        from miras.serve.rating import app as rating

        sheets = rating.open_sheets(rate, settings)
        with bound(settings) as listening:
            names = ", ".join(sheets)
            say(f"miras: rate {names} at {address_of(settings, listening)}, answers go into the files; Ctrl-C stops")
            serve(rating.create(sheets, settings), listening)
        return 0
    # torch on a processor keeps what it compiled for each length of a message, 1024 of them: 0.1 MB a turn, for nothing
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    if workers is not None:
        return _shared(workers, settings, model, on, pair)
    from miras.serve.app import create

    with bound(settings) as listening:
        loaded = load(model, on, pair)
        say(
            f"miras: {loaded.name} at {address_of(settings, listening)}, conversations in {settings.data}; Ctrl-C stops"
        )
        serve(create(loaded, settings), listening)
    return 0


def _shared(count: int, settings: Settings, model: str, on: Computing, pair: Pair) -> int:
    """With workers: no model is loaded here."""
    if count < 1:
        raise InputError("at least 1 worker", str(count), "leave --workers out for a model in this process")
    from miras.serve.desk.cluster import ray_serve, workers

    ray_serve()
    from miras.chat.load import Loaded
    from miras.serve.app import create
    from miras.serve.database import Database
    from miras.serve.run import address_of, bound, serve

    threads = on.threads or max(1, (os.cpu_count() or 1) // count)
    Database(settings.data).close()  # a folder that another server uses is told before its workers are replaced
    made = partial(load, model, replace(on, threads=threads), pair)
    with bound(settings) as listening, workers(count, made, settings, on.device.startswith("cuda")) as desks:
        name = pair.preset or model
        where = address_of(settings, listening)
        say(f"miras: {name} with {count} workers at {where}, conversations in {settings.data}; Ctrl-C stops")
        serve(create(Loaded(None, name, 0.0), settings, desks=desks), listening)
    return 0
