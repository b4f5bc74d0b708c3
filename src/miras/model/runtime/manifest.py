"""What an exported model says of itself: a folder with its parts, and `miras-onnx.json`.

In: a folder. Out: its manifest, checked: the version of the format, the files and their lengths. Knows no engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from miras.core.errors import WeightsError
from miras.core.files import cache_folder

FORMAT = 1
"""Of the folder; another one is refused."""
MANIFEST = "miras-onnx.json"
TABLE, SPECIAL, TOKENIZER, CONTINUATIONS = "table.npy", "special.npy", "tokenizer.json", "continuations.json"
WEIGHTS, LANGUAGE_WEIGHTS = "weights.bin", "language.bin"
PRECISIONS = ("float32", "int8")
"""Of the language model."""
LANGUAGE = "language"
"""Name of the part that is the language model."""
SETTINGS = (
    "template", "max_tokens", "mask_tokens", "image_tokens", "reads", "points", "complements", "least_score",
    "unsure_below", "score_calibration", "detail_size", "semantic_size", "tags",
)  # fmt: skip
"""Of the configuration: what a conversation asks for."""
EXPORT = "export it again: miras export onnx --out {}"


@dataclass(frozen=True)
class Manifest:
    """config: `SETTINGS` and their values. facts: see `Runtime.facts`. vocabulary: rows of the language model's table.
    row: shape of what its cache keeps of a token. verdict: weights of the refusal calibration. usual: width of the
    words that the selector of pieces reads, 0 without one. language: "float32" or "int8". files: their bytes."""

    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    vocabulary: int
    row: tuple[int, ...]
    verdict: tuple[float, ...]
    usual: int
    language: str
    files: Mapping[str, int]

    def text(self) -> str:
        """As JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Raises WeightsError for a folder without one, of another format, or of which a file was cut off."""
    cure = EXPORT.format(folder)
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if (found := values.pop("format")) != FORMAT:
            raise WeightsError(f"an exported model of format {FORMAT}", f"format {found!r} in {folder}", cure)
        manifest = Manifest(**values)
        missing = [name for name in SETTINGS if name not in manifest.config]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"an exported model in {folder}", " ".join(str(error).split())[:200], cure) from error
    if missing:
        raise WeightsError(f"an exported model in {folder}", f"no {missing[0]}", cure)
    for name, size in manifest.files.items():
        path = folder / name
        got = path.stat().st_size if path.is_file() else None
        if got != size:
            raise WeightsError(f"{size} bytes in {path}", "no such file" if got is None else f"{got}", cure)
    return manifest


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of a folder's files, by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}


def following(table: Mapping[tuple[int, ...], Any]) -> bytes:
    """What follows what in a model's replies, as it is written."""
    rows = sorted([list(context), after] for context, after in table.items())
    return json.dumps(rows, separators=(",", ":")).encode()


def default_folder(name: str, int8: bool = False) -> Path:
    """Where a model by this name is exported to, where nothing else is said."""
    return cache_folder() / "onnx" / (os.path.basename(name.rstrip("/")) + "-int8" * int8)


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / MANIFEST).is_file()


def find_exported(name: str) -> Path:
    """The folder of an exported model: that folder, or where one of that name was exported to (of several, the one in
    float32). Raises WeightsError with the command that makes it."""
    for folder in (Path(name), default_folder(name), default_folder(name, int8=True)):
        if is_exported(folder):
            return folder
    raise WeightsError(
        f"{name} exported for onnxruntime, in {default_folder(name)}", "none",
        f"miras export onnx --model {name} (needs torch), or give the folder of one",
    )  # fmt: skip
