"""How the commands speak: results on standard output, everything else on standard error.

In: objects, paths, errors. Out: text on the two streams, exit codes. Knows no model.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from miras.core.errors import InputError, MirasError, MirasWarning

T = TypeVar("T")
BAD_INPUT = 2
"""Exit code of anything a person can mend."""


@Parameter(name="*")
@dataclass(frozen=True)
class Computing:
    """How a model computes: the options of every command that loads one."""

    threads: Annotated[int | None, Parameter(help="Threads of the computation; by default all cores.")] = None
    device: Annotated[str, Parameter(help="Where a model computes: cpu, cuda (cuda:1), mps; auto: a GPU, if any.")] = (
        "cpu"
    )
    dtype: Annotated[str | None, Parameter(help="float32, bfloat16 or int8; by default what is fastest.")] = None

    runtime: Annotated[
        str | None,
        Parameter(help="onnx or torch; by default onnx for miras-mini, and for what miras export onnx wrote."),
    ] = None
    bits: Annotated[int | None, Parameter(help="8 or 4, for the weights of our own language model (torchao).")] = None
    static: Annotated[
        bool, Parameter(negative="", help="Caches of fixed size; on a GPU short passes are recorded and replayed.")
    ] = False

    def measuring(self, name: str) -> Computing:
        """The same for what is measured: by torch, where nothing else was said."""
        from miras.chat.load import by_torch

        return replace(self, runtime=by_torch(name, self.runtime))


HERE = Computing()
COMPOSED = "composed"
"""What `--model` says for a pair."""


@Parameter(name="*")
@dataclass(frozen=True)
class Pair:
    """A talker with a segmenter: the options of `--model composed`."""

    talker: Annotated[
        str | None, Parameter(help="composed: openai:MODEL@URL, hf:REPO, miras-mini or scripted:FILE gives the words.")
    ] = None
    segmenter: Annotated[
        str | None,
        Parameter(
            help="composed: sam:REPO, sam2:REPO, sam3:REPO, gdino:REPO+sam2:REPO, clipseg:REPO or miras-mini draws."
        ),
    ] = None
    preset: Annotated[str | None, Parameter(help="A pair by its name (docs/composed.md).")] = None
    look: Annotated[
        bool | None,
        Parameter(negative="--no-look", help="composed: the talker looks at each new mask once more; by default yes."),
    ] = None

    @property
    def given(self) -> bool:
        """Whether anything of it was."""
        return any(value is not None for value in vars(self).values())


ALONE = Pair()


def quiet() -> None:
    """Libraries keep their warnings, logs and progress bars to themselves; of ours each is said once, in a line."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("always", category=MirasWarning)
    told: set[str] = set()

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in told:
            told.add(str(message))
            say(f"miras: {message}")

    warnings.showwarning = tell
    logging.getLogger("transformers").setLevel(logging.ERROR)


def say(text: str) -> None:
    """A line for the person who watches, on standard error."""
    print(text, file=sys.stderr, flush=True)


def complain(error: MirasError) -> None:
    """One line on standard error."""
    say(f"miras: {error}")


def emit(value: Any) -> None:
    """One JSON object as the last line of standard output."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


def load_quietly(spec: str, on: Computing) -> Any:
    """A segmenter, loaded without a word of the libraries on the terminal."""
    from miras.segmenters.registry import known, segmenter_of

    known(spec)
    hush(on.threads)
    return segmenter_of(spec, device=on.device, dtype=on.dtype)


def hush(threads: int | None = None) -> None:
    """The libraries say nothing; torch has so many threads."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if threads is not None:
        import torch

        if threads < 1:
            raise InputError("at least 1 thread", str(threads))
        torch.set_num_threads(threads)


def load(name: str, on: Computing, pair: Pair = ALONE, **options: Any) -> Any:
    """A model, or a pair, loaded without a word of the libraries on the terminal. options: of `miras.compose`."""
    import miras

    if pair.given and pair.preset is None and name != COMPOSED:
        raise InputError("--model composed beside --talker, --segmenter, --look", f"--model {name}")
    from miras.chat.load import is_onnx

    if not is_onnx(name, on.runtime, on.device, on.dtype):
        hush()
    if name == COMPOSED or pair.preset is not None:
        return miras.compose(
            pair.talker, pair.segmenter, preset=pair.preset, look=pair.look, threads=on.threads, device=on.device,
            dtype=on.dtype, **options,
        )  # fmt: skip
    return miras.load(
        name, threads=on.threads, device=on.device, dtype=on.dtype, runtime=on.runtime, bits=on.bits, static=on.static
    )  # fmt: skip


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, with a bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    yield from track(items, what, total=total, console=Console(stderr=True), transient=True)


def write(path: Path, content: bytes) -> Path:
    """A file, whole or not at all. Raises InputError when it cannot be written."""
    from miras.core.files import write_whole

    try:
        return write_whole(path, content)
    except OSError as error:
        raise InputError(f"to write {path}", str(error.strerror), "free room or give another place") from error


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Columns of equal width, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [list(head), *cells]
    ]
    return "\n".join(lines)
