"""Step 3: for each path of the reasoning tree one dialogue that ends in one focus.

In: a photo, its elements, a path, a teacher. Out: a draft whose rounds are checked against the elements. Knows
nothing of how the teacher is reached, and nothing of masks.
"""

from __future__ import annotations

from miras.annotate.teacher.elements import caption_of, written
from miras.annotate.teacher.photos import Photo, notes
from miras.annotate.teacher.protocol import Request, Teacher, ask, prompt
from miras.annotate.teacher.reasoning import Path
from miras.annotate.teacher.schemas import DialogueDraft, Elements, dialogue_faults
from miras.core.llm.answers import Asked, seed_of

STEP = "dialogues"
ROUNDS = (4, 7)
"""Rounds asked for: the paper's 4 to 8, less the closing request that is added to them. Fewer are not sent back (the
released test set has 2 to 4): any count that `schemas.DialogueDraft` allows will do."""


def request_of(photo: Photo, elements: Elements, path: Path, seed: int) -> Request:
    """The request for the dialogue of one path."""
    steps = [path.root, *(node.text for node in path.nodes)]
    messages = prompt(STEP).messages(
        caption=caption_of(photo, elements), elements=written(elements), question=path.question.text,
        path="\n".join(f"{place}. {text}" for place, text in enumerate(steps, 1)), least=ROUNDS[0], most=ROUNDS[1],
    )  # fmt: skip
    own = seed_of(seed, photo.id, STEP, path.number)
    return Request(STEP, messages, DialogueDraft, own, photo.image, photo.digest, notes(photo))


async def write_dialogue(
    teacher: Teacher, photo: Photo, elements: Elements, path: Path, seed: int = 0
) -> Asked[DialogueDraft]:
    """The dialogue of one path. Raises NoAnswer."""
    request = request_of(photo, elements, path, seed)
    return await ask(teacher, request, DialogueDraft, lambda draft: dialogue_faults(draft, elements.elements))
