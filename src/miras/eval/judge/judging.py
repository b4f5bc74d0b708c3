"""Language models as judges of runs: conversations rated 1 to 5, two runs compared with the order swapped.

In: one or two folders of `miras eval`, judges, a folder to write into. Out: ratings.jsonl, pairs.jsonl and judge.json
there, and a journal for each judge that holds every paid answer: a run that was stopped goes on, and nothing is paid
twice. Knows no HTTP, no prompt and no statistics.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miras.core.errors import InputError, MirasError
from miras.core.files import folder, write_whole
from miras.core.llm.answers import Asked, EndpointDown, NoAnswer, ask, digest_of
from miras.core.llm.journal import Journal, Journaled
from miras.eval.judge.questions import Judge, Question, compare, prompt_versions, rate
from miras.eval.rating import figures
from miras.eval.rating.criteria import CRITERIA
from miras.eval.rating.figures import Rating, Verdict
from miras.eval.rating.sheets import Score, read_people
from miras.eval.rating.transcripts import Run, Transcript, read_runs
from miras.eval.runs import summary

FILE, RATINGS, PAIRS = "judge.json", "ratings.jsonl", "pairs.jsonl"
DRAWS = 1000
Result = Asked[dict[str, Any]] | NoAnswer


@dataclass(frozen=True, eq=False)
class Task:
    """One question to one judge. talks: one that is rated, or two that are compared, as they stand in the question."""

    judge: int
    question: Question
    transcripts: tuple[Transcript, ...]


def judge(
    folders: Sequence[Path], judges: Sequence[Judge], *, out: Path, people: Iterable[Path] = (),
    limit: int | None = None, seed: int = 0, draws: int = DRAWS, pairs: bool = True,
    on_answer: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:  # fmt: skip
    """Ask every judge about every conversation, write the folder, return what stands in judge.json (docs/judge.md).

    limit: only so many conversations, drawn by `seed`, the same of both runs. pairs: also compare two runs. on_answer:
    told how many questions are done, of how many. Raises InputError (no run, runs of other data, a sheet with faults,
    an `out` that judged other runs), EndpointDown when a judge cannot be asked; what was paid is in the journals.
    """
    runs, tasks, left_out = _planned(folders, judges, limit, seed, pairs)
    scores = read_people(people, runs)
    _open(out, runs)
    journaled = [Journaled(one, Journal(out / journal_name(one)), "judge") for one in judges]
    held: list[Result] = asyncio.run(_answered(tasks, judges, journaled, on_answer))
    lines = [_line(task, result, judges) for task, result in zip(tasks, held, strict=True)]
    result = {
        **_figures(lines, scores, draws, seed), "judges": [_spent(i, judges, tasks, held, journaled) for i in
        range(len(judges))], "runs": {run.name: _about(run) for run in runs},
        "left_out": {"n": len(left_out), "named": left_out[:20]}, "failed": _failed(lines),
        "prompts": prompt_versions(), "limit": limit, "seed": seed, "draws": draws, **summary.provenance(),
    }  # fmt: skip
    _write(out / RATINGS, (line for line in lines if "scores" in line))
    if len(runs) > 1 and pairs:
        _write(out / PAIRS, (line for line in lines if "better" in line))
    summary.write_json(out / FILE, result)
    return result


def rehearse(
    folders: Sequence[Path], judges: Sequence[Judge], *, out: Path, limit: int | None = None, seed: int = 0,
    pairs: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """What `judge` would still have to pay for: no call, no file written. Raises InputError."""
    runs, tasks, left_out = _planned(folders, judges, limit, seed, pairs)
    lines = []
    for place, one in enumerate(judges):
        journal = Journal(out / journal_name(one), read_only=True)
        journaled = Journaled(one, journal, "judge")
        questions = {journaled.key_of(task.question): task.question for task in tasks if task.judge == place}
        estimate = journaled.estimate(list(questions.values()))
        journal.close()
        lines.append({"judge": one.label, "sees": one.sees, **asdict(estimate),
                      "held": len(questions) - estimate.requests})  # fmt: skip
    costs = [line["cost"] for line in lines]
    return {
        "dry_run": True, "runs": {run.name: _about(run) for run in runs}, "left_out": {"n": len(left_out)},
        "judges": lines, "requests": sum(line["requests"] for line in lines),
        "prompt_tokens": sum(line["prompt_tokens"] for line in lines),
        "completion_tokens": sum(line["completion_tokens"] for line in lines),
        "cost": None if None in costs else sum(costs), "prompts": prompt_versions(),
    }  # fmt: skip


def journal_name(judge: Judge) -> str:
    """The file of a judge's paid answers: its model for people, a digest of its name for certain."""
    return f"journal-{re.sub(r'[^A-Za-z0-9.]+', '-', judge.label)[:40]}-{digest_of(judge.name)[:8]}.jsonl"


# What is asked


def _planned(
    folders: Sequence[Path], judges: Sequence[Judge], limit: int | None, seed: int, pairs: bool
) -> tuple[list[Run], list[Task], list[str]]:
    runs = read_runs(folders)
    left_out = [why for run in runs for why in run.left_out]
    transcripts = [{transcript.record: transcript for transcript in run.transcripts} for run in runs]
    records = [record for record in transcripts[0] if all(record in held for held in transcripts)]
    for run, held in zip(runs, transcripts, strict=True):
        left_out += [f"{run.name}: {record}: not in the other run" for record in held if record not in records]
    tasks: list[Task] = []
    for record in _drawn(records, limit, seed):
        for place, one in enumerate(judges):
            options: dict[str, Any] = {"sees": one.sees, "seed": seed}
            these = [held[record] for held in transcripts]
            try:
                new = [Task(place, rate(transcript, **options), (transcript,)) for transcript in these]
                if pairs and len(these) == 2:
                    for pair in ((these[0], these[1]), (these[1], these[0])):
                        new.append(Task(place, compare(*pair, **options), pair))
            except InputError as error:
                left_out.append(f"{one.label}: {record}: {error}")
                continue
            tasks += new
    if not tasks:
        raise InputError("conversations to judge", "none", "; ".join(left_out[:3]))
    return runs, tasks, left_out


def _drawn(records: Sequence[str], limit: int | None, seed: int) -> list[str]:
    if limit is None or limit >= len(records):
        return list(records)
    if limit < 1:
        raise InputError("a limit of at least 1", str(limit))
    kept = np.random.default_rng(seed).permutation(len(records))[:limit]
    return [records[index] for index in sorted(kept.tolist())]


async def _answered(
    tasks: Sequence[Task], judges: Sequence[Judge], journaled: Sequence[Journaled[Question]],
    on_answer: Callable[[int, int], None],
) -> list[Result]:  # fmt: skip
    """The answers in the order of the tasks. Raises EndpointDown, and InputError when there is no room to write."""
    found: list[Result | None] = [None] * len(tasks)
    rooms = [asyncio.Semaphore(2 * one.at_once) for one in judges]
    done = 0

    async def one(place: int, task: Task) -> None:
        nonlocal done
        async with rooms[task.judge]:
            try:
                found[place] = await ask(journaled[task.judge], task.question, task.question.read)
            except EndpointDown:
                raise
            except NoAnswer as error:
                found[place] = error
            done += 1
            on_answer(done, len(tasks))

    try:
        async with asyncio.TaskGroup() as group:
            for place, task in enumerate(tasks):
                group.create_task(one(place, task))
    except BaseExceptionGroup as several:
        ours = several.subgroup(MirasError)
        if ours is None:
            raise
        raise ours.exceptions[0] from None
    finally:
        await asyncio.gather(*(one.close() for one in journaled))
    return [result for result in found if result is not None]


# What comes of it


def _line(task: Task, result: Result, judges: Sequence[Judge]) -> dict[str, Any]:
    """A line of ratings.jsonl ("scores", null when there is no answer) or pairs.jsonl ("better")."""
    row = task.transcripts[0].rows[0]
    line: dict[str, Any] = {
        "judge": judges[task.judge].label, "record": row.record, "photo": row.cluster, "kind": row.kind,
        "hops": row.hops, "turns": row.turns, "key": task.question.key,
    }  # fmt: skip
    value = None if isinstance(result, NoAnswer) else result.value
    if task.question.step == "rate":
        line |= {"run": task.transcripts[0].run, "scores": value and {name: value[name]["score"] for name in CRITERIA},
                 "reasons": value and {name: value[name]["reason"] for name in CRITERIA}}  # fmt: skip
    else:
        line |= {"order": "".join(one.run for one in task.transcripts), "better": value and value["better"],
                 "reason": value and value["reason"]}  # fmt: skip
    if isinstance(result, NoAnswer):
        return line | {"fault": str(result)}
    usage = {"prompt_tokens": result.usage.prompt, "completion_tokens": result.usage.completion}
    return line | usage | {"cost": round(result.cost, 6), "attempts": result.attempts}


def _figures(lines: Sequence[Mapping[str, Any]], people: Sequence[Score], draws: int, seed: int) -> dict[str, Any]:
    ratings = [
        Rating(line["run"], line["record"], line["photo"], line["kind"], line["judge"], line["scores"])
        for line in lines if line.get("scores")
    ]  # fmt: skip
    answers: dict[tuple[str, str, str], dict[str, str]] = {}
    for line in lines:
        if line.get("better"):
            answers.setdefault((line["record"], line["photo"], line["judge"]), {})[line["order"]] = line["better"]
    verdicts = [Verdict(*key, both["AB"], both["BA"]) for key, both in answers.items() if len(both) == 2]
    result: dict[str, Any] = {"n": len({rating.unit for rating in ratings})}
    result["ratings"] = figures.rating_figures(ratings, draws, seed)
    if len({rating.judge for rating in ratings}) > 1:
        result["agreement"] = figures.judge_agreement(ratings, draws, seed)
    if people:
        result["people"] = figures.people_agreement(ratings, people, draws, seed)
    if len({rating.run for rating in ratings}) > 1:
        result["difference"] = figures.difference_figures(ratings, draws, seed)
    if verdicts:
        result["pairs"] = figures.pair_figures(verdicts, draws, seed)
    return result


def _spent(
    place: int, judges: Sequence[Judge], tasks: Sequence[Task], held: Sequence[Result],
    journaled: Sequence[Journaled[Question]],
) -> dict[str, Any]:  # fmt: skip
    """What a judge took. Tokens and cost: of all answers used, paid now or earlier; paid, replayed: of this run."""
    own = {task.question.key: result for task, result in zip(tasks, held, strict=True) if task.judge == place}
    asked = [result for result in own.values() if not isinstance(result, NoAnswer)]
    return {
        "judge": judges[place].label, "name": judges[place].name, "sees": judges[place].sees, "questions": len(own),
        "answered": len(asked), "paid": journaled[place].paid, "replayed": journaled[place].replayed,
        "calls": sum(one.attempts for one in asked), "prompt_tokens": sum(one.usage.prompt for one in asked),
        "completion_tokens": sum(one.usage.completion for one in asked),
        "cost": round(sum(one.cost for one in asked), 6),
    }  # fmt: skip


def _failed(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    named = [f"{line['judge']}: {line['record']}: {line['fault']}" for line in lines if "fault" in line]
    return {"n": len(named), "named": named[:20]}


def _about(run: Run) -> dict[str, Any]:
    return {"folder": str(run.folder), "model": run.model, "samples": run.digest, "conversations": len(run.transcripts)}


def _open(out: Path, runs: Sequence[Run]) -> None:
    """Make the folder. Raises InputError when it judged other runs."""
    folder(out)
    with suppress(OSError, ValueError, KeyError, TypeError):
        before = json.loads((out / FILE).read_text(encoding="utf-8"))["runs"]
        if [one["samples"] for one in before.values()] != [run.digest for run in runs]:
            raise InputError(f"the runs that {out} judged", "others", "give another --out")


def _write(file: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """A JSONL file, whole or not at all."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_whole(file, text.encode("utf-8"), "free room or give another --out", f"to write {file}")
