from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.chat.load import load
from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Annotation, Operator, Region, Turn
from miras.data.record import Record
from miras.eval.protocol import Answer, Ours, System
from miras.eval.runs import samples
from miras.eval.runs.run import evaluate
from miras.eval.runs.samples import Row
from miras.eval.tasks import behaviours
from miras.eval.tasks.behaviour_questions import TALK
from miras.eval.tasks.behaviours import chosen, outcomes, words_known

SIZE = (60, 120)
BOXES = {"left": (5, 10, 20, 30), "right": (60, 8, 90, 45)}


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture
def photo(tmp_path: Path) -> AnnotatedPhoto:
    """Two cups and a dog."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(tmp_path / "p.png")
    notes = [Annotation("cup", "cup", encode_rle(box(*b))) for b in BOXES.values()]
    notes.append(Annotation("dog", "dog", encode_rle(box(30, 45, 60, 60))))
    vocabulary = frozenset({"cup", "dog", "kite"})
    return AnnotatedPhoto("p", tmp_path / "p.png", SIZE, tuple(notes), "test", vocabulary)


@dataclass
class Scripted:
    """A system that answers by rule: a mask, or None for words alone, or a refusal. It is its own dialogue."""

    rule: Callable[[str], tuple[np.ndarray | None, str]]
    mask: np.ndarray | None = None
    name: str = "scripted"

    def facts(self) -> dict[str, Any]:
        return {}

    def start(self, photo: object, *, record: str = "", history: str = "own") -> Scripted:
        return Scripted(self.rule)

    def fork(self) -> Scripted:
        return replace(self)

    def append_exchange(self, user: str, gold: Turn) -> None:
        raise AssertionError("own history")

    def ask(self, text: str) -> Answer:
        mask, words = self.rule(text)
        self.mask = self.mask if mask is None else mask
        regions = () if mask is None else (Region(1, "x", mask, 1),)
        refused = words == "no"
        return Answer(words, self.mask, regions, Operator.REJECT if refused else None, refused)


def rows_of(records: list[Record], system: System, out: Path) -> list[Row]:
    evaluate(records, system, out=out)
    return samples.read(out / samples.FILE)


def held(rule: Callable[[str], tuple[np.ndarray | None, str]], photo: AnnotatedPhoto) -> dict[str, Any]:
    records = list(behaviours.records([photo], seed=0, heldout=True))
    with TemporaryDirectory() as folder:
        return behaviours.figures(records, rows_of(records, Scripted(rule), Path(folder) / "run"))


def good(text: str) -> tuple[np.ndarray | None, str]:
    """Does what is right for this photo."""
    said = text.lower()
    if "kite" in said:
        return None, "no"
    for words, mask in [
        (("left", "small", "little"), box(*BOXES["left"])), (("right", "large", "big"), box(*BOXES["right"])),
        (("where is the cup?", "where is the mug"), box(*BOXES["right"])),
        (("cups", "cusp"), box(*BOXES["left"]) | box(*BOXES["right"])),
        (("dog", "dgo", "dogg"), box(30, 45, 60, 60)),
    ]:  # fmt: skip
        if any(word in said for word in words):
            return mask, "Here you go."
    return None, "I only understand English."


def test_one_who_does_it_right_has_full_marks(photo: AnnotatedPhoto) -> None:
    told = held(good, photo)
    rates = {
        name: told[name] for name in behaviours.HEADLINES if name not in ("talk_kept", "typos_agree", "caps_agree")
    }
    assert rates == {
        "pairs_apart": 1.0, "one_taken": 1.0, "right_one": 1.0, "existence_agree": 1.0, "talk_words": 1.0,
    }  # fmt: skip
    assert told["kinds"]["place"]["iou"] == {"value": 1.0, "low": None, "high": None}  # type: ignore[index]


def test_one_who_takes_all_and_refuses_nothing(photo: AnnotatedPhoto) -> None:
    everything = np.ones(SIZE, bool)
    told = held(lambda text: (everything, "Here is the glorbix."), photo)
    assert (told["pairs_apart"], told["one_taken"], told["right_one"]) == (0.0, 0.0, 0.0)
    assert (told["talk_kept"], told["talk_words"]) == (0.0, 0.0)
    assert told["kinds"]["pairs"]["same"]["value"] == 1.0  # type: ignore[index]
    assert (told["caps_agree"], told["existence_agree"]) == (1.0, 1.0)  # it agrees with itself, wrongly
    assert told["kinds"]["absent"]["right"]["value"] == 0.0  # type: ignore[index]


def test_one_who_is_put_off_by_capitals_and_doubts_what_it_finds(photo: AnnotatedPhoto) -> None:
    def rule(text: str) -> tuple[np.ndarray | None, str]:
        if text.isupper() or text.startswith(("Is ", "Are ")):
            return None, "no"
        return good(text)

    told = held(rule, photo)
    assert told["caps_agree"] == 0.0
    assert told["kinds"]["there"]["agree"]["value"] == 0.0  # type: ignore[index]
    assert told["kinds"]["absent"]["agree"]["value"] == 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("reply", "message", "known"),
    [
        ("I cannot name colours.", "", True),
        ("I have outlined the cup.", "", True),
        ("Here is the glorbix.", "Where is the dog?", False),
        ("Here is the glorbix.", "Where is the glorbix?", True),
        ("", "", True),
    ],
)
def test_broken_words(reply: str, message: str, known: bool) -> None:
    assert words_known(reply, message) is known


def test_photos_come_in_turn_from_each_source(photo: AnnotatedPhoto) -> None:
    many = [replace(photo, id=str(n), source="many") for n in range(5)] + [replace(photo, source="few")]
    picked = chosen(many, 3, 0)
    assert sorted(one.source for one in picked) == ["few", "many", "many"]
    assert chosen(many, 3, 0) == picked and len(chosen(many, None, 0)) == 6
    with pytest.raises(InputError, match="none of 1"):
        chosen([replace(photo, annotations=())], None, 0)


def test_a_real_session_is_asked(photo: AnnotatedPhoto, tmp_path: Path) -> None:
    system = Ours(load("miras-tiny", threads=1))
    records = list(behaviours.records([photo], seed=0, heldout=True))
    first, again = (outcomes(records, rows_of(records, system, tmp_path / name)) for name in "ab")
    assert [one.to_dict() for one in first] == [one.to_dict() for one in again]
    assert {one.kind for one in first} >= {"place", "size", "pairs", "caps", "there", "absent", TALK}
    assert all(0 <= value <= 1 for one in first for value in one.values.values())
    assert sum(len(one.texts) for one in first) == len(records)
