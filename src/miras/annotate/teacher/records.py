"""From a dialogue's draft to the canonical record, with the masks that are known.

In: a photo, its elements, a path, a draft. Out: a `Record`. A target whose name an annotation has exactly becomes a
region with its mask; every other stays words, and all targets stand in `meta["targets"]`, so that masks can be added
later. Knows no teacher.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from miras.annotate.teacher.photos import Photo, mask_of
from miras.annotate.teacher.reasoning import Path
from miras.annotate.teacher.schemas import DialogueDraft, Elements, find_target
from miras.core.llm.answers import seed_of
from miras.core.types import Conversation, Example, Name, Piece, Region, Turn, Words
from miras.data.record import Record, record_of

CLOSING_REQUESTS = (
    "Please outline what we have arrived at.",
    "Now select it in the photo.",
    "Mark the thing we were looking for.",
    "Segment what this conversation points to.",
    "Show me exactly where that is.",
    "Could you cut out what your last answer names?",
    "Highlight the object we ended with.",
    "Draw the mask of it, please.",
)
"""The closing turn names no target: what it means follows from the talk."""
CLOSING_REPLIES = (
    ("Here is", "."),
    ("This is", "."),
    ("I have marked", "."),
    ("The outline shows", "."),
    ("Our talk leads to", ", shown here."),
    ("Selected:", "."),
)
"""What stands before and after the focus in the closing reply."""


class _Turns:
    """The turns of one conversation as they are written, with region ids that count up and all targets noted."""

    def __init__(self, photo: Photo, elements: Elements) -> None:
        self._photo, self._elements = photo, elements
        self.turns: list[Turn] = []
        self.targets: list[dict[str, Any]] = []
        self._regions = 0

    def exchange(self, question: str, before: str, target: str | None, after: str, element: int) -> None:
        """One question and its answer, given as what stands before the target, the target, and what stands after."""
        self.turns.append(Turn.user(question))
        index = len(self.turns)
        if target is None:
            self.turns.append(Turn("assistant", _words(before)))
            return
        listed = self._elements.elements[element - 1]
        mask = mask_of(self._photo.known, (target, listed.text), listed.number)
        regions: tuple[Region, ...] = ()
        named: tuple[Piece, ...] = _words(f"{before} {target}{_gap(after)}{after}")
        if mask is not None:
            self._regions += 1
            regions = (Region(self._regions, target, mask, index),)
            named = (*_words(before), Name(target, self._regions), *_words(after))
        self.turns.append(Turn("assistant", named, regions))
        self.targets.append(
            {"turn": index, "phrase": target, "element": listed.text, "region": self._regions if regions else 0}
        )


def record_from(
    photo: Photo, elements: Elements, path: Path, draft: DialogueDraft, *, seed: int, teacher: str,
    prompts: Mapping[str, str],
) -> Record:  # fmt: skip
    """The record of one dialogue with its closing turn; kind "progressive", hops = the steps of its path.

    prompts: step -> version of its prompt. The closing words are drawn by the seed.
    """
    talk = _Turns(photo, elements)
    for part in draft.rounds:
        before, target, after = _split(part.answer, part.target)
        talk.exchange(part.question, before, target, after, part.element)
    choose = random.Random(seed_of(seed, photo.id, "closing", path.number))
    before, after = choose.choice(CLOSING_REPLIES)
    talk.exchange(choose.choice(CLOSING_REQUESTS), before, draft.focus_phrase, after, draft.focus)
    meta = {
        "teacher": teacher, "seed": seed, "prompts": dict(prompts), "question": path.question.text,
        "score": path.question.score, "root": path.root,
        "path": [{"text": node.text, "paths": node.paths, "shared": node.shared} for node in path.nodes],
        "elements": [element.text for element in elements.elements], "targets": talk.targets,
    }  # fmt: skip
    example = Example(
        FilePath(photo.image), Conversation(tuple(talk.turns)), draft.focus_phrase, "progressive", path.hops,
        f"annotate:{teacher.partition(':')[0]}", meta,
    )  # fmt: skip
    return record_of(
        example, id=f"{photo.id}-{path.number}", image_id=photo.id, image=photo.image.as_posix(), size=photo.size
    )


def _split(answer: str, target: str | None) -> tuple[str, str | None, str]:
    """The answer around its target; the target as the answer spells it."""
    found = find_target(answer, target) if target is not None else None
    if found is None:
        return answer, None, ""
    return answer[: found.start()].rstrip(), found.group(), answer[found.end() :].strip()


def _gap(after: str) -> str:
    return "" if not after or after[0] in ".,;:!?" else " "


def _words(text: str) -> tuple[Piece, ...]:
    text = text.strip()
    return (Words(text),) if text else ()
