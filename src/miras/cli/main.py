"""`miras`: the door. Each command imports what it needs when it runs.

In: the command line. Out: exit codes: 0, 1 for a failed self-test, 2 for bad input, 130 for Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from miras import __version__
from miras.cli.annotate import annotate
from miras.cli.audit import audit_app
from miras.cli.build import build
from miras.cli.data import data_app
from miras.cli.evaluation.compare import compare
from miras.cli.evaluation.evaluate import evaluate
from miras.cli.evaluation.judge import judge
from miras.cli.evaluation.people import people_app
from miras.cli.output import BAD_INPUT, HERE, Computing, complain, quiet, say
from miras.core.errors import MirasError

app = cyclopts.App(
    name="miras",
    version=__version__,
    help="Talk about a photograph; get sentences and exact masks.",
    result_action="return_value",
)
data_app.command(build)
app.command(data_app)
app.command(audit_app)
app.command(annotate)
app.command(evaluate, name="eval")
app.command(compare)
app.command(judge)
app.command(people_app)
bench_app = cyclopts.App(name="bench", help="Benchmarks: timings of this machine.")
app.command(bench_app)

Model = Annotated[str, Parameter(help="A name (miras-mini) or the folder of a trained model.")]
Seed = Annotated[int, Parameter(help="Seed of everything random.")]
Url = Annotated[bool, Parameter(negative="", help="IMAGE is an address (http, https), which is fetched.")]
Json = Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]


@app.command
def ask(
    image: str, texts: Annotated[list[str], Parameter(help="One message a turn.")], /, *, url: Url = False,
    out: Path | None = None, json: Json = False, model: Model = "miras-mini", on: Computing = HERE, seed: Seed = 0,
) -> int:  # fmt: skip
    """A scripted conversation about IMAGE: one TEXT a turn.

    --out: a folder for the overlay, the mask and the JSON of each turn.
    """
    from miras.cli.ask import run

    return run(image, texts, url=url, out=out, as_json=json, model=model, on=on, seed=seed)


@app.command
def chat(
    image: str, /, *, url: Url = False, out: Path = Path("out/chat"),
    preview: Annotated[bool, Parameter(negative="")] = False, model: Model = "miras-mini", on: Computing = HERE,
    seed: Seed = 0,
) -> int:  # fmt: skip
    """The same, interactive. /help lists what can be done besides talking.

    --out: where the picture of each turn goes. --preview: draw it in the terminal as coloured blocks
    where the terminal shows no pictures.
    """
    from miras.cli.chat import run

    return run(image, url=url, out=out, preview=preview, model=model, on=on, seed=seed)


@app.command
def train(
    recipe: str, /, *, data: Annotated[list[Path], Parameter(consume_multiple=True)] = [],  # noqa: B006
    set: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    out: Path | None = None, resume: Annotated[bool, Parameter(negative="")] = False,
    show: Annotated[bool, Parameter(negative="")] = False, json: Json = False,
) -> int:  # fmt: skip
    """Train by RECIPE: stage1, stage2, mini (both in a row), an ablation (no-alignment, ...), or a YAML file.

    --data: folders or files of any format of `miras data`. --set: changes, as optimiser.factor=0.5; in a chain
    stage2:steps=100 reaches one recipe. --out: the run's folder, runs/RECIPE by default. --resume: go on with the
    run in it. --show: print the whole recipe and stop. Several processes: torchrun ... -m miras train RECIPE ...
    """
    from miras.cli.train import run

    return run(recipe, data=data, changes=set, out=out, resume=resume, show=show, as_json=json)


@app.command
def serve(
    *, host: str = "127.0.0.1", port: int = 8000, data: Path | None = None, token_file: Path | None = None,
    allow_host: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    allow_origin: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    retention_days: int | None = None, memory: int = 2048, queue: int = 64,
    log_content: Annotated[bool, Parameter(negative="")] = False,
    rate: Annotated[list[Path], Parameter(consume_multiple=True)] = [],  # noqa: B006
    model: Model = "miras-mini", on: Computing = HERE,
) -> int:  # fmt: skip
    """Conversations about photos over HTTP: the page, and the API that docs/api.md describes.

    --host: another address than the loopback one needs a token. --token-file: tokens, one a line; MIRAS_TOKEN is
    another one. --data: where conversations are kept, ~/.local/share/miras by default. --allow-host: further names of
    this server. --allow-origin: pages of other origins that may ask. --retention-days: conversations that were not used
    for so long are deleted. --memory: MB for sessions that are kept ready. --queue: turns that may wait.
    --log-content: write messages and replies into the log. --rate: instead of all that, rating sheets (CSV of miras
    audit draw or miras people sheets) to be filled in in the browser.
    """
    from miras.cli.serve import run

    return run(
        host=host, port=port, data=data, token_file=token_file, allow_host=allow_host, allow_origin=allow_origin,
        retention_days=retention_days, memory=memory, queue=queue, log_content=log_content, rate=rate, model=model,
        on=on,
    )  # fmt: skip


@app.command
def mcp(
    *, folder: Path = Path("."), memory: int = 1024, model: Model = "miras-mini", on: Computing = HERE,
) -> int:  # fmt: skip
    """Tools for an assistant (Model Context Protocol, standard input and output): select in photos, export masks.

    --folder: photos are read from it alone, and masks are written into its folder miras-masks. --memory: MB for
    conversations that are kept ready.
    """
    from miras.cli.mcp import run

    return run(folder, memory=memory, model=model, on=on)


@app.command
def doctor(*, preset: str = "miras-mini", json: Json = False, on: Computing = HERE) -> int:
    """What is installed, which weights are there, and a self-test."""
    from miras.cli.doctor import run

    return run(preset, as_json=json, on=on)


@bench_app.command
def turns(
    *, image: Path | None = None, turns: int = 6, repeats: int = 5, json: Json = False, model: Model = "miras-mini",
    on: Computing = HERE,
) -> int:  # fmt: skip
    """Seconds of each turn of a scripted conversation, ours and recomputed.

    Recomputed: the photo and the whole prompt anew at each turn, no cache across turns, the same tokens.
    """
    from miras.cli.bench import run

    return run(image, count=turns, repeats=repeats, as_json=json, model=model, on=on)


@bench_app.command
def metrics(*, pairs: int = 10_000, json: Json = False, seed: Seed = 0) -> int:
    """Counts of many mask pairs, ours and a numpy loop on full masks, and whether they are equal."""
    from miras.cli.evaluation.bench_metrics import run

    return run(pairs=pairs, as_json=json, seed=seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and exits. `MIRAS_DEBUG=1` shows tracebacks."""
    sys.exit(call(sys.argv[1:] if arguments is None else list(arguments)))


def call(arguments: Sequence[str]) -> int:
    """Run a command. Returns its exit code."""
    quiet()
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except cyclopts.CycloptsError as error:
        say(f"miras: {' '.join(str(error).split())}; see miras --help")
        return BAD_INPUT
    except MirasError as error:
        if os.environ.get("MIRAS_DEBUG"):
            raise
        complain(error)
        return BAD_INPUT
    except KeyboardInterrupt:
        say("")
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0


if __name__ == "__main__":
    main()
