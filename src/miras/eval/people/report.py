"""The report of a study with people: figures, each rater, every fault by name; as one object and as Markdown.

In: the key, answers, faults. Out: plain objects and text. Raters who miss attention checks, or answer all alike, are
named and left out of `figures` (`with_all` has them). Knows no page and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from miras.core.errors import InputError
from miras.eval.people.answers import Answer, Key
from miras.eval.people.figures import figures
from miras.eval.rating.criteria import CRITERIA

CHECKS_NEEDED = 2 / 3
"""Share of the answered attention checks that a rater must pass."""
FEWEST_ALIKE = 8
"""Answers to one question, from which on all of them being the same is told."""


def report(
    key: Key, answers: Sequence[Answer], faults: Sequence[str], draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Everything, as one JSON object (docs/people.md). Raises InputError without a single answer."""
    if not answers:
        raise InputError("answered sheets", f"no usable answer and {len(faults)} faults", "; ".join(faults[:3]))
    raters = {name: rater_summary(key, name, answers) for name in sorted({card.rater for card in key.cards.values()})}
    doubted = sorted(name for name, about in raters.items() if about["doubts"])
    trusted = [answer for answer in answers if answer.card.rater not in doubted]
    result: dict[str, Any] = {
        "study": key.study, "kind": key.kind, "settings": dict(key.settings), "seed": seed,
        "systems": dict(key.systems),
        "answers": len(answers), "faults": {"n": len(faults), "named": list(faults)},
        "raters": raters, "left_out_raters": doubted, "figures": figures(key, trusted, draws, seed),
    }  # fmt: skip
    if doubted:
        result["with_all"] = figures(key, answers, draws, seed)
    return result


def rater_summary(key: Key, rater: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """How many cards are answered, the checks, the answers by question, and `doubts`: why the rater is left out."""
    cards = [card for card in key.cards.values() if card.rater == rater]
    own = [answer for answer in answers if answer.card.rater == rater]
    given = {name: Counter(answer.given for answer in own if answer.question == name and answer.card.role != "check")
             for name in key.questions}  # fmt: skip
    missed, passed = [], 0
    for answer in own:
        right = (answer.card.right or {}).get(answer.question)
        if right is not None:
            passed += answer.given in right
            if answer.given not in right:
                missed.append(f"{answer.card.id}: {answer.question} {answer.given}, not {' or '.join(right)}")
    doubts = []
    if missed and passed < CHECKS_NEEDED * (passed + len(missed)):
        doubts.append(f"{len(missed)} of {passed + len(missed)} attention checks missed")
    counted = [counts for counts in given.values() if counts]
    if counted and all(len(counts) == 1 and counts.total() >= FEWEST_ALIKE for counts in counted):
        doubts.append("all answers alike")
    open_ = len(cards) * len(key.questions) - len(own)
    return {
        "cards": len(cards), "answers": len(own), "open": open_, "checks_passed": passed, "checks_missed": missed,
        "counts": {name: {answer: counts[answer] for answer in key.questions[name].answers}
                   for name, counts in given.items()},
        "doubts": doubts,
    }  # fmt: skip


def judge_rows(answers: Sequence[Answer]) -> list[tuple[str, str, str, str, str]]:
    """(record, criterion, score, rater, run) of a rating study: a sheet as `miras judge --people` takes it."""
    return [(answer.card.record, answer.question, answer.given, answer.card.rater, answer.card.shown[0])
            for answer in answers if answer.card.role == "item" and answer.question in CRITERIA]  # fmt: skip


def markdown(result: Mapping[str, Any]) -> str:
    """The report for people: systems, figures, agreement, raters, faults."""
    systems = [(code, about["model"], about["folder"]) for code, about in result["systems"].items()]
    parts = [f"# People, study {result['study']} ({result['kind']})", _table(("system", "model", "run"), systems)]
    doubted = result["left_out_raters"]
    if doubted:
        parts.append(
            f"**Left out of the figures: rater {', '.join(doubted)}** (why: below). With them: `with_all` in the JSON."
        )
    lines = result["figures"]
    if result["kind"] == "rating":
        parts.append(_table(("question", *result["systems"], *next(iter(lines.values()))["differences"]), [
            (name, *map(_shown, line["systems"].values()), *map(_shown, line["differences"].values()))
            for name, line in lines.items()]))  # fmt: skip
    else:
        head = ("question", "pair", "n", "wins", "ties", "losses", "win share", "photos won:lost", "p", "chose left")
        parts.append(_table(head, [
            (name, pair, *(about[what] for what in ("n", "wins", "ties", "losses")), _shown(about["share"]),
             f"{about['sign_test']['photos_won']}:{about['sign_test']['photos_lost']}",
             _plain(about["sign_test"]["p"], 4), _shown(line["left"]))
            for name, line in lines.items() for pair, about in line["pairs"].items()]))  # fmt: skip
    parts.append("## Agreement\n\n" + _table(
        ("question", "alpha", "Fleiss kappa", "weighted kappa", "n", "same when asked again", "n again"),
        [(name, _shown(line["agreement"]["alpha"]), _plain(line["agreement"]["fleiss_kappa"]),
          _plain(line["agreement"]["weighted_kappa"]), line["agreement"]["n"], _plain(line["self"]["same"]),
          line["self"]["n"]) for name, line in lines.items()]))  # fmt: skip
    parts.append("## Raters\n\n" + _table(
        ("rater", "cards", "answers", "open", "checks passed", "checks missed", "doubts"),
        [(name, about["cards"], about["answers"], about["open"], about["checks_passed"], len(about["checks_missed"]),
          "; ".join(about["doubts"]) or "-") for name, about in result["raters"].items()]))  # fmt: skip
    missed = [f"- rater {name}: {what}" for name, about in result["raters"].items() for what in about["checks_missed"]]
    faults = [f"- {_cell(fault)}" for fault in result["faults"]["named"]]
    for title, found in (("Checks missed", missed), ("Faults", faults)):
        if found:
            parts.append(f"## {title}\n\n" + "\n".join(found))
    parts.append(
        "Intervals: 95%, bootstrap clustered by photo. Win share: a tie is half a win. p: exact sign test of photos."
    )
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _plain(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _shown(figure: Mapping[str, Any]) -> str:
    span = "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    return _plain(figure["value"]) + span
