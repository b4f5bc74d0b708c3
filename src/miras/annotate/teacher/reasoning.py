"""Step 2: questions that need reasoning, and the one tree their reasoning runs through.

In: a photo, its elements, a teacher. Out: the paths of the questions that are worth asking. Weak questions (score 1)
are dropped, and nodes count as shared only between paths that stay. Knows nothing of how the teacher is reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from miras.annotate.teacher.elements import caption_of, written
from miras.annotate.teacher.photos import Photo, notes
from miras.annotate.teacher.protocol import Request, Teacher, ask, prompt
from miras.annotate.teacher.schemas import QUESTIONS, WEAK, Elements, Node, Question, Reasoning
from miras.core.llm.answers import Asked, seed_of

STEP = "reasoning"


@dataclass(frozen=True, slots=True)
class Path:
    """One question with its way through the tree. number: the question's place, from 1. nodes: from under the root to
    the leaf, `paths` and `shared` counted among the paths that stayed.
    """

    number: int
    question: Question
    root: str
    nodes: tuple[Node, ...]

    @property
    def hops(self) -> int:
        """Reasoning steps: the nodes under the root."""
        return len(self.nodes)


def request_of(photo: Photo, elements: Elements, seed: int) -> Request:
    """The request for a photo's questions and tree."""
    messages = prompt(STEP).messages(
        caption=caption_of(photo, elements), elements=written(elements), questions=QUESTIONS
    )
    return Request(STEP, messages, Reasoning, seed_of(seed, photo.id, STEP), photo.image, photo.digest, notes(photo))


async def reason(teacher: Teacher, photo: Photo, elements: Elements, seed: int = 0) -> Asked[Reasoning]:
    """The questions and their tree, weak ones still among them. Raises NoAnswer."""
    return await ask(teacher, request_of(photo, elements, seed), Reasoning)


def paths_of(reasoning: Reasoning) -> list[Path]:
    """The paths of the questions that are not weak, in order; empty when all are."""
    kept = {number for number, question in enumerate(reasoning.questions, 1) if question.score > WEAK}
    root = next(node for node in reasoning.tree.nodes if node.parent is None)
    return [
        Path(number, reasoning.questions[number - 1], root.text,
             tuple(_among(node, kept) for node in reasoning.tree.path(number)))
        for number in sorted(kept)
    ]  # fmt: skip


def _among(node: Node, kept: set[int]) -> Node:
    paths = [path for path in node.paths if path in kept]
    return node.model_copy(update={"paths": paths, "shared": len(paths) > 1})
