"""Questions, relations and paths of the grounded teacher."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miras.annotate.grounded import tree
from miras.annotate.grounded.dialogues import dialogue, shared_nodes
from miras.annotate.grounded.tree import DEEP, Path, elements, nodes, path, place, properties, questions, relation
from miras.core.types import AnnotatedPhoto, Name
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.target import Target
from miras.data.language import knowledge
from miras.data.language.knowledge import says_label
from tests.data.dialogues.test_sampler import KNIFE, PHOTOS, note, photo


def scene(name: str | AnnotatedPhoto) -> Scene:
    return Scene(PHOTOS[name] if isinstance(name, str) else name, knowledge.load())


def target(of: Scene, phrase: str) -> Target:
    return next(t for t in of.targets if t.phrase == phrase)


def paths(name: str, count: int = 60) -> list[Path]:
    of = scene(name)
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        one = elements(of)[int(rng.integers(len(elements(of))))]
        if (steps := path(of, one, 1 + seed % 4, rng)) is not None:
            found.append(steps)
    return found


def test_instructions_of_people_come_first_and_as_they_are() -> None:
    of = scene("knife")
    asked = questions(of, of.targets[0])
    assert [q.content for q in asked if q.sort == "instruction"] == list(KNIFE[:2])
    assert all(q.score == DEEP for q in asked if q.sort == "instruction")


def test_questions_that_fit_two_things_are_weak_and_dropped() -> None:
    entry = knowledge.load().entries["hood of the car"]
    twin = replace(entry, phrase="pants", object="", part="", also=(), questions=("Only the pants?", *entry.questions))
    base = knowledge.load()
    mixed = replace(base, entries={**base.entries, "pants": twin})
    both = photo("x", note("pants", (0, 0, 30, 30)), note("hood", (50, 30, 90, 60), "hood of the car"))
    alone = photo("x", note("hood", (50, 30, 90, 60), "hood of the car"))
    here, single = Scene(both, mixed), Scene(alone, mixed)
    kept = {q.content for q in questions(here, target(here, "hood of the car"))}
    assert not kept & {*entry.questions, *entry.uses}
    assert {*entry.questions, *entry.uses} <= {q.content for q in questions(single, target(single, "hood of the car"))}
    assert "Only the pants?" not in {q.content for q in questions(here, target(here, "pants"))}  # names its answer


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("shirt", "pants", "just below"),
        ("pants", "shirt", "just above"),
        ("hair", "shoes", ""),  # far apart
        ("left mirror of the car", "hood of the car", ""),
        ("person", "shoes", "within"),
    ],
)
def test_how_one_thing_lies_to_another(first: str, second: str, expected: str) -> None:
    of = scene("car" if "car" in first else "outfit")
    assert relation(of, target(of, first), target(of, second)) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 10, 10), "in the upper left of the picture"),
        ((90, 50, 100, 60), "in the lower right of the picture"),
        ((45, 25, 55, 35), "in the middle of the picture"),
        ((45, 50, 55, 60), "near the bottom of the picture"),
        ((0, 25, 10, 35), "on the left side of the picture"),
        ((0, 0, 100, 40), ""),
    ],
)
def test_where_a_thing_is(box: tuple[int, int, int, int], expected: str) -> None:
    of = scene(photo("coco", note("dog", box)))
    assert place(of, of.targets[0]) == expected


@pytest.mark.parametrize("name", ["street", "outfit", "car", "knife"])
def test_paths_have_their_hops_and_end_in_their_target(name: str) -> None:
    found = paths(name)
    assert len(found) > 10
    for steps in found:
        assert steps[-1].move == "close"
        assert [s.move for s in steps].count("close") == 1
        last = next(s for s in reversed(steps) if s.question is not None)
        assert last.target == steps[-1].target
        told = [s.move for s in steps if s.move in tree.PROPERTIES]
        assert len(told) == len(set(told))
    assert {len(steps) - 1 for steps in found} >= {1, 2, 3}


@pytest.mark.parametrize("hops", [0, 7])
def test_no_path_of_that_length(hops: int) -> None:
    of = scene("outfit")
    assert path(of, of.targets[0], hops, np.random.default_rng(0)) is None


def test_the_tree_shares_what_paths_have_in_common() -> None:
    of = scene("outfit")
    rng = np.random.default_rng(3)
    (one,) = [path(of, target(of, "shoes"), 1, rng)]
    assert one is not None
    other = (one[0], properties(of, target(of, "shoes"), (), rng)[0], one[1])
    assert shared_nodes([one, other]) == [1, 1]
    assert nodes([one, other])[(one[0].key,)] == [0, 1]
    assert shared_nodes([one]) == [0]


@pytest.mark.parametrize("name", ["street", "outfit", "car", "knife"])
@pytest.mark.parametrize("heldout", [False, True])
def test_dialogues_carry_masks_and_never_name_an_answer_early(name: str, heldout: bool) -> None:
    of = scene(name)
    for seed, steps in enumerate(paths(name)):
        example = dialogue(of, steps, np.random.default_rng(seed), heldout)
        turns = example.conversation.turns
        assert len(turns) == 2 * len(steps)
        assert example.hops == len(steps) - 1
        assert example.focus == steps[-1].target.phrase  # type: ignore[union-attr]
        last = turns[-1].regions[0]
        assert last.phrase == example.focus
        assert np.array_equal(last.mask, of.mask(steps[-1].target))  # type: ignore[arg-type]
        named = [p.region for t in turns for p in t.content if isinstance(p, Name)]
        assert named == list(range(1, len(named) + 1)) == [r.id for r in example.conversation.regions]
        assert all(turns[i].regions for i, move in example.meta["moves"].items() if move in ("target", "close"))
        for turn in turns:
            assert not any(mark in turn.text for mark in "{}[]")
        for at in example.meta["functional"]:
            entry = tree.entry_of(of, steps[at // 2].target)  # type: ignore[arg-type]
            question = steps[at // 2].question
            if entry is not None and question is not None and question.sort != "instruction":
                assert not says_label(entry, turns[at].text), turns[at].text


def test_same_seed_same_words() -> None:
    of, steps = scene("outfit"), paths("outfit")[0]
    first, second = (dialogue(of, steps, np.random.default_rng(5)) for _ in range(2))
    assert [t.text for t in first.conversation.turns] == [t.text for t in second.conversation.turns]


def test_it_becomes_they() -> None:
    of = scene("outfit")
    shoes = target(of, "shoes")
    steps = (tree.Step("target", shoes, questions(of, shoes)[0]), tree.Step("ask_place", shoes, answer="here"))
    for seed in range(30):
        turns = dialogue(of, (*steps, tree.Step("close", shoes)), np.random.default_rng(seed)).conversation.turns
        assert " it " not in f" {turns[2].text} {turns[3].text} ".lower()
