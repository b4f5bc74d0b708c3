"""What a teacher's answer must look like, step by step.

In: the JSON text of an answer. Out: typed, checked values, or plain faults that can be sent back to the
teacher. Knows no prompt, no teacher and no file. The three shapes follow the construction of PRIST: elements;
questions on one tree; a dialogue that ends in one focus.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

M = TypeVar("M", bound=BaseModel)

MIN_ELEMENTS, MAX_ELEMENTS = 3, 12
QUESTIONS = 3
MIN_ROUNDS, MAX_ROUNDS = 2, 8
WEAK = 1
"""The score of a question that is dropped: abstract, trivial, or not to be answered from the photo."""

_ARTICLE = re.compile(r"^(?:a|an|the|its|his|her|their)\s+")
_JOINED = re.compile(r"\b(?:and|or|as well as)\b|[&,;/+]", re.IGNORECASE)
_INTANGIBLE = re.compile(
    r"\b(?:shadows?|lighting|sunlight|moods?|atmosphere|ambien?ce|ambiance|aesthetics?|composition|art style|"
    r"overall style)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_SMALL_WORDS = frozenset({"a", "an", "the", "of", "on", "in", "at", "to", "with", "from", "by", "for", "and", "its"})


def normal(name: str) -> str:
    """A name as it is compared: one case, single spaces, no leading article, no outer punctuation."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = " ".join(re.sub(r"[^\w\s'%-]", " ", text).split())
    return _ARTICLE.sub("", text)


def _said(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not any(c.isalnum() for c in text):
        raise ValueError("must not be empty")
    return text


Phrase = Annotated[str, Field(max_length=100), AfterValidator(_said)]
Sentence = Annotated[str, Field(max_length=500), AfterValidator(_said)]


class Strict(BaseModel):
    """Unknown keys are faults; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Element(Strict):
    """One clearly visible thing or part of a thing. number: how many of it the phrase means, null when not counted."""

    text: Phrase
    number: Annotated[int, Field(ge=1, le=1000)] | None
    caption: Sentence


class Elements(Strict):
    """Step 1. An element is known by its place in the list, from 1."""

    elements: Annotated[list[Element], Field(min_length=MIN_ELEMENTS, max_length=MAX_ELEMENTS)]

    @model_validator(mode="after")
    def _whole(self) -> Elements:
        faults: list[str] = []
        seen: dict[str, int] = {}
        for place, element in enumerate(self.elements, 1):
            name = normal(element.text)
            if name in seen:
                faults.append(f"elements {seen[name]} and {place} are both {element.text!r}: name each thing once")
            seen.setdefault(name, place)
            if _INTANGIBLE.search(element.text):
                faults.append(f"element {place}, {element.text!r}, is not an object with an outline")
        return _passed(self, faults)


class Question(Strict):
    """A question that needs reasoning. reason: why it has its score. score: 1 weak, 2 direct, 3 needs more."""

    text: Sentence
    answer: Sentence
    reason: Sentence
    score: Literal[1, 2, 3]


class Node(Strict):
    """One inference. parent: id of the node above, null for the root. paths: numbers of the questions that pass
    through it. shared: whether more than one does.
    """

    id: Annotated[str, Field(max_length=20), AfterValidator(_said)]
    parent: Annotated[str, Field(max_length=20)] | None
    text: Sentence
    paths: list[int]
    shared: bool


class ReasoningTree(Strict):
    """One tree for all questions of a photo. Levels follow from the parents: the root is level 0."""

    nodes: Annotated[list[Node], Field(min_length=2, max_length=30)]

    @model_validator(mode="after")
    def _whole(self) -> ReasoningTree:
        return _passed(self, tree_faults(self.nodes))

    def path(self, number: int) -> list[Node]:
        """The nodes of one path from the level under the root down to its leaf."""
        under = {node.id: node for node in self.nodes if number in node.paths and node.parent is not None}
        at = next(node.id for node in self.nodes if node.parent is None)
        found: list[Node] = []
        while step := next((node for node in under.values() if node.parent == at), None):
            found.append(step)
            at = step.id
        return found


class Reasoning(Strict):
    """Step 2. A question, and its path, is known by its place in the list, from 1."""

    questions: Annotated[list[Question], Field(min_length=QUESTIONS, max_length=QUESTIONS)]
    tree: ReasoningTree

    @model_validator(mode="after")
    def _whole(self) -> Reasoning:
        wanted = set(range(1, len(self.questions) + 1))
        named = {path for node in self.tree.nodes for path in node.paths}
        faults = [f"question {path} has no path in the tree" for path in sorted(wanted - named)]
        faults += [f"the tree names path {path}, but there is no question {path}" for path in sorted(named - wanted)]
        texts = [normal(question.text) for question in self.questions]
        if len(set(texts)) < len(texts):
            faults.append("two questions are the same: write different ones")
        return _passed(self, faults)


class Round(Strict):
    """A question and its answer about one visible object.

    element: its number in the list of elements. target: the words of the answer that name it, null when the
    answer does not point at it.
    """

    question: Sentence
    answer: Sentence
    element: int
    target: Phrase | None


class DialogueDraft(Strict):
    """Step 3. focus: number of the element that the last round fixes."""

    rounds: Annotated[list[Round], Field(min_length=MIN_ROUNDS, max_length=MAX_ROUNDS)]
    focus: int

    @model_validator(mode="after")
    def _whole(self) -> DialogueDraft:
        faults = [fault for place, part in enumerate(self.rounds, 1) for fault in _round_faults(place, part)]
        questions = [normal(part.question) for part in self.rounds]
        if len(set(questions)) < len(questions):
            faults.append("two rounds ask the same question")
        last = self.rounds[-1]
        if last.element != self.focus:
            faults.append(f"the last round is about element {last.element}, but the focus is {self.focus}")
        if last.target is None:
            faults.append("the last round has no target: it must name the focus")
        elif _JOINED.search(last.target):
            faults.append(f"the focus {last.target!r} joins things: name a single distinct object")
        return _passed(self, faults)

    @property
    def focus_phrase(self) -> str:
        """How the last answer names the focus."""
        return self.rounds[-1].target or ""


def dialogue_faults(draft: DialogueDraft, elements: Sequence[Element]) -> list[str]:
    """What is wrong with a dialogue beside the elements it talks about: unknown numbers, other names, many things."""
    faults: list[str] = []
    for place, part in enumerate(draft.rounds, 1):
        if not 1 <= part.element <= len(elements):
            faults.append(f"round {place}: there is no element {part.element}, only 1 to {len(elements)}")
        elif part.target is not None:
            name = elements[part.element - 1].text
            if not _content(part.target) & _content(name):
                faults.append(
                    f"round {place}: the target {part.target!r} does not name element {part.element}, {name!r}"
                )
    if 1 <= draft.focus <= len(elements) and (elements[draft.focus - 1].number or 1) > 1:
        focus = elements[draft.focus - 1]
        faults.append(f"the focus {focus.text!r} is {focus.number} things: end with a single distinct object")
    return faults


def tree_faults(nodes: Sequence[Node]) -> list[str]:
    """Why the nodes are not one tree whose paths all reach a leaf of their own; empty when they are."""
    ids = [node.id for node in nodes]
    faults = [f"node id {name!r} is used {ids.count(name)} times" for name in sorted(set(ids)) if ids.count(name) > 1]
    roots = [node for node in nodes if node.parent is None]
    if len(roots) != 1:
        faults.append(f"one node without a parent (the root) is needed, there are {len(roots)}")
    by_id = {node.id: node for node in nodes}
    for node in nodes:
        if node.parent is not None and node.parent not in by_id:
            faults.append(f"node {node.id!r} has the parent {node.parent!r}, which is not there")
    if faults:
        return faults
    if lost := [node.id for node in nodes if not _reaches_root(node, by_id)]:
        return [f"nodes {', '.join(lost)} go in a circle and never reach the root"]
    for node in nodes:
        faults += _node_faults(node, [other for other in nodes if other.parent == node.id], by_id)
    return faults


def _node_faults(node: Node, children: Sequence[Node], by_id: dict[str, Node]) -> Iterator[str]:
    """The paths of one node beside its parent's and its children's."""
    paths = set(node.paths)
    if not paths or len(paths) < len(node.paths):
        yield f"node {node.id!r} needs each path that passes through it once, got {node.paths}"
    if node.shared != (len(paths) > 1):
        yield f"node {node.id!r} has {len(paths)} paths, so shared must be {str(len(paths) > 1).lower()}"
    above = by_id[node.parent] if node.parent is not None else None
    if above is not None and (strays := paths - set(above.paths)):
        yield f"paths {sorted(strays)} pass through {node.id!r} but not through its parent {above.id!r}"
    for path in sorted(paths):
        onward = [child.id for child in children if path in child.paths]
        if len(onward) > 1:
            yield f"path {path} splits after {node.id!r} into {', '.join(onward)}: a path is one line"
        if not onward and children:
            yield f"path {path} stops at {node.id!r}, which is no leaf: lead it on or give it a leaf of its own"
    if not children and len(paths) > 1:
        yield f"paths {sorted(paths)} end in the same leaf {node.id!r}: give each a leaf of its own"


def _reaches_root(node: Node, by_id: dict[str, Node]) -> bool:
    for _ in by_id:
        if node.parent is None:
            return True
        node = by_id[node.parent]
    return False


def _round_faults(place: int, part: Round) -> Iterator[str]:
    if found := _INTANGIBLE.search(f"{part.question} {part.target or ''}"):
        yield f"round {place} is about {found.group().lower()!r}: ask about an object with an outline"
    if part.target is None:
        return
    if find_target(part.answer, part.target) is None:
        yield f"round {place}: the target {part.target!r} does not stand in its answer; copy its words from the answer"
    if f" {normal(part.target)} " in f" {normal(part.question)} ":
        yield f"round {place}: the question already names its answer, {part.target!r}"


def find_target(answer: str, target: str) -> re.Match[str] | None:
    """Where an answer names its target, as whole words, in any case."""
    return re.search(rf"(?<![\w-]){re.escape(target)}(?![\w'\u2019-])", answer, re.IGNORECASE)


def _content(name: str) -> set[str]:
    """Words that mean something, without a plural s."""
    return {word[:-1] if word.endswith("s") else word for word in normal(name).split() if word not in _SMALL_WORDS}


def _passed(value: M, faults: Sequence[str]) -> M:
    if faults:
        raise ValueError("; ".join(faults))
    return value


def parse(text: str, schema: type[M]) -> tuple[M | None, list[str]]:
    """The typed answer, or None and what is wrong with it, a line each. A code fence around it is taken off."""
    fenced = _FENCE.match(text)
    try:
        return schema.model_validate_json(fenced.group(1) if fenced else text), []
    except ValidationError as error:
        return None, [_fault(detail) for detail in error.errors(include_url=False)]


def _fault(detail: Any) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    if detail["type"] == "json_invalid":
        return f"not valid JSON: {detail['msg'].removeprefix('Invalid JSON: ')}"
    what = str(detail["msg"]).removeprefix("Value error, ")
    shown = repr(detail.get("input"))
    got = f" (got {shown})" if detail["type"] != "value_error" and len(shown) <= 60 else ""
    return f"{where}: {what}{got}" if where else f"{what}{got}"


@lru_cache(maxsize=64)
def json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema as strict structured output wants it: every key required, no other keys, no
    defaults. The object is shared: leave it as it is.
    """
    tightened: dict[str, Any] = _tighten(schema.model_json_schema())
    return tightened


def _tighten(value: Any) -> Any:
    if isinstance(value, list):
        return [_tighten(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _tighten(item) for key, item in value.items() if not (key == "title" and isinstance(item, str))}
    kept.pop("default", None)
    if isinstance(kept.get("properties"), dict):
        kept |= {"required": list(kept["properties"]), "additionalProperties": False}
    return kept
