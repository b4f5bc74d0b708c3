"""README.md of a trained model: what it was trained on, by which recipe, and from which weights.

In: a chain, its corpus, what the run reached. Out: a model card beside the weights, with `trained_on` in its head, that
`miras eval` repeats in every summary. A card that is there already (written by a person) is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from miras.train.data.corpus import Corpus
from miras.train.recipe.schema import Chain

FILE = "README.md"


def write(folder: Path, chain: Chain, corpus: Corpus, result: Mapping[str, Any]) -> None:
    """`folder`: of the model. result: of `run.train`."""
    if (folder / FILE).exists():
        return
    head = {"library_name": "miras", "pipeline_tag": "image-segmentation", "trained_on": trained_on(chain, corpus)}
    start = chain.recipes[0].start
    rows = [f"| {stage['recipe']} | {stage['steps']} | {stage['loss']} |" for stage in result.get("stages", ())]
    held_out = f"{len(corpus.held_out)} photos for validation, {len(corpus.calibration)} for what is fitted last"
    lines = [
        "---", yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000).rstrip(), "---",
        f"# {chain.name}", "",
        f"From {start.weights or f'the preset {start.preset}'}. Held out of training: {held_out}.",
        "", "| recipe | steps | mean loss |", "|---|---|---|", *rows, "",
        "Not measured yet: `miras eval DATA --split val --model FOLDER --out RUN`.", "",
    ]  # fmt: skip
    (folder / FILE).write_text("\n".join(lines), encoding="utf-8")


def trained_on(chain: Chain, corpus: Corpus) -> str:
    """Photos by source, conversations, and what the weights had seen before, in one line."""
    photos = Counter(photo.source or "photos" for photo in corpus.photos)
    told = [f"{name} {count}" for name, count in sorted(photos.items())]
    talks = sum(map(len, corpus.records.values()))
    words = f"{sum(photos.values())} photos ({', '.join(told)})" + (
        f", {talks} conversations about them" if talks else ""
    )
    start = chain.recipes[0].start.weights
    return f"{words}; before that as {start}" if start else words
