"""Which segmenter is meant: from what a person writes behind `--segmenter` to a `Segmenter`.

In: a spec (`sam2:REPO`, `miras-mini`, ...), a device, a number format. Out: the segmenter, ready to encode. Loads
nothing of a family before it is asked for. A new one is a module with `opened`, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

import torch

from miras.core.errors import InputError
from miras.core.segmenter import Segmenter
from miras.model.loading.place import device_of, dtype_of
from miras.segmenters.source import Place

Opened = Callable[[str, Place, str], Segmenter]
"""What stands behind the colon, where it computes, the whole spec -> the segmenter."""


@dataclass(frozen=True)
class Entry:
    """form: the spec as a person writes it. takes: kinds of prompt. opened: how it is made, or "module:function"."""

    form: str
    takes: str
    opened: Opened | str


SEGMENTERS: dict[str, Entry] = {
    "miras": Entry("miras-mini or miras:FOLDER", "phrase, points, box, mask", "miras.segmenters.own:opened"),
    "sam": Entry("sam:REPO", "points, box, mask", "miras.segmenters.sam:opened"),
    "sam2": Entry("sam2:REPO", "points, box, mask", "miras.segmenters.sam2:opened"),
    "sam3": Entry("sam3:REPO", "phrase, points, box, mask", "miras.segmenters.sam3:opened"),
    "gdino": Entry("gdino:REPO+sam2:REPO", "phrase, points, box, mask", "miras.segmenters.grounded:opened"),
    "clipseg": Entry("clipseg:REPO", "phrase", "miras.segmenters.clipseg:opened"),
}
"""By the word before the colon. REPO: a local folder or a name on the hub."""


def segmenter_of(
    spec: str, *, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> Segmenter:
    """The segmenter of a spec.

    device: "cpu" (the default), "cuda", "cuda:1", "mps"; "auto" is a GPU where there is one. dtype: what photos are
    encoded in, "float32" (the default) or "bfloat16"; prompts and masks are float32 always. Raises InputError for an
    unknown spec, with those that there are, and WeightsError for weights that are not to be had.
    """
    return segmenter_at(spec, Place(device_of(device or "cpu"), dtype_of(dtype) or torch.float32))


def segmenter_at(spec: str, place: Place) -> Segmenter:
    """The same at a place."""
    entry, rest = known(spec)
    if isinstance(entry.opened, str):
        module, _, function = entry.opened.partition(":")
        opened: Opened = getattr(import_module(module), function)
        return opened(rest, place, spec)
    return entry.opened(rest, place, spec)


def known(spec: str) -> tuple[Entry, str]:
    """The entry of a spec, and what stands behind its colon. Loads nothing. Raises InputError for an unknown one."""
    kind, colon, rest = spec.partition(":")
    if not colon and kind.startswith("miras-"):
        return SEGMENTERS["miras"], kind
    entry = SEGMENTERS.get(kind)
    if entry is None or (":" in entry.form and not rest.strip()):
        near = [SEGMENTERS[kind].form] if entry else [SEGMENTERS[one].form for one in get_close_matches(
            kind, SEGMENTERS, 1)]  # fmt: skip
        asked = f"did you mean {near[0]}? " if near else ""
        told = "; ".join(f"{each.form} ({each.takes})" for each in SEGMENTERS.values())
        raise InputError("a segmenter", repr(spec), f"{asked}there are: {told}")
    return entry, rest
