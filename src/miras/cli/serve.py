"""`miras serve`: the API and the page, or sheets to be rated.

In: an address, a folder, limits. Out: a server until Ctrl-C. What is wrong with the settings is told before the model
is loaded; rating needs none.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from miras.cli.output import Computing, load, say
from miras.core.errors import InputError


def run(
    *, host: str, port: int, data: Path | None, token_file: Path | None, allow_host: list[str], allow_origin: list[str],
    retention_days: int | None, memory: int, queue: int, log_content: bool, rate: list[Path], model: str, on: Computing,
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
    from miras.serve.app import create

    with bound(settings) as listening:
        loaded = load(model, on)
        say(
            f"miras: {loaded.name} at {address_of(settings, listening)}, conversations in {settings.data}; Ctrl-C stops"
        )
        serve(create(loaded, settings), listening)
    return 0
