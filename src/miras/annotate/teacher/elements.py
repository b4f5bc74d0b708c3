"""Step 1: the clearly visible elements of a photo.

In: a photo and a teacher. Out: typed elements, each with a text, an optional number and a caption. Knows nothing of how
the teacher is reached.
"""

from __future__ import annotations

from miras.annotate.teacher.photos import Photo, notes, phrases
from miras.annotate.teacher.protocol import Request, Teacher, ask, prompt
from miras.annotate.teacher.schemas import MAX_ELEMENTS, MIN_ELEMENTS, Elements
from miras.core.llm.answers import Asked, seed_of

STEP = "elements"
_MOST_NAMES = 60


def request_of(photo: Photo, seed: int, schema: type[Elements] = Elements) -> Request:
    """The request for a photo's elements."""
    messages = prompt(STEP).messages(
        least=MIN_ELEMENTS, most=MAX_ELEMENTS, caption=photo.caption or "nothing yet",
        names="; ".join(phrases(photo)[:_MOST_NAMES]) or "none",
    )  # fmt: skip
    return Request(STEP, messages, schema, seed_of(seed, photo.id, STEP), photo.image, photo.digest, notes(photo))


async def list_elements(
    teacher: Teacher, photo: Photo, seed: int = 0, schema: type[Elements] = Elements
) -> Asked[Elements]:
    """At least three elements. schema: `Elements`, or a tighter kind of it. Raises NoAnswer."""
    return await ask(teacher, request_of(photo, seed, schema), schema)


def written(elements: Elements) -> str:
    """The elements as the later prompts show them, numbered from 1."""
    return "\n".join(
        f"{place}. {element.text}{f' (x {element.number})' if (element.number or 1) > 1 else ''}: {element.caption}"
        for place, element in enumerate(elements.elements, 1)
    )


def caption_of(photo: Photo, elements: Elements) -> str:
    """The human caption, or what the elements say where there is none."""
    return photo.caption or " ".join(element.caption for element in elements.elements)
