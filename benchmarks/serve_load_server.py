"""Servers for `serve_load.py`: one process loads the model once, then forks a server for each line that it reads.

python benchmarks/serve_load_server.py FOLDER MODEL. A line on standard input starts a server over FOLDER; "PID PORT" is
printed. So a server that is killed is there again in a tenth of a second, with a model that was loaded once. They are
those of `miras serve`; only their limits are wider, and each of PEOPLE has a token.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from miras.chat.load import Loaded, load
from miras.core.grammar import SPECIAL_TOKENS
from miras.model import presets
from miras.serve.app import create
from miras.serve.run import bound, serve
from miras.serve.settings import Limits, Settings

PEOPLE = tuple(f"token-of-person-{number:02d}" for number in range(20))
WIDE = 10**6
LIVELY = "lively"


def lively() -> Loaded:
    """Random weights of a few thousand parameters that like to name things: what the load is about is the server."""
    model = presets.build("miras-tiny", seed=0)
    with torch.no_grad():
        for token, bias in (("[OBJ]", 4.0), ("[SEG]", 4.0), ("[ADD]", 2.5), ("[CUT]", 2.0), ("[UNDO]", -4.0)):
            model.instruction.special_bias[SPECIAL_TOKENS.index(token)] = bias
        model.alignment.verdict[:] = torch.tensor([9.0, 0.0, 0.0])
    return Loaded(model.requires_grad_(False), LIVELY, 0.0)


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)  # a process that forks must have no threads
    loaded = lively() if name == LIVELY else load(name, threads=1)
    limits = Limits(photos=WIDE, conversations=WIDE, turns=WIDE, requests_per_minute=WIDE, turns_per_minute=WIDE,
                    uploads_per_minute=WIDE, queue=1000)  # fmt: skip
    settings = Settings(folder, port=0, tokens=PEOPLE, limits=limits)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for _ in iter(sys.stdin.readline, ""):
        listening = bound(settings)
        if child := os.fork():
            print(child, listening.getsockname()[1], flush=True)
            listening.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.stdin.close()
        serve(create(loaded, settings), listening)
        os._exit(0)


if __name__ == "__main__":
    main()
