"""Which photographs are evaluated: the same sides of the split that the trainer keeps.

In: photos of any sources. Out: those of one side. Knows no format and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.inspect.decoded import all_of, faulty
from miras.data.photos.split import recipe_sides, split

Side = Literal["val", "train", "calibration", "all"]


def side_of(photos: Sequence[AnnotatedPhoto], side: Side, val_share: float | None = None) -> list[AnnotatedPhoto]:
    """The photos of one side, in the order given.

    val_share: for every source, and no calibration; None = the trainer's own. Raises InputError when none is left.
    """
    if side == "all":
        chosen = list(photos)
    else:
        sides = recipe_sides(photos) if val_share is None else _sides(photos, val_share)
        kept = {id(photo) for photo in sides.get(side, ())}
        chosen = [photo for photo in photos if id(photo) in kept]
    if not chosen:
        raise InputError(f"photos on the side {side!r} of the split", f"none of {len(photos)}", "use --split all")
    return chosen


def whole(photos: Sequence[AnnotatedPhoto], path: Path) -> None:
    """Decode every photo before a model is loaded; raises one InputError for all that cannot be read."""
    faults = faulty((photo.path, photo.content, photo.size) for photo in photos)
    if faults:
        raise all_of(list(faults.values()), f"photos in {path} that can be read whole", "mend or delete them")


def _sides(photos: Sequence[AnnotatedPhoto], val_share: float) -> dict[str, list[AnnotatedPhoto]]:
    train, val = split(photos, val_share, seed=0)
    return {"train": train, "val": val}
