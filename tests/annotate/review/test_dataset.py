"""Review: a good record passes, each fault alone gives its reason, and what the samplers make passes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.annotate.review import dataset as reviewing
from miras.annotate.review.dataset import Rejection, Review, alike, inspect
from miras.annotate.review.rules import MOVES
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto, Conversation, Example, Mark, Name, Operator, Region, Turn, Words
from miras.data.dialogues import sampler
from miras.data.dialogues.sampler import askable, sample
from miras.data.formats.annotated import SOURCES
from miras.data.record import Record, RleRecord, record_of
from tests.data.dialogues.test_sampler import PHOTOS

SIZE = (200, 300)
QUESTION, CLOSING = "Which animal would wag its tail?", "Select it, please."


def box(x: int, y: int, width: int = 40, height: int = 30) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def rle(mask: NDArray[np.bool_]) -> RleRecord:
    made = encode_rle(mask)
    return {"size": list(made["size"]), "counts": made["counts"]}


def reply(number: int, turn: int, phrase: str, mask: NDArray[np.bool_], operator: Operator = Operator.REPLACE) -> Turn:
    mark = () if operator is Operator.REPLACE else (Mark(operator),)
    pieces = (*mark, Words("That is the"), Name(phrase, number), Words("."))
    return Turn("assistant", pieces, (Region(number, phrase, mask, turn, operator),))


def record(*turns: Turn, kind: str = "progressive", focus: str = "dog", **meta: object) -> Record:
    example = Example(Path("p.jpg"), Conversation(turns), focus, kind, 1, "coco", meta)
    return record_of(example, id="a", image_id="photo", image="photo.jpg", size=SIZE)


def good(mask: NDArray[np.bool_] | None = None) -> Record:
    """A question by function and its closing turn, as `annotate.grounded.dialogues` writes them."""
    dog = box(10, 20) if mask is None else mask
    return record(
        Turn.user(QUESTION), reply(1, 1, "dog", dog), Turn.user(CLOSING), reply(2, 3, "dog", dog),
        moves={1: "target", 3: "close"}, functional=[0],
    )  # fmt: skip


def say(one: Record, index: int, text: str) -> None:
    """Other words of the user."""
    one["turns"][index]["text"] = one["turns"][index]["content"][0]["text"] = text


def answer(one: Record, index: int, before: str) -> None:
    """Other words before the name."""
    turn = one["turns"][index]
    turn["content"][0]["text"] = before
    turn["text"] = f"{before} {turn['regions'][0]['phrase']}."


def mask_of(one: Record, mask: NDArray[np.bool_]) -> None:
    for turn in one["turns"]:
        for region in turn["regions"]:
            region["rle"] = rle(mask)


def repeat(one: Record, times: int) -> None:
    """The first exchange again and again before the closing turn, without regions."""
    chat = [
        copy.deepcopy(turn) for turn in record(Turn.user("Thank you."), Turn("assistant", (Words("Fine."),)))["turns"]
    ]
    one["turns"][2:2] = copy.deepcopy(chat * times)
    one["meta"]["moves"] = {}


def renumber(one: Record, number: int) -> None:
    """Another number for the last region and its name."""
    one["turns"][3]["regions"][0]["id"] = one["turns"][3]["content"][1]["region"] = number


def single(one: Record) -> None:
    del one["turns"][2:]


def unclosed(one: Record) -> None:
    """The talk goes on after the target was found."""
    one["turns"][3] = record(Turn.user("x"), Turn("assistant", (Words("Gladly."),)))["turns"][1]
    one["meta"]["moves"]["3"] = "chat"


FAULTS: dict[str, tuple[str, Callable[[Record], None]]] = {
    "roles": ("schema", lambda r: r["turns"].pop(0)),
    "no turn": ("schema", lambda r: r["turns"].clear()),
    "user last": ("schema", lambda r: r["turns"].pop()),
    "kind": ("schema", lambda r: r.update(kind="riddle")),
    "hops": ("schema", lambda r: r.update(hops=0)),
    "no photo": ("schema", lambda r: r.update(image_id="")),
    "empty text": ("schema", lambda r: say(r, 0, " ")),
    "numbers": ("schema", lambda r: renumber(r, 5)),
    "named twice": ("schema", lambda r: r["turns"][3]["content"].append(r["turns"][3]["content"][1])),
    "never named": ("schema", lambda r: r["turns"][3]["content"].pop(1)),
    "another name": ("schema", lambda r: r["turns"][3]["content"][1].update(text="cat")),
    "another text": ("schema", lambda r: r["turns"][3].update(text="That is the cat.")),
    "operator": ("schema", lambda r: r["turns"][3]["regions"][0].update(operator="undo")),
    "user with a region": ("schema", lambda r: r["turns"][2].update(regions=r["turns"][3]["regions"])),
    "size of the mask": ("schema", lambda r: r.update(height=100)),
    "runs of the mask": ("schema", lambda r: r["turns"][1]["regions"][0]["rle"].update(counts="52")),
    "empty mask": ("schema", lambda r: mask_of(r, box(0, 0, 0, 0))),
    "another focus": ("focus", lambda r: r.update(focus="cat", kind="shift")),
    "no refusal": ("focus", lambda r: r.update(kind="absent")),
    "few pixels": ("small focus", lambda r: mask_of(r, box(0, 0, 6, 6))),
    "thin": ("small focus", lambda r: mask_of(r, box(0, 0, 100, 5))),
    "too short": ("length", single),
    "too long": ("length", lambda r: repeat(r, 7)),
    "answer named": ("leak", lambda r: say(r, 0, "Which dogs would wag their tails?")),
    "answer named, no meta": ("leak", lambda r: (r["meta"].clear(), say(r, 0, "Show me the dog."))),
    "no closing turn": ("no closing turn", unclosed),
    "doubled word": ("language: doubled word", lambda r: say(r, 0, "Which animal would wag its its tail?")),
    "article": ("language: a or an", lambda r: say(r, 0, "Which one is an pet?")),
    "number": ("language: number", lambda r: answer(r, 1, "Here are the")),
    "one word": ("language: length of a turn", lambda r: say(r, 2, "Select")),
}  # fmt: skip


def reasons(found: Sequence[Rejection]) -> list[str]:
    return [rejection.reason for rejection in found]


def test_a_good_record_passes() -> None:
    review = Review()
    assert review.check(good()) == [] and review.accepted == 1


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_alone_gives_its_reason(name: str) -> None:
    reason, spoil = FAULTS[name]
    spoiled = good()
    spoil(spoiled)
    review = Review()
    found = review.check(spoiled)
    assert reasons(found) == [reason] and found[0].detail
    assert review.accepted == 0 and review.counts() == {(reason, "coco", spoiled["kind"]): 1}


@pytest.mark.parametrize(
    ("kind", "meta", "question", "leaks"),
    [
        ("shift", {}, "Show me the dog.", False),
        ("shift", {}, "Which of them is the dog?", True),
        ("progressive", {}, "Show me the dog.", True),
        ("progressive", {"moves": {1: "ask"}}, "Show me the dog.", False),
        ("progressive", {"moves": {1: "ask"}}, "What about the dog?", False),
        ("progressive", {"moves": {1: "ask"}}, "What does the dog chase?", True),
        ("progressive", {"moves": {1: "two"}}, "Which one is the dog?", False),
        ("progressive", {"moves": {1: "target"}}, "Show me the dog.", True),
        ("progressive", {"moves": {1: "ask"}, "functional": []}, "What does the dog chase?", False),
        ("shift", {"moves": {1: "next"}, "functional": [0]}, "Show me the dog.", True),
    ],
)
def test_who_may_name_the_answer(kind: str, meta: dict[str, object], question: str, leaks: bool) -> None:
    dog = box(10, 20)
    one = record(
        Turn.user(question), reply(1, 1, "dog", dog), Turn.user(CLOSING), reply(2, 3, "dog", dog), kind=kind, **meta
    )
    assert reasons(inspect(one)) == (["leak"] if leaks else [])


def test_the_focus_is_not_named_before_it_was_told() -> None:
    said = Turn("assistant", (Words("It is a dog."),))
    for first, expected in (("What is it?", []), ("What does the dog do?", ["leak"])):
        one = record(Turn.user(first), said, Turn.user("How old is the dog?"), said, Turn.user(CLOSING),
                     reply(1, 5, "dog", box(10, 20)))  # fmt: skip
        assert reasons(inspect(one)) == expected


def edited(operator: Operator, second: NDArray[np.bool_], undo: bool = False) -> Record:
    turns = [Turn.user("Show me the dog."), reply(1, 1, "dog", box(10, 20)),
             Turn.user("Now the tail."), reply(2, 3, "tail", second, operator)]  # fmt: skip
    if undo:
        turns += [Turn.user("Undo that."), Turn("assistant", (Mark(Operator.UNDO), Words("Undone.")))]
    moves = {1: "ask", 3: "cut" if operator is Operator.CUT else "add", 5: "undo"}
    return record(*turns, kind="edit", focus="dog" if undo else "tail", moves=moves)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (edited(Operator.ADD, box(100, 20)), []),
        (edited(Operator.ADD, box(100, 20, 5, 5)), ["small focus"]),
        (edited(Operator.ADD, box(100, 20, 5, 5), undo=True), []),
        (edited(Operator.CUT, box(10, 20, 20, 30)), []),
        (edited(Operator.CUT, box(10, 20, 38, 30)), ["small focus"]),  # a sliver of 2 pixels stays
        ({**edited(Operator.CUT, box(10, 20, 20, 30)), "focus": "dog"}, ["focus"]),
        ({**edited(Operator.ADD, box(100, 20), undo=True), "focus": "tail"}, ["focus"]),
    ],
)
def test_the_target_after_edits(one: Record, expected: list[str]) -> None:
    assert reasons(inspect(one)) == expected


def test_a_refusal_has_no_focus() -> None:
    refused = Turn("assistant", (Mark(Operator.REJECT), Words("I see no cat here.")))
    turns = (Turn.user("Show me the dog."), reply(1, 1, "dog", box(10, 20)), Turn.user("And the cat?"), refused)
    moves = {1: "ask", 3: "absent"}
    assert inspect(record(*turns, kind="absent", focus="", moves=moves)) == []
    assert reasons(inspect(record(*turns, kind="absent", focus="dog", moves=moves))) == ["focus"]
    assert reasons(inspect(record(*turns, kind="shift", focus="", moves=moves))) == ["focus"]


def other(one: Record, **changes: object) -> Record:
    """The same record under another id, with changes."""
    return {**copy.deepcopy(one), "id": "b", **changes}  # type: ignore[typeddict-item, return-value]


def reworded(one: Record, question: str = "What here could bark at a postman?") -> Record:
    changed = other(one)
    say(changed, 0, question)
    return changed


def renamed(one: Record, phrase: str) -> Record:
    changed = reworded(one)
    for turn in changed["turns"][1::2]:
        turn["text"] = turn["text"].replace(changed["focus"], phrase)
        turn["content"][1]["text"] = turn["regions"][0]["phrase"] = phrase
    changed["focus"] = phrase
    return changed


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (reworded(good()), []),
        (other(good(), id="a", image_id="elsewhere", image="elsewhere.jpg"), ["duplicate"]),
        (other(good()), ["duplicate"]),
        (reworded(good(), f"  {QUESTION}".strip().lower().rstrip("?")), ["duplicate"]),
        (reworded(good(box(90, 90))), ["mask and phrase"]),
        (renamed(good(), "kite"), ["mask and phrase"]),
        (renamed(good(), "brown dog"), []),
        (other(good(), image_id="elsewhere", image="elsewhere.jpg"), []),
    ],
    ids=["reworded", "id", "same", "same but for marks", "other mask", "other phrase", "synonym", "other photo"],
)
def test_against_an_accepted_record(second: Record, expected: list[str]) -> None:
    review = Review()
    assert review.check(good()) == []
    assert reasons(review.check(second)) == expected


def test_what_was_rejected_is_not_remembered() -> None:
    review = Review()
    spoiled = good(box(90, 90))
    spoiled["hops"] = 0
    assert reasons(review.check(spoiled)) == ["schema"] and review.check(good()) == []


def test_within_a_record_a_phrase_has_one_mask() -> None:
    one = good()
    one["turns"][3]["regions"][0]["rle"] = rle(box(90, 90))
    assert reasons(Review().check(one)) == ["mask and phrase"]


def test_wordings_are_repeated_so_often_and_no_more() -> None:
    review = Review(repeats=2)
    found = [
        reasons(review.check({**good(), "id": f"r{n}", "image_id": f"p{n}", "image": f"p{n}.jpg"})) for n in range(4)
    ]
    assert found == [[], [], ["repeated wording"], ["repeated wording"]]
    assert review.repeated == 1 and "2 of 4 accepted; 1 of them repeat" in review.table()


def test_the_scorer_of_fit() -> None:
    assert reasons(Review(fit=lambda _: 0.49).check(good())) == ["poor fit"]
    assert Review(fit=lambda _: 0.5).check(good()) == []
    assert Review(fit=lambda _: 0.3, least_fit=0.2).check(good()) == []


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Two directions of meaning: of barking, and the rest."""
    return np.array([[0, 1] if "bark" in text else [1, 0] for text in texts], np.float32)


def test_an_answer_beside_the_point_is_off_topic() -> None:
    assert Review(embed).check(good()) == []
    assert reasons(Review(embed).check(reworded(good()))) == ["off topic"]
    leaning = reworded(good())
    leaning["meta"]["moves"]["1"] = "ask_use"
    assert Review(embed).check(leaning) == []
    assert Review(embed).check({**reworded(good()), "kind": "text"}) == []


def test_nearly_the_same_words_about_the_same_target() -> None:
    review = Review(embed)
    near = reworded(good(), "Which animal here wags its tail?")
    assert review.check(good()) == [] and reasons(review.check(near)) == ["near-duplicate"]
    elsewhere = {**near, "image_id": "other", "image": "other.jpg"}
    assert review.check(elsewhere) == []  # type: ignore[arg-type]
    apart = renamed(good(box(90, 90)), "cat")
    say(apart, 0, "Which animal here wags its tail?")
    assert review.check({**apart, "id": "c"}) == []


def test_sift_warms_and_checks_in_order() -> None:
    asked: list[int] = []

    def counted(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.append(len(texts))
        return embed(texts)

    spoiled = other(good())
    spoiled["turns"].clear()
    found = list(Review(counted).sift(iter([good(), spoiled, other(good(), id="c")]), chunk=2))
    assert [one["id"] for one, _ in found] == ["a", "b", "c"]
    assert [reasons(why) for _, why in found] == [[], ["schema"], ["duplicate"]]
    assert asked[0] == 4  # two user turns, and the answer to the question with its phrase


def test_the_table_counts_by_reason_source_and_kind() -> None:
    review = Review()
    review.check(good())
    review.check({**good(), "id": "b", "source": "ccp", "hops": 0})
    review.check({**good(), "id": "c", "source": "ccp", "kind": "shift", "focus": "cat", "image_id": "q", "image": "q"})
    assert review.counts() == {("focus", "ccp", "shift"): 1, ("schema", "ccp", "progressive"): 1}
    assert review.table().splitlines() == [
        "| reason | all | ccp | coco | progressive | shift |",
        "|---|---:|---:|---:|---:|---:|",
        "| checked | 3 | 2 | 1 | 2 | 1 |",
        "| focus | 1 | 1 | 0 | 0 | 1 |",
        "| schema | 1 | 1 | 0 | 1 | 0 |",
        "",
        "1 of 3 accepted; 0 of them repeat what was said about another photo.",
    ]


def test_which_phrases_may_share_a_mask() -> None:
    assert alike("left person", "larger person") and alike("handle of the cup", "mug handle")
    assert alike("blade of the knife", "knife edge")  # the knowledge base says so
    assert not alike("dog", "kite")


def test_every_move_of_the_sampler_is_known() -> None:
    assert set(sampler.MOVES) <= set(MOVES)


def sampled(photos: list[AnnotatedPhoto], seeds: int) -> list[Record]:
    return [
        record_of(
            sample(photo, np.random.default_rng([seed, number]), turns=(2, 4)),
            id=f"{number}-{seed}", image_id=f"{photo.source}/{photo.id}", image=str(photo.path), size=photo.size,
        )
        for number, photo in enumerate(photos)
        for seed in range(seeds)
    ]  # fmt: skip


def test_what_is_sampled_from_drawn_photos_passes() -> None:
    found = [inspect(one) for one in sampled(list(PHOTOS.values()), 60)]
    assert sum(not why for why in found) >= 0.95 * len(found)


@pytest.mark.parametrize(("source", "step"), [("instructpart", 4), ("coco128", 2)])
def test_what_is_sampled_from_real_photos_passes(shared_data: Path, source: str, step: int) -> None:
    where, reader = SOURCES[source]
    if not (shared_data / where).exists():
        pytest.skip(f"needs ../shared/data/{where}")
    photos = [photo for photo in reader(shared_data / where, None)[::step] if askable(photo)]
    review = reviewing.Review()
    records = sampled(photos, 2)
    for one in records:
        review.check(one)
    assert review.accepted >= 0.95 * len(records), review.table()
