"""Holding a model of this machine to a JSON schema, token by token.

In: a tokenizer, a schema. Out: a processor of logits for `generate`; where the tokens run out in the middle of an
answer, the shortest end of it that fits. Needs `llguidance` (pip install 'miras[composed]'); without it answers are
held by the prompt alone. Knows no model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LogitsProcessor

LONGEST_TEXT = 600
"""Characters of a string in an answer, where the schema says nothing."""
MOST_CLOSING = 512
"""Tokens that an end may take."""
_CLOSERS = ('"', "]", "}", ",", ":", "0")
"""What is tried first to end an answer."""
_FORM: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as most models write it; free white space would be a way never to end."""


class Holder:
    """The vocabulary of a model, read once. rows: width of its logits; ends: ids that end an answer."""

    def __init__(self, tokenizer: Any, rows: int, ends: Sequence[int]) -> None:
        """Raises ImportError without llguidance, ValueError for a tokenizer that it cannot read."""
        from llguidance.hf import from_tokenizer

        self._rows, self._ends = rows, tuple(ends)
        self._vocabulary = from_tokenizer(tokenizer, n_vocab=rows, eos_token=list(ends) or None)
        ids = (tokenizer.encode(closer, add_special_tokens=False) for closer in _CLOSERS)
        self._closers = tuple(found[0] for found in ids if len(found) == 1)
        self._grammars: dict[str, str] = {}

    def hold(self, schema: Mapping[str, Any]) -> Held:
        """To one answer."""
        from llguidance import LLMatcher

        key = json.dumps(schema, sort_keys=True)
        if key not in self._grammars:
            self._grammars[key] = LLMatcher.grammar_from_json_schema(bounded(schema), defaults=_FORM)
        return Held(LLMatcher(self._vocabulary, self._grammars[key]), self._rows, self._ends, self._closers)


class Held(LogitsProcessor):
    """One answer. Tokens before the first call are the question's."""

    def __init__(self, matcher: Any, rows: int, ends: tuple[int, ...], closers: tuple[int, ...]) -> None:
        self._matcher, self._rows, self._ends, self._closers = matcher, rows, ends, closers
        self._read: int | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (1, V), -inf where the answer would not fit any more."""
        ids = input_ids[0].tolist()
        self._take(ids[len(ids) if self._read is None else self._read :])
        self._read = len(ids)
        allowed = torch.from_numpy(self._allowed()).to(scores.device)
        return scores.masked_fill(~allowed[: scores.shape[-1]], float("-inf"))  # type: ignore[return-value]

    def ending(self, ids: Sequence[int]) -> list[int]:
        """What ends an answer that was cut off after these tokens; empty for one that is whole."""
        matcher = self._matcher.deep_copy()
        matcher.reset()
        for token in ids:
            if token in self._ends or not matcher.consume_token(token):
                return []
        added: list[int] = []
        while not matcher.is_accepting() and len(added) < MOST_CLOSING:
            closing = self._next(matcher)
            if closing is None or not matcher.consume_token(closing):
                return []
            added.append(closing)
        return added

    def _next(self, matcher: Any) -> int | None:
        """The token that ends an answer soonest, as far as one step shows."""
        forced = matcher.compute_ff_tokens()
        if forced:
            return int(forced[0])
        allowed = _unpacked(matcher.compute_bitmask(), self._rows)
        first = next((token for token in self._closers if allowed[token]), None)
        return int(allowed.argmax()) if first is None and allowed.any() else first

    def _take(self, ids: Sequence[int]) -> None:
        for token in ids:
            if token in self._ends or self._matcher.is_stopped():
                return
            self._matcher.consume_token(token)

    def _allowed(self) -> NDArray[np.bool_]:
        """(V,) bool; only an end once the answer is whole."""
        allowed = np.zeros(self._rows, np.bool_)
        if not self._matcher.is_stopped():
            allowed = _unpacked(self._matcher.compute_bitmask(), self._rows)
        if not allowed.any():
            allowed[list(self._ends)] = True
        return allowed


def _unpacked(mask: bytes, rows: int) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[:rows].astype(np.bool_)
    return np.pad(bits, (0, rows - len(bits)))


def bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema with a bound on every string: a small model may go on for ever."""
    found = copy.deepcopy(dict(schema))
    if found.get("type") == "string" and "enum" not in found:
        found.setdefault("maxLength", LONGEST_TEXT)
    for name, inner in found.get("properties", {}).items():
        found["properties"][name] = bounded(inner)
    if isinstance(found.get("items"), dict):
        found["items"] = bounded(found["items"])
    return found
