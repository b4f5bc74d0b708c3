"""Training, calibration and validation photos, told apart by a hash of what must stay together.

In: photos of any sources. Out: lists that share no group. The same photo gets the same side whatever else is in the
list, in whatever order; files with the same bytes are on one side, whatever they are called.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from miras.core.errors import InputError
from miras.core.types import AnnotatedPhoto
from miras.data.photos import alike
from miras.data.photos.contents import File, copies

FRAMES_TOGETHER = 600
"""Video frame numbers that stay on one side: ten pictures taken 60 frames (2 s) apart."""
VAL_SHARES: Mapping[str, float] = {
    "instructpart": 0.2, "coco-more": 0.15, "tools": 0.15, "pantry": 0.15, "faces": 0.15,
}  # fmt: skip
"""Share of the photographs of a source that the recipe of `miras-mini` keeps for validation."""
OTHER_SHARE = 0.1
"""The same, for the sources that are not named."""
CALIBRATION_SHARE = 1 / 3
"""Share of the held-out photographs that is used for calibration, not for figures."""
Groups = Callable[[Sequence[AnnotatedPhoto]], Sequence[str]]
_VIDEO_FRAME = re.compile(r"(?P<sequence>\d{4}[A-Z0-9]{2}|Seq\d{2}[A-Z]{2})_f?(?P<frame>\d+)")
"""CamVid's names: 0001TP_006690, 0006R0_f00930, 0016E5_00420, Seq05VD_f00000."""


def group_of(photo: AnnotatedPhoto) -> str:
    """What must not be divided: a stretch of video, what looks alike, or the photograph itself (all its records)."""
    source = f"{photo.source}@{photo.split}" if photo.split else photo.source
    if source in alike.RULES:
        return f"{source}/{alike.group(source, photo.id)}"
    frame = _VIDEO_FRAME.fullmatch(photo.id)
    if frame is None:
        return f"{source}/{photo.id}"
    return f"{source}/{frame['sequence']}/{int(frame['frame']) // FRAMES_TOGETHER}"


def groups(photos: Sequence[AnnotatedPhoto]) -> list[str]:
    """For each photo what must not be divided: groups that hold copies of one file are one, the first by name."""
    own = [group_of(photo) for photo in photos]
    leads: dict[str, str] = {}

    def lead(group: str) -> str:
        while group in leads:
            group = leads[group]
        return group

    there = [n for n, photo in enumerate(photos) if photo.content is not None or photo.path.is_file()]
    firsts = copies(File(photos[n].path, photos[n].content) for n in there)
    for number, first in zip(there, firsts, strict=True):
        less, more = sorted((lead(own[number]), lead(own[there[first]])))
        if less != more:
            leads[more] = less
    return [lead(group) for group in own]


def split(
    photos: Iterable[AnnotatedPhoto], val_share: float = 0.1, seed: int = 0, by: Groups = groups
) -> tuple[list[AnnotatedPhoto], list[AnnotatedPhoto]]:
    """(training, validation), each in the order given.

    val_share: 0..1, reached on average in every source, for groups fall by their own hash. by: the group of each photo.
    """
    if not 0.0 <= val_share <= 1.0:
        raise InputError("a validation share from 0 to 1", str(val_share))
    train: list[AnnotatedPhoto] = []
    val: list[AnnotatedPhoto] = []
    photos = list(photos)
    for photo, group in zip(photos, by(photos), strict=True):
        (val if _place(group, seed) < val_share else train).append(photo)
    return train, val


def recipe_split(photos: Iterable[AnnotatedPhoto]) -> tuple[list[AnnotatedPhoto], list[AnnotatedPhoto]]:
    """(training, validation) as the recipe of `miras-mini` keeps them: `VAL_SHARES` source by source."""
    train: list[AnnotatedPhoto] = []
    val: list[AnnotatedPhoto] = []
    photos = list(photos)
    shares = {group_of(photo): VAL_SHARES.get(photo.source, OTHER_SHARE) for photo in photos}
    for photo, group in zip(photos, groups(photos), strict=True):
        (val if _place(group, 0) < shares[group] else train).append(photo)
    return train, val


def recipe_sides(photos: Iterable[AnnotatedPhoto]) -> dict[str, list[AnnotatedPhoto]]:
    """By name of the side: train, calibration, val. Held-out photos are divided once more.

    Calibration photos set the few numbers that must come from photos never seen (refusal calibration); figures
    are reported on "val" alone.
    """
    train, held_out = recipe_split(photos)
    val, calibration = split(held_out, CALIBRATION_SHARE, seed=1)
    return {"train": train, "calibration": calibration, "val": val}


def _place(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on the two alone."""
    digest = hashlib.blake2b(f"{seed}\n{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
