"""A session as JSON text: what was said, masks as run lengths, no tensors.

In: the events of a session, and a backend that writes what was said in its own way (`Backend.write`). Out: text, and
back. Knows the model by its facts, so that another one's session is refused; knows no cache: the backend makes it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.backend import Backend
from miras.chat.inputs import Options
from miras.chat.state import Choice, Event, Exchange, Spent
from miras.core.errors import InputError
from miras.core.expression import evaluate
from miras.core.masks import decode_rle, encode_rle
from miras.core.types import Alternative, Operator, Region, Timings

SCHEMA = 1
"""Version of the JSON text; another one is refused."""
WEIGHTS = "weights"
"""The fact that texts of before it do not have: they are read without it."""


def fingerprint(photo: NDArray[np.uint8]) -> str:
    """SHA-256 of a photo's size and pixels, uint8 (H, W, 3) RGB."""
    digest = hashlib.sha256(repr(photo.shape).encode())
    digest.update(np.ascontiguousarray(photo).tobytes())
    return digest.hexdigest()


def dump(
    events: Sequence[Event],
    photo: NDArray[np.uint8],
    path: str | None,
    model: dict[str, Any],
    options: dict[str, Any],
    backend: Backend,
) -> str:
    """The JSON text. model: facts of what the session was opened by; they and the backend's opening must be equal when
    the text is read."""
    document = {
        "schema": SCHEMA,
        "image": {"path": path, "size": list(photo.shape[:2]), "sha256": fingerprint(photo)},
        "model": model,
        "opening": backend.opening,
        "options": options,
        "events": [_event(event, backend) for event in events],
    }
    return json.dumps(document, ensure_ascii=False)


def _event(event: Event, backend: Backend) -> dict[str, Any]:
    timings = event.timings
    common = {
        "window": event.window, "certainty": event.certainty, "new_tokens": event.new_tokens,
        "seconds": {"prefill": timings.prefill, "generate": timings.generate, "segment": timings.segment},
    }  # fmt: skip
    if event.spent is not None:
        common = {**common, "seconds": asdict(timings), "spent": asdict(event.spent)}
    change = event.change
    if isinstance(change, Region):
        return {"kind": "refinement", "region": _region(change), **common}
    if isinstance(change, Choice):
        return {"kind": "selection", "expression": change.expression, **common}
    return {
        "kind": "exchange",
        "user": change.user.text,
        **backend.write(change),
        "regions": [_region(region) for region in change.reply.regions],
        **({"recalled": list(change.reply.recalled)} if change.reply.recalled else {}),
        **common,
    }


def _region(region: Region) -> dict[str, Any]:
    return {
        "id": region.id, "phrase": region.phrase, "turn": region.turn, "operator": region.operator.value,
        "score": region.score, "rle": encode_rle(region.mask),
        "alternatives": [{"phrase": other.phrase, "chance": other.chance} for other in region.alternatives],
    }  # fmt: skip


@dataclass(frozen=True)
class Saved:
    """A JSON text, its outer parts checked. path: where the photo was, None when it came as pixels. opening: None in
    texts of before it was written."""

    path: str | None
    size: tuple[int, int]
    sha256: str
    options: dict[str, Any]
    raw_events: list[dict[str, Any]]
    opening: str | None = None

    def check_photo(self, photo: NDArray[np.uint8]) -> None:
        """Raises InputError when it is not the photo of the session, pixel by pixel."""
        if photo.shape[:2] != self.size or fingerprint(photo) != self.sha256:
            height, width = self.size
            got = "another size" if photo.shape[:2] != self.size else "other pixels"
            raise InputError(
                f"the photo of the session, {width} x {height} pixels", got, "give the photo it was made with"
            )

    def check_opening(self, opening: str) -> None:
        """Raises InputError when what stands before every turn is not what stood there. opening: the backend's."""
        if self.opening not in (None, opening):
            raise InputError(
                f"the opening of the session ({str(self.opening)[:12]})",
                f"{opening[:12]}: other names or lines of text are seen in the photo",
                "restore it where it was made: with its versions of miras and of the reader of text",
            )

    def events(self, backend: Backend) -> tuple[Event, ...]:
        """The events with their masks. Raises InputError when something is missing or does not fit."""
        events: list[Event] = []
        with _reading():
            for raw in self.raw_events:
                events.append(_read_event(raw, events, self.size, backend))
        return tuple(events)


def parse(text: str, model: dict[str, Any]) -> Saved:
    """The outer parts of a JSON text. Raises InputError when it is no session, or one of another model."""
    with _reading():
        document = json.loads(text.removeprefix("\ufeff"))
        if document["schema"] != SCHEMA:
            raise InputError(f"a session of schema {SCHEMA}", f"schema {document['schema']!r}", "update miras")
        known = document["model"]
        ours, theirs = (facts.get("backend", "native") for facts in (model, known))
        if ours != theirs:
            raise InputError(f"a session of a {ours} model", f"one of a {theirs} model", "load what it was made with")
        different = [key for key, value in model.items() if known.get(key, value if key == WEIGHTS else None) != value]
        if different == [WEIGHTS]:
            raise InputError(
                f"a session of these weights ({model[WEIGHTS][:12]})",
                f"one of others ({str(known[WEIGHTS])[:12]})",
                "load the weights that it was made with",
            )
        if different:
            key = different[0]
            raise InputError(
                f"a session of this model ({key} {model[key]!r})",
                repr(document["model"].get(key)),
                "load its own model",
            )
        image, options = document["image"], document["options"]
        height, width = (int(side) for side in image["size"])
        return Saved(
            image["path"],
            (height, width),
            str(image["sha256"]),
            Options.saved(options),
            list(document["events"]),
            document.get("opening"),
        )


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        got = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError("the JSON text of a session", got, "give what to_json wrote") from error


def _read_event(raw: dict[str, Any], before: Sequence[Event], size: tuple[int, int], backend: Backend) -> Event:
    exchanges = [event.change for event in before if isinstance(event.change, Exchange)]
    known = {region.id: region for exchange in exchanges for region in exchange.reply.regions}
    seconds = {name: float(raw["seconds"][name]) for name in ("prefill", "generate", "segment")}
    seconds["look"] = float(raw["seconds"].get("look", 0.0))
    change: Exchange | Region | Choice
    if raw["kind"] == "refinement":
        change = _read_region(raw["region"], size)
        old = known.get(change.id)
        if old is None or (old.phrase, old.turn, old.operator) != (change.phrase, change.turn, change.operator):
            raise ValueError(f"a refinement of region {change.id}, which is not that region")
    elif raw["kind"] == "selection":
        change = Choice(str(raw["expression"]), len(exchanges), size)
        evaluate(change.expression, known.values(), size)
    elif raw["kind"] == "exchange":
        change = _read_exchange(raw, len(exchanges), len(known) + 1, size, backend)
        exchanges.append(change)
    else:
        raise ValueError(f"an event of kind {raw['kind']!r}")
    window, floor = int(raw["window"]), before[-1].window if before else 0
    if not floor <= window < len(exchanges):
        raise ValueError(f"window {window} of {len(exchanges)} exchanges")
    certainty = None if raw["certainty"] is None else float(raw["certainty"])
    spent = None if raw.get("spent") is None else _read_spent(raw["spent"])
    return Event(change, window, Timings(**seconds), int(raw["new_tokens"]), certainty, spent)


def _read_spent(raw: dict[str, Any]) -> Spent:
    calls, read, written, looks = (int(raw[name]) for name in ("calls", "read", "written", "looks"))
    return Spent(calls, read, written, float(raw["cost"]), looks)


def _read_exchange(
    raw: dict[str, Any], index: int, first_region: int, size: tuple[int, int], backend: Backend
) -> Exchange:
    regions = tuple(_read_region(region, size) for region in raw["regions"])
    if any(region.turn != 2 * index + 1 for region in regions):
        raise ValueError("regions of another turn")
    return backend.read(raw, str(raw["user"]), regions, first_region)


def _read_region(raw: dict[str, Any], size: tuple[int, int]) -> Region:
    if list(raw["rle"]["size"]) != list(size):
        raise ValueError(f"a mask of size {raw['rle']['size']}")
    score = None if raw["score"] is None else float(raw["score"])
    mask = decode_rle(raw["rle"])
    others = tuple(Alternative(str(one["phrase"]), float(one["chance"])) for one in raw.get("alternatives", ()))
    return Region(int(raw["id"]), str(raw["phrase"]), mask, int(raw["turn"]), Operator(raw["operator"]), score, others)
