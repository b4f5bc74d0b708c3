"""What a talker may answer: words and steps, as a JSON schema; how an answer is checked; a reply in its words.

In: the text of an answer; a reply of the session. Out: plain values, or what is wrong with them in words that can be
sent back. What they mean stands in prompts/talk.md and prompts/look.md. Knows grids and regions by number; no model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from miras.chat.composed.families import Grid
from miras.core.llm.structured import read_json
from miras.core.masks import box_of
from miras.core.types import Mark, Name, Operator, Region, Turn

MOST_STEPS, MOST_REGIONS, MOST_POINTS = 8, 30, 8
LONGEST_NAME = 200
"""Characters."""
DOES = ("replace", "add", "cut", "all_but", "undo", "refuse")
"""What a step may do."""
OPERATORS = {
    "replace": Operator.REPLACE, "add": Operator.ADD, "cut": Operator.CUT, "all_but": Operator.EXCEPT,
    "undo": Operator.UNDO, "refuse": Operator.REJECT,
}  # fmt: skip
WORDS = {operator: word for word, operator in OPERATORS.items()}
VERDICTS = ("accept", "refine", "exclude", "give_up")
Schema = dict[str, Any]


def _object(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: Schema, most: int) -> Schema:
    return {"type": "array", "items": items, "maxItems": most}


def _points(grid: Grid) -> Schema:
    x, y = ({"type": "number", "minimum": 0, "maximum": side} for side in (grid.width, grid.height))
    return _list(_object(x=x, y=y, inside={"type": "boolean"}), MOST_POINTS)


def talk_schema(grid: Grid) -> Schema:
    """Of an answer to a message."""
    number = {"type": "number", "minimum": 0, "maximum": max(grid.width, grid.height)}
    region = _object(
        id={"type": "integer", "minimum": 0}, phrase={"type": "string"}, box=_list(number, 4), points=_points(grid)
    )
    step = _object(do={"type": "string", "enum": list(DOES)}, regions=_list(region, MOST_REGIONS))
    return _object(text={"type": "string"}, steps=_list(step, MOST_STEPS))


def look_schema(grid: Grid) -> Schema:
    """Of an answer to a crop."""
    return _object(verdict={"type": "string", "enum": list(VERDICTS)}, points=_points(grid))


@dataclass(frozen=True)
class Rules:
    """What an answer must fit beside its schema. known: ids of the regions that are there. prompts: the kinds that the
    segmenter takes. selected: something is selected."""

    grid: Grid
    known: Collection[int] = ()
    prompts: Collection[str] = ("phrase", "points", "box")
    selected: bool = False

    def read(self, text: str) -> tuple[dict[str, Any] | None, list[str]]:
        """The answer of a text, or None and what is wrong with it."""
        value, faults = read_json(text, talk_schema(self.grid))
        if value is not None:
            faults = [fault for index, step in enumerate(value["steps"]) for fault in self._step(value, index, step)]
        return (None if faults else value), faults

    def _step(self, value: Mapping[str, Any], index: int, step: Mapping[str, Any]) -> Iterator[str]:
        does, regions, where = step["do"], step["regions"], f"steps[{index}]"
        if does == "refuse" and len(value["steps"]) > 1:
            yield f'{where}: "refuse" stands alone'
        if does == "replace" and index > 0:
            yield f'{where}: "replace" may only be the first step; go on with "add" or "cut"'
        if does in ("replace", "add", "cut") and not regions:
            yield f'{where}: "{does}" needs at least one region'
        if does in ("undo", "refuse") and regions:
            yield f'{where}: "{does}" names no regions'
        if does == "all_but" and not regions and not self.selected and index == 0:
            yield f'{where}: "all_but" needs a region: nothing is selected'
        for number, region in enumerate(regions):
            yield from self._region(f"{where}.regions[{number}]", region)

    def _region(self, where: str, region: Mapping[str, Any]) -> Iterator[str]:
        if region["id"] > 0:
            if region["id"] not in self.known:
                there = ", ".join(map(str, sorted(self.known))) or "none"
                yield f"{where}.id: there is no region {region['id']}; there are: {there}; 0 is a new one"
            return
        box = region["box"]
        if len(box) not in (0, 4):
            yield f"{where}.box: must have four numbers, or none (got {len(box)})"
            return
        if box:
            x1, y1, x2, y2 = self.grid.sides(box)
            if not (x1 < x2 <= self.grid.width and y1 < y2 <= self.grid.height):
                yield f"{where}.box: x1 must be less than x2, y1 less than y2, all in the picture (got {box})"
        if not 0 < len(region["phrase"].strip()) <= LONGEST_NAME:
            yield f"{where}.phrase: a new region needs a name of at most {LONGEST_NAME} characters"
        ways = {
            "phrase": bool(region["phrase"].strip()), "box": bool(box),
            "points": any(point["inside"] for point in region["points"]),
        }  # fmt: skip
        if not any(given and kind in self.prompts for kind, given in ways.items()):
            takes = " or ".join(kind for kind in ("box", "points") if kind in self.prompts)
            yield f"{where}: a new region needs {takes.replace('points', 'a point inside') or 'a name'}"


def read_look(grid: Grid) -> Callable[[str], tuple[dict[str, Any] | None, list[str]]]:
    """Reads an answer to a crop."""

    def read(text: str) -> tuple[dict[str, Any] | None, list[str]]:
        value, faults = read_json(text, look_schema(grid))
        if value is not None and value["verdict"] in ("refine", "exclude"):
            wanted = value["verdict"] == "refine"
            if not any(point["inside"] == wanted or value["verdict"] == "refine" for point in value["points"]):
                kind = "a point" if wanted else 'a point with "inside" false'
                faults.append(f'verdict "{value["verdict"]}" needs {kind}')
        return (None if faults else value), faults

    return read


def value_of(turn: Turn, regions: Mapping[int, Region], grid: Grid) -> dict[str, Any]:
    """A reply as the talker would have given it, its regions with the numbers that they have now. regions: by id."""
    steps: list[dict[str, Any]] = []
    mark: Operator | None = None
    for piece in turn.content:
        if isinstance(piece, Mark):
            mark = piece.operator
            steps.append({"do": WORDS[mark], "regions": []})
        elif isinstance(piece, Name):
            if not steps:
                steps.append({"do": "replace", "regions": []})
            region = regions[piece.region]
            box = box_of(region.mask)
            place = [] if box is None else grid.answer(box, region.mask.shape)
            steps[-1]["regions"].append({"id": region.id, "phrase": region.phrase, "box": place, "points": []})
    return {"text": turn.text, "steps": steps}
