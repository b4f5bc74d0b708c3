"""What a pair would load, how much memory that takes, what is missing, and whether its server answers.

In: specs as for `compose`. Out: a `Survey` of plain values. Nothing is loaded and nothing fetched; a server gets one
short request with one small picture. Knows no command line.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from miras.chat.composed.answers import talk_schema
from miras.chat.composed.checkpoint import WIDTHS, Checkpoint, activation_bytes, cache_bytes, checkpoint_of
from miras.chat.composed.compose import TALKERS, chosen
from miras.chat.composed.families import Grid, family_of
from miras.chat.composed.scripted import Scripted
from miras.core.errors import InputError, MirasError
from miras.core.llm.answers import EndpointDown, Message, NoAnswer
from miras.core.llm.completions import Call, Completions, data_url
from miras.core.llm.endpoint import Settings, bare, settings_from
from miras.core.llm.structured import read_json
from miras.model.loading.place import device_of, dtype_of, find
from miras.segmenters.registry import known

BESIDE = {"sam": 2.2e9, "sam2": 1.1e9, "sam3": 2.1e9}
"""Bytes beside float32 weights while a photo is encoded: measured with random weights of true size on a CPU
(docs/segmenters.md), the process itself among them."""
OWN = 1.1e9
"""Peak memory of a conversation with `miras-mini`, the process among it (docs/decisions/0033-start-up.md)."""
ASK = 'This tests the connection. Answer {"text": "Here.", "steps": []} and nothing else.'
PATIENCE = 120.0
"""Seconds for the one request: a server may load its model first."""
WEIGHTS_FORMAT = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Part:
    """A talker or a segmenter. place: where it computes. parameters and bytes: None where nobody knows. stored:
    parameters by number format. missing: what it lacks, each with the cure."""

    role: str
    spec: str
    place: str
    parameters: int | None = None
    stored: Mapping[str, int] | None = None
    weights: int | None = None
    cache: int | None = None
    computing: int | None = None
    missing: tuple[str, ...] = ()
    folder: str | None = None

    @property
    def total(self) -> int | None:
        """Bytes altogether, of what is known; None when its weights are not."""
        return None if self.weights is None else self.weights + (self.cache or 0) + (self.computing or 0)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "stored": dict(self.stored or {}), "missing": list(self.missing), "bytes": self.total}


@dataclass(frozen=True)
class Server:
    """One request. ok: it answered as the talker must. told: what happened, in a line. held: how its answers are held
    to the schema."""

    url: str
    ok: bool
    told: str
    seconds: float = 0.0
    tokens: int = 0
    held: str = ""


@dataclass(frozen=True)
class Survey:
    """parts: talker first. free: bytes that are free where models of this machine compute, None where unknown."""

    parts: tuple[Part, ...]
    look: bool
    device: str
    free: int | None
    server: Server | None = None

    @property
    def here(self) -> int | None:
        """Bytes that the parts of this machine take; None when one of them is unknown."""
        sizes = [part.total for part in self.parts if part.place == self.device]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def fits(self) -> bool | None:
        """Whether there is room; None when that is not known."""
        return None if self.here is None or self.free is None else self.here <= self.free

    @property
    def ok(self) -> bool:
        """Nothing is missing, there is room, and the server answers."""
        whole = not any(part.missing for part in self.parts)
        return whole and self.fits is not False and (self.server is None or self.server.ok)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "parts": [part.to_dict() for part in self.parts], "look": self.look, "device": self.device,
            "bytes": self.here, "free_bytes": self.free, "fits": self.fits,
            "server": None if self.server is None else vars(self.server), "ok": self.ok,
        }  # fmt: skip


def survey(
    talker: str | None = None, segmenter: str | None = None, *, preset: str | None = None, device: str = "cpu",
    dtype: str | None = None, endpoint: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None,
) -> Survey:  # fmt: skip
    """Look at a pair. Arguments as of `compose`. Raises InputError for specs that no pair can be made of."""
    pair = chosen(talker, segmenter, preset=preset, dtype=dtype)
    dtype_of(pair.dtype)
    place = str(device_of(device))
    server = None
    kind, colon, rest = pair.talker.partition(":")
    if kind == "openai" and colon:
        words, settings = _remote(pair.talker, rest, endpoint, environment)
        if settings is not None and not words.missing:
            server = _tried(settings)
    else:
        words = _local_talker(pair.talker, kind, rest if colon else None, place, pair.dtype)
    parts = (words, *_drawing(pair.segmenter, place))
    return Survey(parts, pair.look, place, _free(place), server)


# Parts


def _remote(
    spec: str, rest: str, endpoint: Mapping[str, Any] | None, environment: Mapping[str, str] | None
) -> tuple[Part, Settings | None]:
    """A talker behind a server, and how it is asked; None where that cannot be."""
    model, at, url = rest.partition("@http")
    options = {**(endpoint or {}), **({"base_url": f"http{url}"} if at else {})}
    part = Part("talker", f"openai:{model}", "a server")
    if importlib.util.find_spec("openai") is None:
        return replace(part, missing=("the package openai: pip install 'miras[composed]'",)), None
    try:
        settings = settings_from(environment, option="--talker openai:MODEL@URL", model=model, **options)
    except InputError as error:
        if "key" not in error.expected:
            raise
        return replace(part, missing=(f"{error.expected}: {error.cure}",)), None
    return part, settings


def _local_talker(spec: str, kind: str, rest: str | None, place: str, dtype: str | None) -> Part:
    if kind == "hf" and rest:
        found = checkpoint_of(rest)
        width = WIDTHS[dtype] if dtype else _stored_width(found)
        config = found.config
        extra = {"cache": cache_bytes(config, width), "computing": activation_bytes(config, width)}
        return _part("talker", spec, place, found, dtype, **extra)
    if kind == "scripted" and rest:
        Scripted(Path(rest))
        return Part("talker", spec, "a file", parameters=0, weights=0)
    if rest is not None:
        raise InputError(f"a talker: {TALKERS}", repr(spec))
    return _own("talker", spec, place)


def _drawing(spec: str, place: str) -> list[Part]:
    known(spec)
    kind, _, rest = spec.partition(":")
    if kind == "gdino":
        first, _, second = rest.partition("+")
        if not second:
            raise InputError("gdino:REPO+SEGMENTER", repr(spec), "such as gdino:REPO+sam2:REPO")
        detector = _part("detector", f"gdino:{first}", place, checkpoint_of(first), "float32")
        return [detector, *_drawing(second, place)]
    if kind.startswith("miras"):
        return [_own("segmenter", spec, place)]
    found = checkpoint_of(rest, words=kind in ("sam3", "clipseg"))
    beside = BESIDE.get(kind)
    return [_part("segmenter", spec, place, found, "float32", computing=None if beside is None else int(beside))]


def _own(role: str, spec: str, place: str) -> Part:
    """Our model, as talker or segmenter. Raises InputError for a name that is none."""
    name = spec.removeprefix("miras:")
    missing: tuple[str, ...] = ()
    try:
        folder = find(name)
    except MirasError as error:
        if isinstance(error, InputError):
            raise
        folder, missing = None, (f"{error.expected}: {error.cure}",)
    stored = {} if folder is None else dict(checkpoint_of(str(folder), words=False).stored)
    count = sum(stored.values()) or None
    where = None if folder is None else str(folder)
    return Part(role, spec, place, count, stored, int(OWN), missing=missing, folder=where)


def _part(role: str, spec: str, place: str, found: Checkpoint, dtype: str | None, **extra: Any) -> Part:
    size = found.weights(dtype)
    missing = [f"{file} in {found.repo}: fetch it again" for file in found.missing]
    if found.folder is None:
        told = "" if size is None else f" (about {gigabytes(size)} once it is loaded)"
        missing = [f"{found.repo} is not on this machine{told}: hf download {found.repo}"]
    where = None if found.folder is None else str(found.folder)
    return Part(role, spec, place, found.parameters, found.stored, size, missing=tuple(missing), folder=where, **extra)


def _stored_width(found: Checkpoint) -> int:
    """Bytes of a number in the format that most parameters are stored in."""
    most = max(found.stored, key=lambda name: found.stored[name], default="BF16")
    return WIDTHS.get(WEIGHTS_FORMAT.get(most, "bfloat16"), 2)


def _free(place: str) -> int | None:
    """Bytes that are free on a device."""
    import torch

    if place.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(place))[0])
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None


# The server


def _tried(settings: Settings) -> Server:
    """One short request with a small picture; without it once more only where the server refuses pictures."""
    quick = replace(
        settings, retries=0, max_tokens=settings.max_tokens or 256, timeout=min(settings.timeout, PATIENCE)
    )  # fmt: skip
    return asyncio.run(_request(quick, family_of(settings.model).name))


async def _request(settings: Settings, family: str) -> Server:
    url = bare(settings.base_url or "https://api.openai.com/v1")
    completions, schema, start = Completions(settings, extra="composed"), talk_schema(Grid()), time.perf_counter()
    picture = data_url(np.full((64, 64, 3), 128, np.uint8), 64)
    rules = Message("system", "You answer with one JSON object.")
    call = Call("talk", (rules, Message("user", ASK, (picture,))), schema)
    try:
        answer = await completions.answer(call)
    except (EndpointDown, NoAnswer) as error:
        if await _blind(completions, replace(call, messages=(rules, Message("user", ASK)))):
            told = f"{settings.model} takes no pictures there ({error.got}); choose a model that sees"
            return Server(url, False, told, _since(start))
        return Server(url, False, str(error), _since(start))
    finally:
        await completions.close()
    value, faults = read_json(answer.text, schema)
    tokens = answer.usage.prompt + answer.usage.completion
    if value is None or faults:
        told = f"{settings.model} answers, but not in the JSON that is asked for ({'; '.join(faults)[:160]})"
        return Server(url, False, f"{told}; choose a larger model", _since(start), tokens, completions.mode)
    told = f"{settings.model} sees pictures and answers in the JSON that is asked for (coordinates: {family})"
    return Server(url, True, told, _since(start), tokens, completions.mode)


async def _blind(completions: Completions, call: Call) -> bool:
    """Whether the same is answered without a picture, by a server that refused it."""
    if not completions.reached:
        return False
    try:
        await completions.answer(call)
    except (EndpointDown, NoAnswer):
        return False
    return True


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


def gigabytes(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
