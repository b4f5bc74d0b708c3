"""`miras`: the door. A command is imported when it is called, and imports what it needs when it runs.

In: the command line. Out: exit codes: 0, 1 for a failed self-test, 2 for bad input, 130 for Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import cyclopts

from miras import __version__
from miras.cli.output import BAD_INPUT, complain, quiet, say
from miras.core.errors import InputError, MirasError

app = cyclopts.App(
    name="miras",
    version=__version__,
    help="Talk about a photograph; get sentences and exact masks.",
    result_action="return_value",
)
COMMANDS = {
    "ask": "miras.cli.ask:ask",
    "chat": "miras.cli.chat:chat",
    "segment": "miras.cli.segment:segment",
    "predict": "miras.cli.predict:predict",
    "serve": "miras.cli.serve:serve",
    "mcp": "miras.cli.mcp:mcp",
    "collect": "miras.cli.collect:collect",
    "data": "miras.cli.data:data_app",
    "annotate": "miras.cli.annotate:annotate",
    "audit": "miras.cli.audit:audit_app",
    "train": "miras.cli.train:train",
    "eval": "miras.cli.evaluation.evaluate:evaluate",
    "compare": "miras.cli.evaluation.compare:compare",
    "judge": "miras.cli.evaluation.judge:judge",
    "people": "miras.cli.evaluation.people:people_app",
    "export": "miras.cli.export_to.onnx:export_app",
    "bench": "miras.cli.bench:bench_app",
    "doctor": "miras.cli.doctor:doctor",
}
"""Name -> "module:function" (or application of several commands), which is imported when it is called or listed. A new
command is a module beside this one, and a line here."""

EXTRAS = {
    "torch": "torch", "transformers": "torch", "peft": "torch", "huggingface_hub": "torch", "tokenizers": "torch",
    "accelerate": "train", "scipy": "data", "matplotlib": "data", "pyarrow": "data",
    "rapidocr": "ocr", "onnx": "export",
}  # fmt: skip
"""Packages that a plain install lacks, and the extra that brings them."""

for name, where in COMMANDS.items():
    app.command(where, name=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and exits. `MIRAS_DEBUG=1` shows tracebacks."""
    sys.exit(call(sys.argv[1:] if arguments is None else list(arguments)))


def call(arguments: Sequence[str]) -> int:
    """Run a command. Returns its exit code."""
    quiet()
    try:
        if not arguments or arguments[0] not in COMMANDS:
            for name in COMMANDS:
                app[name]  # imported, so that the list says what each does
        code = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except cyclopts.CycloptsError as error:
        say(f"miras: {' '.join(str(error).split())}; see miras --help")
        return BAD_INPUT
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None or os.environ.get("MIRAS_DEBUG"):
            raise
        complain(InputError(f"the package {error.name}", "not installed", f"pip install 'miras[{extra}]'"))
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
