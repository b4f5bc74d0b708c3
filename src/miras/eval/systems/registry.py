"""Which system is measured: from what a person writes behind `--model` to a `System`.

In: a spec: a name or folder of weights, `predictions:FOLDER`, `openai:MODEL`, `composed`, `baseline:NAME`; options.
Out: the system, ready to be asked. Knows no dataset and no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from miras.chat.composed.compose import chosen, compose, talker_of
from miras.chat.load import DEFAULT, Loaded
from miras.chat.load import load_torch as load_weights
from miras.core.errors import InputError
from miras.eval.protocol import Ours, System
from miras.eval.systems import baselines, plain_agent
from miras.eval.systems.predictions import Predictions
from miras.eval.systems.specs import BASELINE, ENDPOINT, FOLDER, PAIR, PREFIXES, current
from miras.eval.systems.vision import Vision
from miras.model import presets
from miras.model.loading.place import WEIGHTS_FOLDER
from miras.segmenters.own import MirasSegmenter
from miras.segmenters.registry import segmenter_of

AGENTS: dict[str, plain_agent.Past] = {"plain-agent": "whole", "plain-agent-words": "words"}
"""Baselines that take the talker and the segmenter of a pair, and what each sends again of earlier turns."""
NAMES = (*baselines.NAMES, *AGENTS)
KNOWN = f"a name or folder of weights, {FOLDER}FOLDER, {ENDPOINT}MODEL, {PAIR}, " + ", ".join(
    f"{BASELINE}{name}" for name in NAMES
)
"""Every spec, in words."""
JOURNAL = "answers.jsonl"
"""File in the folder of a run that holds every paid answer."""
Loader = Callable[[str, int | None], Loaded]


def open_system(
    spec: str, *, decoder: str = DEFAULT, threads: int | None = None, seed: int = 0, others: Collection[str] = (),
    journal: Path | None = None, endpoint: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None, loader: Loader = load_weights,
    pair: Mapping[str, Any] | None = None,
) -> System:  # fmt: skip
    """The system of a spec; `close` it when the run is over.

    decoder: weights behind `openai:` (masks from its boxes), `baseline:gold-box` and `baseline:phrase`. threads: of
    torch. others: ids that the data has beside those asked, see `Predictions`. journal: file of paid answers, its
    folder is made. endpoint: options of `core.llm.endpoint.Settings`, base_url among them; the key comes from
    OPENAI_API_KEY in environment (None = the process's) alone. loader: loads weights by name. pair: of `composed` and
    `baseline:plain-agent`, see `chat.composed.compose.compose`: talker, segmenter, preset, look, device, dtype. Raises
    InputError for an unknown spec, with those that come near, and all that the systems themselves raise.
    """
    spec = current(spec)
    kind = check(spec)
    rest = spec.removeprefix(kind)
    if not kind:
        return Ours(loader(spec, threads), seed=seed)
    if kind == FOLDER:
        return Predictions(Path(rest), others=others)
    if kind == BASELINE and rest not in AGENTS:
        return baselines.baseline(rest, lambda: loader(decoder, threads), seed=seed)
    if journal is not None:
        try:
            journal.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"to write {journal.parent}", error.strerror or str(error), "give another --out"
            ) from error
    asked: dict[str, Any] = {"journal": journal, "endpoint": _given(endpoint), "environment": environment}
    if kind == BASELINE:
        return _agent(AGENTS[rest], pair or {}, asked, seed)
    if kind == PAIR:
        composed = compose(**(pair or {}), threads=threads, **asked)
        return Vision(composed, label=f"{PAIR}:{composed.name}", seed=seed)
    talker = talker_of(spec, **asked)
    model = loader(decoder, threads)
    drawing = MirasSegmenter(model.name, model.model, model.model.weights)
    return Vision(compose(talker, drawing, look=False), label=spec, seed=seed)


def _agent(past: plain_agent.Past, pair: Mapping[str, Any], asked: Mapping[str, Any], seed: int) -> System:
    """A plain agent with the parts of a pair."""
    told = chosen(pair.get("talker"), pair.get("segmenter"), preset=pair.get("preset"), dtype=pair.get("dtype"))
    device = pair.get("device") or "cpu"
    drawing = segmenter_of(told.segmenter, device=device, dtype=None if device == "cpu" else told.dtype)
    talker = talker_of(told.talker, device=device, dtype=told.dtype, **asked)
    return plain_agent.opened(talker, drawing, past=past, seed=seed)


def _given(endpoint: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (endpoint or {}).items() if value is not None}


def check(spec: str) -> str:
    """The prefix of a spec, "" for weights. Raises InputError for one that cannot be meant; loads nothing."""
    spec = current(spec)
    kind = next((prefix for prefix in PREFIXES if spec.startswith(prefix)), "")
    rest = spec.removeprefix(kind)
    if kind == BASELINE and rest not in NAMES:
        raise _unknown(spec, [BASELINE + name for name in NAMES])
    if kind == PAIR:
        if rest:
            raise InputError(f"{PAIR}, with --talker and --segmenter or --preset", repr(spec))
    elif kind and not rest.strip():
        raise InputError(f"{kind}{'MODEL' if kind == ENDPOINT else 'FOLDER'}", repr(spec))
    if not kind and not _weights(spec):
        raise _unknown(spec, [*presets.names(), *(BASELINE + name for name in NAMES)])
    return kind


def close(system: System) -> None:
    """End what a system holds open: connections, a journal. Most hold nothing."""
    if isinstance(system, Vision | plain_agent.PlainAgent):
        system.close()


def _weights(spec: str) -> bool:
    """Whether loading may find weights; a path that leads nowhere is left to it, its complaint is better."""
    places = (WEIGHTS_FOLDER / spec, Path(spec))
    return bool(spec) and (spec in presets.names() or "/" in spec or any(place.is_dir() for place in places))


def _unknown(spec: str, names: list[str]) -> InputError:
    """With the names that come near; of a prefix that is none, the prefix."""
    head, colon, _ = spec.partition(":")
    near = [*get_close_matches(spec, names, 2, 0.5), *(get_close_matches(f"{head}:", PREFIXES, 1) if colon else ())]
    asked = f"did you mean {' or '.join(map(repr, dict.fromkeys(near)))}? " if near else ""
    return InputError("a system to measure", repr(spec), f"{asked}known: {KNOWN}")
