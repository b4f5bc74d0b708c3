"""A pair that talks: `compose(talker=..., segmenter=...)`, from what a person writes to `Composed`.

In: specs of a talker and a segmenter, or the name of a preset. Out: what `miras.load` gives for our own model: `chat`,
`restore`. Knows where presets lie; knows no conversation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from miras.chat.composed import talk
from miras.chat.composed.asking import Asking, Endpoint
from miras.chat.composed.backend import ComposedBackend, Talker
from miras.chat.composed.families import Family, family_of
from miras.chat.composed.masks import Drawing
from miras.chat.composed.own import OwnTalk
from miras.chat.composed.scripted import Scripted
from miras.chat.inputs import Options
from miras.chat.load import load
from miras.chat.native.backend import Native
from miras.chat.session import ChatSession
from miras.chat.store import WEIGHTS
from miras.core.errors import InputError
from miras.core.llm.answers import digest_of
from miras.core.llm.endpoint import settings_from
from miras.core.segmenter import Segmenter

TALKERS = "openai:MODEL@URL, hf:REPO, miras-mini, scripted:FILE"
"""Every kind, in words."""
TOKENS = 1024
"""Tokens of an answer, where nothing else is said."""


@dataclass(frozen=True)
class Asked:
    """A talker that answers questions. spec: without its address. max_side: of the photo as it is sent."""

    spec: str
    asking: Asking
    family: Family
    max_side: int = 1024
    quality: int = 90

    def facts(self) -> dict[str, Any]:
        """Its model, its prompts and its coordinates."""
        return {"talker": self.spec, "prompts": talk.version(), "family": self.family.name}

    def open(self, photo: NDArray[np.uint8], options: Options, prompts: frozenset[str]) -> tuple[Talker, str]:
        """The talk about a photo, and the digest of its opening."""
        opened = talk.Talk(
            self.asking, self.family, photo, seed=options.seed, max_side=self.max_side, quality=self.quality,
            prompts=prompts, most=options.max_new_tokens,
        )  # fmt: skip
        return opened, digest_of([self.facts(), opened.grid.words, sorted(prompts)])

    def close(self) -> None:
        """Let go of connections and the journal."""
        self.asking.close()


@dataclass(frozen=True)
class Own:
    """Our language model as the talker."""

    spec: str
    native: Native

    def facts(self) -> dict[str, Any]:
        """Its weights."""
        return {"talker": self.spec, "talker_weights": self.native.facts()[WEIGHTS]}

    def open(self, photo: NDArray[np.uint8], options: Options, prompts: frozenset[str]) -> tuple[Talker, str]:
        """The talk about a photo, and the digest of its opening."""
        most = min(options.max_new_tokens, self.native.model.config.max_tokens // 4, 64)
        opened = OwnTalk(self.native.open(photo, Options(options.seed, most, options.temperature)))
        return opened, opened.opening

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Composed:
    """A talker with a segmenter, ready to talk. name: as a person calls it. seconds: what loading took. looks: each new
    mask is looked at once more by the talker."""

    talker: Asked | Own
    segmenter: Segmenter
    name: str
    seconds: float = 0.0
    looks: bool = True

    @property
    def model(self) -> Composed:
        """Itself, as it is behind a session."""
        return self

    def chat(self, photo: Any, **options: Any) -> ChatSession:
        """A conversation about a photo, as `miras.load(...).chat`. options: see `chat.inputs.Options`;
        max_new_tokens is 1024 unless it is given."""
        return ChatSession(self, photo, **{"max_new_tokens": TOKENS, **options})

    def restore(self, text: str, photo: Any = None) -> ChatSession:
        """A session written by `ChatSession.to_json`. photo: where it is now, if not where it was."""
        return ChatSession.from_json(self, text, photo)

    def facts(self) -> dict[str, Any]:
        """What tells this pair from others."""
        about = {"backend": "composed", "segmenter": self.segmenter.name, **self.talker.facts()}
        return {**_plain(self.segmenter.facts()), **about}

    def open(self, photo: NDArray[np.uint8], options: Options) -> ComposedBackend:
        """A dialogue; the photo is encoded by the segmenter, and by a talker of our own."""
        if options.recompute != "never":
            raise InputError("recompute='never' for a composed model", repr(options.recompute), "leave it out")
        start = time.perf_counter()
        drawing = Drawing(self.segmenter, photo)
        talker, opening = self.talker.open(photo, options, frozenset(self.segmenter.prompts))
        return ComposedBackend(
            self, photo, drawing, talker, opening, looks=self.looks, encode_seconds=time.perf_counter() - start

        )  # fmt: skip

    @property
    def sampling(self) -> str:
        """Model, picture size and sampling of a talker that answers questions; its name for ours."""
        return self.talker.asking.name if isinstance(self.talker, Asked) else self.talker.spec

    def spent(self) -> dict[str, Any]:
        """Tokens, cost, questions and calls of the talker since it was opened, or of its journal; empty for ours."""
        return self.talker.asking.spent() if isinstance(self.talker, Asked) else {}

    def close(self) -> None:
        """Let go of what the talker holds open."""
        self.talker.close()


def compose(
    talker: str | Asked | Own | None = None, segmenter: str | Segmenter | None = None, *, preset: str | None = None,
    look: bool | None = None, device: str = "cpu", dtype: str | None = None, threads: int | None = None,
    journal: str | os.PathLike[str] | None = None, endpoint: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Composed:  # fmt: skip
    """A talker with a segmenter.

    talker: "openai:MODEL@URL" (any OpenAI-compatible server; the key comes from OPENAI_API_KEY), "hf:REPO" (a folder,
    or a name on the hub, through transformers), "miras-mini" (its language model alone), "scripted:FILE". segmenter:
    see `miras.segmenters.registry`. preset: the name of a pair, see `presets`; what is given beside it counts. look:
    each new mask is looked at once more by the talker (by default yes). device, dtype: where models of this machine
    compute. journal: a file that holds every paid answer, so that none is paid twice. endpoint: further options of
    `core.llm.endpoint.Settings`. Raises InputError and WeightsError.
    """
    start = time.perf_counter()
    talker, segmenter, look, dtype = chosen(talker, segmenter, preset=preset, look=look, dtype=dtype)
    if threads is not None:
        _threads(threads)
    opened = (
        talker_of(talker, device=device, dtype=dtype, journal=journal, endpoint=endpoint, environment=environment)
        if isinstance(talker, str) else talker
    )  # fmt: skip
    drawing = _segmenter(segmenter, device, dtype) if isinstance(segmenter, str) else segmenter
    name = preset or f"{opened.spec} + {drawing.name}"
    return Composed(opened, drawing, name, time.perf_counter() - start, look)


class Chosen(NamedTuple):
    """A pair as it was asked for, a preset's own filled in."""

    talker: Any
    segmenter: Any
    look: bool
    dtype: str | None


def chosen(
    talker: Any, segmenter: Any, *, preset: str | None = None, look: bool | None = None, dtype: str | None = None
) -> Chosen:
    """What is given, and the preset's where nothing is. Raises InputError when a talker or a segmenter is wanting."""
    told = _preset(preset) if preset else {}
    talker = told["talker"] if talker is None and told else talker
    segmenter = told["segmenter"] if segmenter is None and told else segmenter
    if talker is None or segmenter is None:
        missing = "a talker" if talker is None else "a segmenter"
        known = ", ".join(presets())
        raise InputError(f"{missing} for a composed model", "none", f"give both, or a preset: {known}")
    look = bool(told.get("look", True)) if look is None else look
    return Chosen(talker, segmenter, look, told.get("dtype") if dtype is None else dtype)


def _segmenter(spec: str, device: str, dtype: str | None) -> Segmenter:
    from miras.segmenters.registry import segmenter_of

    return segmenter_of(spec, device=device, dtype=None if device == "cpu" else dtype)


def talker_of(
    spec: str, *, device: str = "cpu", dtype: str | None = None, journal: str | os.PathLike[str] | None = None,
    endpoint: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None,
) -> Asked | Own:  # fmt: skip
    """The talker of a spec; see `compose`. Raises InputError and WeightsError."""
    kind, colon, rest = spec.partition(":")
    book = None if journal is None else Path(journal)
    if colon and not rest.strip():
        raise InputError(f"a talker: {TALKERS}", repr(spec), f"say which behind {kind}:")
    if kind == "openai":
        model, at, url = rest.partition("@http")
        options = {**(endpoint or {}), **({"base_url": f"http{url}"} if at else {})}
        settings = settings_from(environment, option="--talker openai:MODEL@URL", model=model, **options)
        asking = Asking(Endpoint(settings), book)
        return Asked(f"openai:{model}", asking, family_of(model), settings.max_side, settings.quality)
    if kind == "hf":
        from miras.chat.composed.local import Local
        from miras.model.loading.place import device_of, dtype_of

        local = Local(rest, device_of(device), dtype_of(dtype))
        return Asked(f"hf:{rest}", Asking(local, book), family_of(rest))
    if kind == "scripted":
        scripted = Scripted(Path(rest))
        return Asked(scripted.name, Asking(scripted, book), family_of(""))
    if colon:
        raise InputError(f"a talker: {TALKERS}", repr(spec))
    loaded = load(spec, device=device, dtype=dtype, runtime="torch")
    return Own(spec, Native(loaded.model))


def presets() -> tuple[str, ...]:
    """The names of the pairs that ship."""
    folder = files("miras.chat.composed").joinpath("presets")
    return tuple(sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml")))


def _preset(name: str) -> dict[str, Any]:
    """Talker, segmenter, look and dtype of a preset. Raises InputError for an unknown one."""
    if name not in presets():
        raise InputError(f"a preset: {', '.join(presets())}", repr(name))
    text = files("miras.chat.composed").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int | float | bool | None) else str(value)
            for name, value in facts.items()}  # fmt: skip


def _threads(threads: int) -> None:
    import torch

    if threads < 1:
        raise InputError("at least 1 thread", str(threads))
    torch.set_num_threads(threads)
