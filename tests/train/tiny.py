"""A corpus of drawn photos and recipes for `miras-tiny`; run as a script, a training that kills itself."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from miras.train import run
from miras.train.data.corpus import Corpus
from miras.train.recipe import recipe as recipes
from miras.train.recipe import schema
from tests.train.data.test_augment import sample

SMALL = (
    "start.preset=miras-tiny", "steps=6", "checkpoint_every=2", "log_every=1", "batch.photos=2", "batch.coarse=0",
    "check.every=0", "check.photos=2", "check.overlays=1", "device=cpu", "precision=float32", "start.operators=false",
)  # fmt: skip


def corpus(folder: Path, count: int = 4) -> Corpus:
    """Photos with masks; two of them stand for those held out."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for number in range(count):
        drawn = sample(64 + 8 * number, 96)
        file = folder / f"{number}.png"
        Image.fromarray(drawn.pixels).save(file)
        photos.append(replace(drawn.photo, path=file, id=str(number)))
    return Corpus(photos, {}, photos[:2], photos[:2])


def recipe(name: str = "stage1", *changes: str) -> schema.Recipe:
    """A recipe of the project, made small."""
    return recipes.load(name, [*SMALL, *changes]).recipes[0]


if __name__ == "__main__":
    where, name, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    get = run.Items.__getitem__

    def killed(self, index):
        if index >= at:
            os.kill(os.getpid(), signal.SIGKILL)
        return get(self, index)

    run.Items.__getitem__ = killed
    run.run(recipe(name), corpus(where / "photos"), where / "run")
