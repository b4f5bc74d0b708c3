"""`miras export`: a model for other engines.

In: a name or a folder. Out: a folder that `--runtime onnx` and `--model DIR` take; it needs no torch.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from miras.cli.options import Json, Model
from miras.cli.output import HERE, emit, hush
from miras.core.errors import InputError
from miras.core.files import folder

export_app = cyclopts.App(name="export", help="A model for other engines.", result_action="return_value")


@export_app.command(name="onnx")
def onnx(
    *, model: Model = "miras-mini",
    out: Annotated[Path | None, Parameter(help="A folder; by default where --runtime onnx looks.")] = None,
    int8: Annotated[bool, Parameter(negative="", help="The language model in 8 bits: a third of the memory.")] = False,
    json: Json = False,
) -> int:  # fmt: skip
    """The parts of a model for onnxruntime: the same conversations without torch.

    Needs torch, and pip install 'miras[export]'; takes a minute or a few.
    """
    start = time.perf_counter()
    from miras.model.runtime.manifest import default_folder

    _with_torch()

    where = folder(default_folder(model, int8) if out is None else out)
    hush(HERE.threads)
    from miras.chat.load import written_onnx

    manifest = written_onnx(model, where, int8)
    size = sum(manifest.files.values())
    if json:
        seconds = round(time.perf_counter() - start, 1)
        emit({"out": str(where), "bytes": size, "language": manifest.language, "seconds": seconds})
    else:
        print(f"{where}: {size / 1e6:.0f} MB, language model in {manifest.language}")
    return 0


@export_app.command(name="graphs")
def graphs(*, out: Annotated[Path, Parameter(help="A folder.")], model: Model = "miras-mini") -> int:
    """The graphs that ship with the package, without weights: after the model or its weights changed (make graphs).

    Needs torch, and pip install 'miras[export]'; takes a minute or a few.
    """
    _with_torch()
    hush(HERE.threads)
    from miras.chat.load import written_graphs

    written_graphs(model, folder(out))
    print(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")
    return 0


def _with_torch() -> None:
    if missing := [name for name in ("torch", "onnx", "onnxscript") if find_spec(name) is None]:
        raise InputError("torch and the packages of the export", f"no {missing[0]}", "pip install 'miras[export]'")
