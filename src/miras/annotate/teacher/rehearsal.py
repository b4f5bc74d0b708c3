"""What a run would ask, without asking: for `--dry-run`.

In: the requests of a run. Out: an estimate of what is still to be paid. Answers that the journal holds are used as
they are; for the others a stand-in of usual length lets the next step write its requests. Knows no photo.
"""

from __future__ import annotations

from collections.abc import Sequence

from miras.annotate.teacher.protocol import Request, Teacher
from miras.annotate.teacher.schemas import Element, Elements, Node, Question, Reasoning, ReasoningTree
from miras.core.llm.answers import Answer, Estimate, NoAnswer, digest_of
from miras.core.llm.journal import Journal

_CAPTION = "A usual sentence on what this thing looks like, where in the photo it is, and what it is for."
_STAND_INS = {
    "elements": Elements(elements=[Element(text=f"stand-in {i}", number=None, caption=_CAPTION) for i in range(8)]),
    "reasoning": Reasoning(
        questions=[
            Question(text=f"Which of these would be needed first, and why, {i}?", answer="it", reason="r", score=3)
            for i in range(3)
        ],
        tree=ReasoningTree(nodes=[
            Node(id="n0", parent=None, text=_CAPTION, paths=[1, 2, 3], shared=True),
            Node(id="n1", parent="n0", text=_CAPTION, paths=[1, 2, 3], shared=True),
            *(Node(id=f"m{i}", parent="n1", text=_CAPTION, paths=[i], shared=False) for i in (1, 2, 3)),
            *(Node(id=f"l{i}", parent=f"m{i}", text=_CAPTION, paths=[i], shared=False) for i in (1, 2, 3)),
        ]),
    ),
}  # fmt: skip


class Rehearsal:
    """Stands in for a teacher and adds up what it was asked. `total` is the estimate so far."""

    def __init__(self, teacher: Teacher, journal: Journal) -> None:
        self._teacher, self._journal = teacher, journal
        self._asked: set[str] = set()
        self.total = teacher.estimate([])
        self.replayed = 0

    @property
    def name(self) -> str:
        """The teacher's own, so that the journal's keys are the same."""
        return self._teacher.name

    async def answer(self, request: Request) -> Answer:
        """The journal's answer, or a stand-in. Raises NoAnswer where no later step needs one."""
        key = digest_of([self.name, request.key])
        kept = self._journal.get(key)
        if kept is not None:
            self.replayed += 1
            return kept
        if key not in self._asked:
            self._asked.add(key)
            self.total += self._teacher.estimate([request])
        if request.step not in _STAND_INS:
            raise NoAnswer("an answer", "a rehearsal")
        return Answer(_STAND_INS[request.step].model_dump_json())

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """The teacher's."""
        return self._teacher.estimate(requests)

    def stop(self) -> None:
        """Nothing is on its way."""

    async def close(self) -> None:
        """Nothing is open."""
