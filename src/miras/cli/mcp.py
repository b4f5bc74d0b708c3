"""`miras mcp`: tools for an assistant, over standard input and output.

In: a folder of photos. Out: a server until its input ends. Standard output belongs to the protocol; what is said goes
to standard error.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from miras.cli.options import Model
from miras.cli.output import HERE, Computing, load, say
from miras.core.errors import InputError


def mcp(
    *, folder: Path = Path("."), memory: int = 1024, model: Model = "miras-mini", on: Computing = HERE,
) -> int:  # fmt: skip
    """Tools for an assistant (Model Context Protocol, standard input and output): select in photos, export masks.

    --folder: photos are read from it alone, and masks are written into its folder miras-masks. --memory: MB for
    conversations that are kept ready.
    """
    return run(folder, memory=memory, model=model, on=on)


def run(folder: Path, *, memory: int, model: str, on: Computing) -> int:
    """Exit code 0 at the end of the input."""
    if find_spec("mcp") is None:
        raise InputError("the package mcp", "none", "pip install 'miras[mcp]'")
    if not folder.is_dir():
        raise InputError("a folder of photos", str(folder), "give one with --folder")
    from miras.serve.assistant.talks import Talks
    from miras.serve.assistant.tools import server

    say(f"miras: tools for an assistant on standard input and output, photos of {folder.resolve()}")
    server(Talks(lambda: load(model, on), folder, memory * 2**20)).run("stdio")
    return 0
