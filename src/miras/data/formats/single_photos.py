"""LabelMe and ReasonSeg: a JSON beside each photo.

In: nothing. Out: the two `Format` values; their modules read and write.
"""

from __future__ import annotations

from miras.data.formats import labelme, reasonseg
from miras.data.formats.format import Format, Signs

LABELME = Format(
    "LabelMe: a JSON with shapes beside each photo", labelme.read, labelme.write,
    Signs(keys=lambda found: "shapes" in found), by_reference=True,
)  # fmt: skip
REASONSEG = Format(
    "ReasonSeg (LISA): a JSON with questions and outlines beside each photo", reasonseg.read, reasonseg.write,
    Signs(keys=lambda found: {"shapes", "text"} <= found), questions=True,
)  # fmt: skip
