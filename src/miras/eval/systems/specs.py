"""What a person writes behind `--model`, by its prefix.

In, out: a spec in words. Light: loads neither the model nor another system (`registry` opens them).
"""

from __future__ import annotations

from miras.core.former import formerly

FOLDER, ENDPOINT, BASELINE, PAIR = "predictions:", "openai:", "baseline:", "composed"
PREFIXES = (FOLDER, ENDPOINT, BASELINE, PAIR)
AGENT = f"{BASELINE}plain-agent"
"""Takes the talker and the segmenter of a pair; so do names that begin with it."""
_FORMER = "floor:"


def current(spec: str) -> str:
    """The spec as it is written today; tells whoever wrote `floor:NAME`."""
    if not spec.startswith(_FORMER):
        return spec
    new = BASELINE + spec.removeprefix(_FORMER)
    formerly(spec, new)
    return new
