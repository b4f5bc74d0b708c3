"""Every task by the name behind `--format`. A new one is a module and a line here.

Out: the task of a name. `DRAWN`: those whose records are so many that `runs.run.choose` draws from them.
"""

from __future__ import annotations

from typing import cast

from miras.eval.tasks import behaviours, dialogues, instructpart, phrases
from miras.eval.tasks.task import Task

TASKS: dict[str, Task] = {
    "instructpart": cast(Task, instructpart),
    "dialogues": cast(Task, dialogues),
    "phrases": cast(Task, phrases),
    "behaviours": cast(Task, behaviours),
}
DRAWN = ("phrases",)
