"""Which photographs are evaluated: the same sides of the split that the trainer keeps.

In: photos of any sources. Out: those of one side. Knows no format and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.split import split

Side = Literal["val", "train", "all"]
VAL_SHARE: Mapping[str, float] = {"instructpart": 0.2}
"""Share of the photographs of a source kept for validation by the recipe of `miras-mini`."""
OTHER_SHARE = 0.1


def side_of(photos: Sequence[AnnotatedPhoto], side: Side, val_share: float | None = None) -> list[AnnotatedPhoto]:
    """The photos of one side, in the order given; the split is made source by source.

    val_share: for every source; None = the trainer's own. Raises InputError when none is left.
    """
    if side == "all":
        chosen = list(photos)
    else:
        kept = set()
        for source in {photo.source for photo in photos}:
            share = VAL_SHARE.get(source, OTHER_SHARE) if val_share is None else val_share
            train, val = split([p for p in photos if p.source == source], share, seed=0)
            kept |= {id(photo) for photo in (val if side == "val" else train)}
        chosen = [photo for photo in photos if id(photo) in kept]
    if not chosen:
        raise InputError(f"photos on the side {side!r} of the split", f"none of {len(photos)}", "use --split all")
    return chosen
