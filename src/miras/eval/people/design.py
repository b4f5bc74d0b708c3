"""Who gets to see what: the plan of a blinded study with people.

In: runs over the same data, how many conversations, raters, answers each. Out: a `Design`: for each rater the cards in
order (conversations, hidden repeats, attention checks), left and right by chance and balanced; and its key, which tells
what each card shows and must not reach the raters. The same input and seed give the same plan. Knows no page and no
answer.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.llm.answers import digest_of
from miras.core.llm.prompts import read_prompt
from miras.core.masks import encode_rle
from miras.eval.people.balance import choose, deal, sides
from miras.eval.people.questions import KINDS
from miras.eval.rating.transcripts import Run, Transcript, read_runs

KEY = "key.json"
VERSION = 1
GOLD, WHOLE = "gold", "whole"
"""What a check shows instead of a system: the data's own answer, and the same words with the whole photo selected."""
CHECK_SHARE = (0.01, 0.4)
"""Share of the photo that the target of a check may have, so that the whole photo is plainly wrong."""
CODES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Card:
    """What one rater sees at one place. id: as in the sheet, tells nothing. photo: the cluster of the conversation.

    shown: codes of the systems from left to right (one in a rating). role: "item", "repeat" (of: the card's id that it
    repeats, in a pair with the sides swapped) or "check" (right: question -> answers that are right).
    """

    id: str
    rater: str
    record: str
    photo: str
    kind: str
    shown: tuple[str, ...]
    role: str = "item"
    of: str = ""
    right: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True, eq=False)
class Design:
    """The plan of a study. systems: code -> run. transcripts: (code, record) -> conversation, of checks too.

    left_out: conversations that could not be used, each with why. settings: what was asked for.
    """

    study: str
    kind: str
    settings: Mapping[str, int]
    systems: Mapping[str, Run]
    cards: tuple[Card, ...]
    transcripts: Mapping[tuple[str, str], Transcript]
    left_out: tuple[str, ...]

    @property
    def raters(self) -> dict[str, list[Card]]:
        """Rater -> cards in the order shown."""
        found: dict[str, list[Card]] = defaultdict(list)
        for card in self.cards:
            found[card.rater].append(card)
        return dict(found)

    def key(self) -> dict[str, Any]:
        """What unblinds the answers, as one JSON object."""
        return {
            "version": VERSION, "study": self.study, "kind": self.kind, "settings": dict(self.settings),
            "rubrics": read_prompt("miras.eval.rating", "criteria").version, "left_out": list(self.left_out),
            "systems": {code: {"folder": str(run.folder), "model": run.model, "samples": run.digest}
                        for code, run in self.systems.items()},
            "cards": [asdict(card) for card in self.cards],
        }  # fmt: skip


def design(
    folders: Sequence[Path], kind: str, *, items: int = 60, raters: int = 5, each: int = 3, repeats: int | None = None,
    checks: int = 3, seed: int = 0,
) -> Design:  # fmt: skip
    """The plan: `items` conversations that all runs have, each judged by `each` of the `raters`, whole: a rater who
    gets a conversation gets it of every system (or every pair of systems), far apart.

    repeats: cards a rater sees twice; by default a tenth of the own ones. checks: attention checks for each rater.
    Raises InputError for runs of other data, too few runs or conversations, or numbers that do not fit.
    """
    _check(folders, kind, items, raters, each, repeats, checks)
    runs = _runs(folders)
    transcripts = {
        (code, transcript.record): transcript for code, run in runs.items() for transcript in run.transcripts
    }
    common, left_out = _usable(runs)
    if len(common) < items:
        cure = f"give --items {len(common)}, or evaluate on more" if common else "evaluate all runs on one dataset"
        raise InputError(f"{items} conversations that all runs have, with their photos", str(len(common)), cure)
    rng = random.Random(seed)
    chosen = choose(common, items, rng)
    groups = [(code,) for code in runs] if kind == "rating" else list(combinations(runs, 2))
    names = [f"{number:02d}" for number in range(1, raters + 1)]
    asked_for = {"items": items, "raters": raters, "each": each, "checks": checks, "seed": seed}
    study = digest_of({**asked_for, "version": VERSION, "kind": kind, "repeats": repeats,
                       "runs": [run.digest for run in runs.values()]})[:6]  # fmt: skip
    dealt = deal([transcript.record for transcript in chosen], names, each, rng)
    shown = sides([((record, group), (name, group)) for name, own in dealt.items() for record in own
                   for group in groups], rng)  # fmt: skip
    cards: list[Card] = []
    by_record = {transcript.record: transcript for transcript in common}
    unused = [transcript for transcript in common if transcript not in chosen]
    for name in names:
        cards_of = _ordered(name, [by_record[record] for record in dealt[name]], groups, shown, rng)
        spare = unused + [transcript for transcript in chosen if transcript.record not in dealt[name]]
        made, more = _checks(name, spare, kind, checks, rng)
        transcripts |= more
        cards += _numbered(study, _mixed(cards_of, _repeats(cards_of, repeats, rng), made, rng))
    return Design(study, kind, asked_for, runs, tuple(cards), transcripts, tuple(left_out))


def _check(
    folders: Sequence[Path], kind: str, items: int, raters: int, each: int, repeats: int | None, checks: int
) -> None:
    if kind not in KINDS:
        raise InputError(f"a kind of {', '.join(KINDS)}", repr(kind))
    least = 2 if kind == "pairwise" else 1
    if not least <= len(folders) <= len(CODES):
        raise InputError(f"{least} to {len(CODES)} runs for {kind}", str(len(folders)))
    if min(items, raters, each) < 1 or min(checks, repeats or 0) < 0:
        raise InputError("items, raters and each of at least 1, checks and repeats of at least 0",
                         f"{items}, {raters}, {each}, {checks} and {repeats}")  # fmt: skip
    if each > raters:
        raise InputError(f"at most {raters} answers to each item, one a rater", f"each {each}", "give more --raters")


def _runs(folders: Sequence[Path]) -> dict[str, Run]:
    """Code -> run. Raises InputError for runs of other data than the first one's, or one given twice."""
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("each run once", ", ".join(map(str, folders)))
    found = read_runs(folders[:1])
    for folder in folders[1:]:
        found.append(read_runs([folders[0], folder])[1])
    runs = {}
    for code, run in zip(CODES, found, strict=False):
        transcripts = tuple(replace(transcript, run=code) for transcript in run.transcripts)
        left_out = tuple(f"{code}{why[1:]}" for why in run.left_out)
        runs[code] = replace(run, name=code, transcripts=transcripts, left_out=left_out)
    return runs


def _usable(runs: Mapping[str, Run]) -> tuple[list[Transcript], list[str]]:
    """The conversations that all runs have and whose photo is there; and the others, each with why."""
    first = next(iter(runs.values()))
    have = {code: {transcript.record for transcript in run.transcripts} for code, run in runs.items()}
    everywhere = set.intersection(*have.values())
    usable, left_out = [], [why for run in runs.values() for why in run.left_out]
    for transcript in first.transcripts:
        if transcript.record not in everywhere:
            left_out.append(f"{transcript.record}: not in every run")
        elif not Path(transcript.rows[0].image).is_file():
            left_out.append(f"{transcript.record}: no photo at {transcript.rows[0].image}")
        else:
            usable.append(transcript)
    return usable, left_out


def _ordered(
    rater: str, transcripts: Sequence[Transcript],
    groups: Sequence[tuple[str, ...]], shown: Mapping[Any, tuple[str, ...]],
    rng: random.Random,
) -> list[Card]:  # fmt: skip
    """One rater's cards: as many rounds as there are systems (pairs); the same conversation stands a round apart."""
    order = rng.sample(transcripts, len(transcripts))
    starts = [rng.randrange(len(groups)) for _ in order]
    cards = []
    for turn in range(len(groups)):
        for transcript, start in zip(order, starts, strict=True):
            group = groups[(start + turn) % len(groups)]
            kind = transcript.rows[0].kind
            cards.append(Card("", rater, transcript.record, transcript.cluster, kind,
                              shown[(transcript.record, group), (rater, group)]))  # fmt: skip
    return cards


def _repeats(cards: Sequence[Card], count: int | None, rng: random.Random) -> list[tuple[Card, Card]]:
    """(first showing, second one); first showings come from the first half."""
    early = cards[: (len(cards) + 1) // 2] if len(cards) > 1 else []
    wanted = max(1, round(len(cards) / 10)) if count is None else count
    drawn = rng.sample(early, min(wanted, len(early)))
    return [(card, replace(card, role="repeat", shown=card.shown[::-1])) for card in drawn]


def _checks(
    rater: str, spare: Sequence[Transcript], kind: str, count: int, rng: random.Random
) -> tuple[list[Card], dict[tuple[str, str], Transcript]]:
    """Cards whose right answer is plain, from conversations the rater does not see otherwise, where there are any."""
    low, high = CHECK_SHARE
    fit = [transcript for transcript in spare if (row := transcript.rows[0]).graded and row.gold_rle is not None and not
           row.refused_wanted and row.target_share is not None and low <= row.target_share <= high]  # fmt: skip
    cards: list[Card] = []
    transcripts: dict[tuple[str, str], Transcript] = {}
    for transcript in rng.sample(fit, min(count, len(fit))):
        gold = replace(
            transcript.rows[0],
            text=transcript.rows[0].gold_text,
            rle=transcript.rows[0].gold_rle,
            has_mask=True,
            turns=1,
        )
        whole = replace(gold, rle=encode_rle(_everything(gold.size)))
        shown = (WHOLE,) if kind == "rating" else tuple(rng.sample((GOLD, WHOLE), 2))
        right = {"mask": ("1", "2")} if kind == "rating" else {"mask": (("left", "right")[shown.index(GOLD)],)}
        cards.append(Card("", rater, transcript.record, transcript.cluster, gold.kind, shown, "check", right=right))
        transcripts |= {
            (GOLD, transcript.record): Transcript(GOLD, (gold,)),
            (WHOLE, transcript.record): Transcript(WHOLE, (whole,)),
        }
    return cards, transcripts


def _everything(size: tuple[int, int]) -> Any:
    import numpy as np

    return np.ones(size, np.bool_)


def _mixed(
    cards: Sequence[Card], repeats: Iterable[tuple[Card, Card]], checks: Sequence[Card], rng: random.Random
) -> list[tuple[Card, Card | None]]:
    """(card, what it repeats) in order: repeats in the last quarter, checks spread evenly, none of them first."""
    mixed: list[tuple[Card, Card | None]] = [(card, None) for card in cards]
    late = len(cards) - len(cards) // 4
    for first, second in repeats:
        mixed.insert(rng.randint(late, len(mixed)), (second, first))
    ends = [round(len(mixed) * part / max(len(checks), 1)) for part in range(len(checks) + 1)]
    spots = [rng.randint(min(low + 1, high), high) for low, high in pairwise(ends)]
    for spot, check in sorted(zip(spots, checks, strict=True), key=lambda pair: -pair[0]):
        mixed.insert(spot, (check, None))
    return mixed


def _numbered(study: str, mixed: Sequence[tuple[Card, Card | None]]) -> list[Card]:
    """The cards with their ids, which tell the study, the rater and the place only."""
    ids = [f"{study}-{card.rater}-{number:03d}" for number, (card, _) in enumerate(mixed, 1)]
    at = {id(card): name for name, (card, _) in zip(ids, mixed, strict=True)}
    return [replace(card, id=name, of=at[id(first)] if first else "")
            for name, (card, first) in zip(ids, mixed, strict=True)]  # fmt: skip
