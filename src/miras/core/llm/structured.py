"""The JSON that a model answers with, checked against the schema that it was given.

In: text and a JSON schema. Out: the value, or what is wrong with it in words that can be sent back. Knows the part
of JSON Schema that strict structured output allows (type, enum, properties, required, items, bounds); any other key
is left to the server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def read_json(text: str, schema: Schema) -> tuple[Any, list[str]]:
    """The value of a text and no faults; or None and its faults, a line each. A code fence around it is taken off."""
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError) as error:
        return None, [f"not valid JSON: {error}"]
    faults = list(faults_of(value, schema))
    return (None if faults else value), faults


def faults_of(value: Any, schema: Schema, where: str = "") -> Iterator[str]:
    """What does not fit, each with its place ("turns[1].score: ..."). Objects may hold no keys but those named."""
    at = f"{where}: " if where else ""
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        yield f"{at}must be one of {', '.join(map(repr, schema['enum']))} (got {_short(value)})"
        return
    kind = schema.get("type")
    if isinstance(kind, str) and not _is(value, kind):
        yield f"{at}must be of type {kind} (got {_short(value)})"
        return
    if kind == "object":
        yield from _object_faults(value, schema, where)
    elif kind == "array":
        yield from _range_faults(at, len(value), schema.get("minItems"), schema.get("maxItems"), "items")
        for index, item in enumerate(value):
            yield from faults_of(item, schema.get("items", {}), f"{where}[{index}]")
    elif kind == "string":
        yield from _range_faults(at, len(value), schema.get("minLength"), schema.get("maxLength"), "characters")
    elif kind in ("integer", "number"):
        yield from _range_faults(at, value, schema.get("minimum"), schema.get("maximum"))


def _object_faults(value: dict[str, Any], schema: Schema, where: str) -> Iterator[str]:
    known: Mapping[str, Schema] = schema.get("properties", {})
    for name in schema.get("required", known):
        if name not in value:
            yield f"{where}.{name}: is missing".lstrip(".")
    for name, item in value.items():
        if name in known:
            yield from faults_of(item, known[name], f"{where}.{name}".lstrip("."))
        elif "properties" in schema:
            yield f"{where}.{name}: is no key that was asked for".lstrip(".")


def _range_faults(at: str, got: float, least: float | None, most: float | None, what: str = "") -> Iterator[str]:
    if least is not None and not got >= least:
        yield f"{at}must be at least {least} {what}".rstrip() + f" (got {got})"
    if most is not None and not got <= most:
        yield f"{at}must be at most {most} {what}".rstrip() + f" (got {got})"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, (object,)))


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
