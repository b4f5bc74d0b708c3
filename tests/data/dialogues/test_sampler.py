"""Dialogues as a whole: `sampler`, and through it `talk` and `voice`."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.selection import Steps, advance
from miras.core.types import AnnotatedPhoto, Annotation, Example, Mark, Name, Operator, Turn
from miras.data.dialogues.manner import Manner
from miras.data.dialogues.sampler import KINDS, MOVES, askable, mirror_annotation, probe, sample
from miras.data.dialogues.scene import Scene
from miras.data.formats.annotated import SOURCES
from miras.data.language import knowledge, phrasing
from miras.data.language.knowledge import says_label

SIZE = (60, 100)
KNIFE = ("If I want to cut, which part?", "To cut, which part?", "Where is the blade?", "Blade?", "blade", "the blade")


def note(
    label: str, box: tuple[int, int, int, int], phrase: str = "", instructions: tuple[str, ...] = ()
) -> Annotation:
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Annotation(label, phrase or label, encode_rle(mask), instructions)


def photo(source: str, *notes: Annotation, vocabulary: tuple[str, ...] = ()) -> AnnotatedPhoto:
    return AnnotatedPhoto(f"{source}-photo", Path("p.jpg"), SIZE, notes, source, frozenset(vocabulary))


PHOTOS = {
    "street": photo(
        "coco", note("person", (0, 0, 20, 40)), note("person", (60, 0, 80, 40)), note("dog", (30, 30, 50, 60)),
        note("grass", (0, 45, 30, 60)), note("sky", (20, 0, 60, 25)),
        vocabulary=("person", "dog", "grass", "sky", "cat", "kite"),
    ),
    "outfit": photo(
        "ccp", note("hair", (10, 0, 20, 8)), note("shirt", (8, 8, 22, 30)), note("pants", (8, 30, 22, 50)),
        note("shoes", (8, 50, 22, 60)), vocabulary=("hair", "shirt", "pants", "shoes", "hat", "scarf"),
    ),
    "car": photo(
        "car-parts", note("left mirror", (0, 0, 10, 10), "left mirror of the car"),
        note("right mirror", (80, 0, 95, 10), "right mirror of the car"),
        note("hood", (20, 20, 60, 40), "hood of the car"), note("wheel", (0, 40, 20, 60), "wheel of the car"),
        vocabulary=("left mirror", "right mirror", "hood", "wheel", "trunk"),
    ),
    "knife": photo("instructpart", note("knife blade", (0, 0, 50, 10), "blade of the knife", KNIFE)),
}  # fmt: skip


def many(name: str, count: int = 150, **options: object) -> list[Example]:
    return [sample(PHOTOS[name], np.random.default_rng(seed), **options) for seed in range(count)]  # type: ignore[arg-type]


ALL = [(name, example) for name in PHOTOS for example in many(name)]


def replies(example: Example) -> list[tuple[str, str, Turn]]:
    """(move, the user's text, the reply) of each exchange."""
    turns = example.conversation.turns
    return [(move, turns[index - 1].text, turns[index]) for index, move in example.meta["moves"].items()]


def selections(example: Example) -> list[Steps]:
    steps: Steps = ()
    found = []
    for turn in example.conversation.turns[1::2]:
        steps = advance(steps, turn)
        found.append(steps)
    return found


def test_every_move_and_every_kind_appears() -> None:
    moves = Counter(move for _, example in ALL for move in example.meta["moves"].values())
    assert set(moves) == set(MOVES)
    assert {example.kind for _, example in ALL} == set(KINDS)


def test_turns_alternate_and_regions_are_numbered_in_reading_order() -> None:
    for _, example in ALL:
        turns = example.conversation.turns
        assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert all(turn.text.strip() and len(turn.content) == 1 for turn in turns[::2])
        assert [region.id for region in example.conversation.regions] == list(
            range(1, len(example.conversation.regions) + 1)
        )
        for index, turn in enumerate(turns):
            named = [piece.region for piece in turn.content if isinstance(piece, Name)]
            assert named == [region.id for region in turn.regions]
            assert all(region.turn == index and region.mask.any() for region in turn.regions)


@pytest.mark.parametrize(("least", "most"), [(1, 1), (2, 2), (2, 5), (4, 6)])
def test_length(least: int, most: int) -> None:
    lengths = {len(example.conversation.turns) // 2 for example in many("street", 60, turns=(least, most))}
    assert lengths <= set(range(least, most + 1))


@pytest.mark.parametrize(
    ("move", "operator"),
    [("add", Operator.ADD), ("cut", Operator.CUT), ("undo", Operator.UNDO), ("absent", Operator.REJECT)],
)
def test_the_operator_stands_first_and_only_there(move: str, operator: Operator) -> None:
    for _, example in ALL:
        for done, _, reply in replies(example):
            marks = [piece.operator for piece in reply.content if isinstance(piece, Mark)]
            assert (
                (marks == [operator] and isinstance(reply.content[0], Mark)) if done == move else operator not in marks
            )
            if done in ("undo", "absent", "chat"):
                assert not reply.regions


def test_operators_do_what_they_promise() -> None:
    for _, example in ALL:
        before: Steps = ()
        for (move, _, reply), after in zip(replies(example), selections(example), strict=True):
            if move == "add":
                assert after[-1].mask.sum() > before[-1].mask.sum()
            elif move == "cut":
                assert 0 < after[-1].mask.sum() < before[-1].mask.sum()
            elif move == "undo":
                assert before and len(after) == len(before) - 1
            elif move in ("absent", "chat"):
                assert after == before
            else:
                assert np.array_equal(after[-1].mask, np.logical_or.reduce([r.mask for r in reply.regions]))
            before = after


def test_absent_things_are_absent_and_the_focus_is_empty() -> None:
    for name, example in ALL:
        present = {note.phrase for note in PHOTOS[name].annotations} | {note.label for note in PHOTOS[name].annotations}
        rejected = [_plain(text) for move, text, _ in replies(example) if move == "absent"]
        assert not [
            t for t in rejected for label in present if t.endswith((f"the {label}", f"a {label}", f"any {label}"))
        ]
        if example.kind == "absent":
            assert example.focus == "" and replies(example)[-1][0] == "absent"


def test_the_other_one_is_the_twin() -> None:
    twins = {
        frozenset({"left person", "right person"}),
        frozenset({"left mirror of the car", "right mirror of the car"}),
    }
    seen = 0
    for _, example in ALL:
        said = replies(example)
        for (_, _, first), (move, _, second) in pairwise(said):
            if move == "other":
                assert frozenset({first.regions[-1].phrase, second.regions[0].phrase}) in twins
                seen += 1
    assert seen > 10


def test_narrowing_goes_inside_the_selection() -> None:
    for _, example in ALL:
        before: Steps = ()
        for (move, _, _), after in zip(replies(example), selections(example), strict=True):
            if move == "narrow":
                assert not (after[-1].mask & ~before[-1].mask).any()
                assert after[-1].mask.sum() < before[-1].mask.sum()
            before = after


def test_focus_is_the_last_target() -> None:
    for _, example in ALL:
        move, _, reply = replies(example)[-1]
        if reply.regions:
            assert example.focus == reply.regions[-1].phrase
        assert example.hops >= 1 and move != "chat"


def test_functional_questions_never_say_the_label() -> None:
    base = knowledge.load()
    uses = {use: entry for entry in base.entries.values() for use in entry.uses}
    heard = 0
    for _, example in ALL:
        for _, text, reply in replies(example):
            for use, entry in uses.items():
                if reply.regions and use in text and entry.phrase == reply.regions[0].phrase:
                    assert not says_label(entry, text)
                    heard += 1
    assert heard > 10


def test_the_data_set_s_own_instructions_are_asked() -> None:
    texts = Counter(text for example in many("knife") for _, text, _ in replies(example))
    assert texts[KNIFE[0]] > 20
    assert all(texts[text] for text in KNIFE[:4])


def test_same_seed_same_dialogue() -> None:
    for name in PHOTOS:
        first, second = (sample(PHOTOS[name], np.random.default_rng(7)) for _ in range(2))
        assert [turn.content for turn in first.conversation.turns] == [
            turn.content for turn in second.conversation.turns
        ]
        assert (first.kind, first.focus, first.hops, first.meta) == (
            second.kind,
            second.focus,
            second.hops,
            second.meta,
        )


@pytest.mark.parametrize("move", ["undo", "thanks"])
def test_held_out_dialogues_use_held_out_wordings_only(move: str) -> None:
    done = {"undo": "undo", "thanks": "chat"}[move]
    held = {_plain(text) for text in phrasing.load().heldout[move] + phrasing.load().heldout["hello"]}
    trained = {_plain(text) for text in phrasing.load().train[move]}
    fresh = {_plain(t) for name in PHOTOS for e in many(name, 80, heldout=True) for m, t, _ in replies(e) if m == done}
    assert fresh and fresh <= held
    assert {_plain(t) for _, e in ALL for m, t, _ in replies(e) if m == done} & trained


def test_the_last_question_of_an_entry_is_held_out() -> None:
    questions = knowledge.load().entries["dog"].questions
    trained = {_plain(text) for example in many("street", 300) for _, text, _ in replies(example)}
    held = {_plain(text) for example in many("street", 300, heldout=True) for _, text, _ in replies(example)}
    assert any(_plain(q) in trained for q in questions[:-1]) and _plain(questions[-1]) not in trained
    assert not any(_plain(q) in held for q in questions[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_asked_for(kind: str) -> None:
    assert {example.kind for example in many("car", 30, kinds={kind: 1.0})} == {kind}


def test_what_cannot_be_sampled() -> None:
    empty = photo("test")
    assert not askable(empty) and askable(PHOTOS["knife"])
    with pytest.raises(InputError, match="large enough"):
        sample(empty, np.random.default_rng(0))
    with pytest.raises(InputError, match="riddle"):
        sample(PHOTOS["car"], np.random.default_rng(0), kinds={"riddle": 1.0})
    with pytest.raises(InputError, match="turns"):
        sample(PHOTOS["car"], np.random.default_rng(0), turns=(3, 2))


def test_mirror_annotation() -> None:
    before = note("left mirror", (0, 0, 10, 10), "left mirror of the car", ("On the left?",))
    flipped = note("any", (90, 0, 100, 10)).rle
    after = mirror_annotation(before, flipped)
    assert (after.label, after.phrase, after.instructions) == (
        "right mirror",
        "right mirror of the car",
        ("On the right?",),
    )
    assert after.rle == flipped


def test_real_photos(shared_data: Path) -> None:
    rng = np.random.default_rng(0)
    for one in [p for name in ("car-parts", "coco128") for p in _read(shared_data, name)[::10] if askable(p)]:
        example = sample(one, rng)
        final = selections(example)[-1]
        assert all(region.mask.shape == one.size and region.mask.any() for region in example.conversation.regions)
        assert not final or final[-1].mask.any()


def _read(root: Path, name: str) -> list[AnnotatedPhoto]:
    where, reader = SOURCES[name]
    return reader(root / where, None) if (root / where).exists() else []


def _plain(text: str) -> str:
    return text.lower().strip(" .?!")


def test_a_probe_names_something_absent_once():
    scene = Scene(PHOTOS["street"], knowledge.load())
    for seed in range(20):
        talk = probe(PHOTOS["street"], scene.absent, np.random.default_rng(seed))
        assert talk is not None
        (region,) = talk.regions
        assert region.phrase in {*scene.absent[0], *scene.absent[1]}
        assert not region.mask.any()
    assert probe(PHOTOS["street"], ([], []), np.random.default_rng(0)) is None


ROW = photo("row", *(note("cup", (x, 20, x + 12, 40)) for x in (2, 24, 50, 80)), note("dog", (30, 48, 60, 60)))
SHARED = Manner(referring=0.7, chat=0.4, existence=0.5)


def held(count: int = 300, **options: object) -> list[Example]:
    return [sample(ROW, np.random.default_rng(seed), manner=SHARED, **options) for seed in range(count)]  # type: ignore[arg-type]


def test_a_plain_manner_draws_nothing() -> None:
    for name, one in PHOTOS.items():
        for seed in range(30):
            first, second = (
                sample(one, np.random.default_rng(seed), **options)  # type: ignore[arg-type]
                for options in ({}, {"manner": Manner(), "pixels": np.zeros((*SIZE, 3), np.uint8)})
            )
            assert [t.content for t in first.conversation.turns] == [t.content for t in second.conversation.turns], name


def test_one_of_several_is_selected_alone_and_named_so_that_it_is_told_apart() -> None:
    shown = Scene(ROW, knowledge.load(), True)
    masks = {t.phrase: shown.mask(t) for t in shown.targets}
    found: Counter[str] = Counter()
    for example in held():
        for _, text, reply in replies(example):
            for region in reply.regions:
                assert np.array_equal(region.mask, masks[region.phrase]), (text, region.phrase)
                found[region.phrase] += 1
                if region.mask.sum() == 12 * 20:
                    assert region.phrase != "cup"
    assert {"leftmost cup", "rightmost cup", "second cup from the left", "third cup from the right", "cups"} <= set(
        found
    )


def test_the_singular_of_several_takes_one_and_says_which() -> None:
    asked = [
        reply for example in held() for _, text, reply in replies(example)
        if text.lower().strip(" .?!").endswith(("the cup", "the mug", "the tumbler")) and reply.regions
    ]  # fmt: skip
    assert len(asked) > 5
    assert {region.phrase for reply in asked for region in reply.regions} == {"leftmost cup"}


def test_the_other_one_of_many_is_asked_back_and_nothing_changes() -> None:
    seen = 0
    for example in held():
        before: Steps = ()
        for (move, _, reply), after in zip(replies(example), selections(example), strict=True):
            if move == "which":
                assert not reply.regions and "which" in reply.text.lower() and after == before
                seen += 1
            before = after
    assert seen > 3


def test_remarks_are_a_share_of_the_turns_and_change_nothing() -> None:
    examples = held()
    moves = Counter(move for example in examples for move in example.meta["moves"].values())
    assert 0.05 < moves["chat"] / moves.total() < 0.25
    for example in examples:
        before: Steps = ()
        for (move, _, reply), after in zip(replies(example), selections(example), strict=True):
            if move == "chat":
                assert after == before and not reply.regions
                assert all(not isinstance(piece, (Mark, Name)) for piece in reply.content)
            before = after


def test_existence_is_asked_as_often_as_place_of_present_and_absent_things() -> None:
    one = PHOTOS["street"]
    asked: Counter[tuple[str, bool]] = Counter()
    for seed in range(500):
        example = sample(one, np.random.default_rng(seed), manner=Manner(existence=0.5))
        for move, text, _ in replies(example):
            words = text.lower().split()
            if move in ("ask", "absent") and len(words) > 2:
                form = "exist" if {"a", "an", "any"} & set(words) else "ask" if "the" in words else ""
                asked[form, move == "absent"] += 1
    for absent in (False, True):
        share = asked["exist", absent] / (asked["exist", absent] + asked["ask", absent])
        assert 0.35 < share < 0.65, (absent, share)


def test_the_same_thing_asked_twice_has_the_same_answer() -> None:
    pairs = 0
    for seed in range(400):
        example = sample(PHOTOS["street"], np.random.default_rng(seed), manner=Manner(existence=0.5))
        for (move, _, first), (then, _, second) in pairwise(replies(example)):
            if move == then == "absent":
                assert not first.regions and not second.regions
                pairs += 1
    assert pairs > 3


def test_typing_changes_what_is_said_and_nothing_else() -> None:
    changed = 0
    for seed in range(100):
        plain = sample(PHOTOS["street"], np.random.default_rng(seed), turns=(1, 1))
        typed = sample(PHOTOS["street"], np.random.default_rng(seed), turns=(1, 1), manner=Manner(typos=1.0))
        changed += plain.conversation.turns[0].text != typed.conversation.turns[0].text
        assert plain.conversation.turns[1].content == typed.conversation.turns[1].content
    assert changed > 60


def alone(bare: float) -> dict[bool, float]:
    """Whether the thing is absent -> share of the first askings whose text is a name and nothing else."""
    shown = Scene(PHOTOS["street"], knowledge.load())
    names = {name.lower() for target in shown.targets for name in target.spoken}
    names |= {name.lower() for phrases in shown.absent for name in phrases}
    asked, found = Counter[bool](), Counter[bool]()
    for seed in range(400):
        example = sample(PHOTOS["street"], np.random.default_rng(seed), manner=Manner(bare=bare))
        for move, text, _ in replies(example):
            if move in ("ask", "absent"):
                plain = text.lower().strip(" .?!").removesuffix(", please")
                plain = plain.removeprefix("the ").removeprefix("a ").removeprefix("an ").removeprefix("all ")
                asked[move == "absent"] += 1
                found[move == "absent"] += plain in names
    return {absent: found[absent] / asked[absent] for absent in (False, True)}


def test_names_alone_are_as_many_as_wanted_of_present_and_absent_things_alike() -> None:
    none, half, all_ = (alone(share) for share in (0.0, 0.5, 1.0))
    for absent in (False, True):
        assert none[absent] < 0.12 < half[absent] < 0.9 * all_[absent], (none, half, all_)
        assert half[absent] > none[absent] + 0.1
    assert abs(all_[False] - all_[True]) < 0.2
