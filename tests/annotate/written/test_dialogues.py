"""Conversations about written words: their turns, masks, questions that give nothing away, and the files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.annotate.review.dataset import Review
from miras.annotate.review.language import says
from miras.annotate.written.designs import knowledge
from miras.annotate.written.dialogues import EXCHANGES, build, dialogue
from miras.annotate.written.printing import Written, write_on
from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.selection import Steps, advance
from miras.core.types import AnnotatedPhoto, Annotation, Example, Mark, Name, Operator
from miras.data.record import example_of, record_of

SIZE = (360, 400)
BOXES = {
    "shirt": (slice(40, 330), slice(20, 190)), "front bumper": (slice(200, 350), slice(200, 395)),
    "wall": (slice(10, 190), slice(200, 395)),
}  # fmt: skip


def photo_of(tmp: Path, *labels: str) -> AnnotatedPhoto:
    pixels = np.full((*SIZE, 3), 90, np.uint8)
    pixels[:36] = 245
    path = tmp / "photo.png"
    Image.fromarray(pixels).save(path)
    masks = {label: np.zeros(SIZE, np.bool_) for label in labels}
    for label, mask in masks.items():
        mask[BOXES[label]] = True
    notes = tuple(
        Annotation(label, f"{label} of the car" if "bumper" in label else label, encode_rle(mask))
        for label, mask in masks.items()
    )
    return AnnotatedPhoto("photo", path, SIZE, notes, "test")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedPhoto:
    return photo_of(tmp_path_factory.mktemp("written"), *BOXES)


@pytest.fixture(scope="module")
def talks(given: AnnotatedPhoto) -> list[tuple[Written, Example]]:
    """Five talks about each of 30 photos, every fifth with words and wordings of the test split."""
    with Image.open(given.path) as image:
        pixels = np.asarray(image)
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        written = write_on(pixels, given, rng, heldout=seed % 5 == 0)
        assert written is not None
        found += [(written, dialogue(written, given, rng)) for _ in range(5)]
    return found


def test_every_conversation_passes_review(talks: list[tuple[Written, Example]]) -> None:
    for number, (_, example) in enumerate(talks):
        record = record_of(example, id=str(number), image_id=str(number), image=f"{number}.png", size=SIZE)
        assert Review().check(record) == []


def test_turns_and_regions_are_in_order(talks: list[tuple[Written, Example]]) -> None:
    for _, example in talks:
        turns = example.conversation.turns
        assert example.kind == "text" and EXCHANGES[0] <= len(turns) // 2 <= EXCHANGES[1]
        assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert [r.id for r in example.conversation.regions] == list(range(1, len(example.conversation.regions) + 1))
        for index, turn in enumerate(turns):
            named = [piece.region for piece in turn.content if isinstance(piece, Name)]
            assert named == [r.id for r in turn.regions] and all(r.turn == index for r in turn.regions)
            refused = any(isinstance(piece, Mark) and piece.operator is Operator.REJECT for piece in turn.content)
            assert turn.role == "user" or refused is not bool(turn.regions)


def test_the_end_selects_the_focus_and_its_mask(talks: list[tuple[Written, Example]]) -> None:
    for written, example in talks:
        steps: Steps = ()
        for turn in example.conversation.turns[1::2]:
            steps = advance(steps, turn)
        masks = {"logo": [i.mask for i in written.regions if i.emblem]}
        masks["line"] = [i.mask for i in written.regions if i.text == example.meta["text"]]
        masks["word"] = [m for i in written.regions for w, m in i.words if f"word '{w}'" == example.focus]
        assert example.conversation.turns[-1].regions[-1].phrase == example.focus
        assert any(np.array_equal(steps[-1].mask, mask) for mask in masks[example.meta["target"]])


def test_no_question_names_its_answer_before_the_closing(talks: list[tuple[Written, Example]]) -> None:
    for _, example in talks:
        turns = example.conversation.turns
        for index in range(0, len(turns), 2):
            if example.meta["moves"][index + 1] != "close":
                assert not any(says(turns[index].text, r.phrase) for r in turns[index + 1].regions), turns[index].text
        assert all(move != "close" for index, move in example.meta["moves"].items() if index < len(turns) - 1)


def test_words_are_told_only_after_they_were_found(talks: list[tuple[Written, Example]]) -> None:
    """Nobody quotes what is written before the assistant did; what is quoted else is nowhere in the photo."""
    refused = 0
    for written, example in talks:
        turns, moves = example.conversation.turns, example.meta["moves"]
        there = {word.lower() for i in written.regions for word in i.text.split()}
        for index in range(0, len(turns), 2):
            if moves[index + 1] == "absent" and "'" in turns[index].text:
                refused += 1
                quoted = turns[index].text.split("'")[1].lower()
                assert not there & set(quoted.split())
    assert refused > 3


def test_hops_count_what_is_left_unsaid(talks: list[tuple[Written, Example]]) -> None:
    for _, example in talks:
        moves = example.meta["moves"]
        unsaid = [i for i, move in moves.items() if move not in ("ask", "absent", "close")]
        assert example.hops == 1 + len(unsaid)
        assert example.meta["functional"] == [i - 1 for i in unsaid]
    assert len({example.hops for _, example in talks}) >= 3


def test_all_sorts_of_targets_and_moves_occur(talks: list[tuple[Written, Example]]) -> None:
    targets = Counter(example.meta["target"] for _, example in talks)
    moves = Counter(move for _, example in talks for move in example.meta["moves"].values())
    assert set(targets) == {"line", "word", "logo"} and targets["line"] > targets["word"]
    wanted = {"ask", "target", "ask_text", "ask_read", "ask_carrier", "ask_word", "ask_line", "absent", "close"}
    assert set(moves) == wanted


def test_heldout_wordings_stay_apart(talks: list[tuple[Written, Example]]) -> None:
    wordings = {k: v for k, v in knowledge()["wordings"].items() if k != "reply"}
    plain = {s: {t.lower().strip(" .?!") for v in wordings.values() for t in v[s] if "{" not in t}
             for s in ("train", "heldout")}  # fmt: skip
    heard = {True: set[str](), False: set[str]()}
    for _, example in talks:
        said = {turn.text.lower().strip(" .?!") for turn in example.conversation.turns[::2]}
        heard[example.meta["heldout"]] |= said
    assert not heard[True] & plain["train"] and not heard[False] & plain["heldout"]
    assert heard[True] & plain["heldout"] and heard[False] & plain["train"]


def test_there_are_many_wordings() -> None:
    for move, sides in knowledge()["wordings"].items():
        if move not in ("reply", "question"):
            assert len(set(sides["train"])) >= 12 and len(set(sides["heldout"])) >= 2, move


def test_records_give_the_example_back(talks: list[tuple[Written, Example]]) -> None:
    _, example = talks[0]
    record = record_of(example, id="1", image_id="photo", image="photo.png", size=SIZE)
    again = example_of(record, Path("."))
    assert [t.text for t in again.conversation.turns] == [t.text for t in example.conversation.turns]
    for mine, theirs in zip(example.conversation.regions, again.conversation.regions, strict=True):
        assert np.array_equal(mine.mask, theirs.mask) and mine.phrase == theirs.phrase


# Files


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "deep/c.jpeg"])
def test_build_writes_equal_bytes_and_names_its_file(given: AnnotatedPhoto, tmp_path: Path, name: str) -> None:
    sides = []
    for folder in ("one", "two"):
        out = tmp_path / folder / name
        examples = build(given, out, np.random.default_rng(5))
        assert examples is not None and 1 <= len(examples) <= 3
        assert all(example.image == out and example.conversation.regions[0].mask.shape == SIZE for example in examples)
        with Image.open(out) as image:
            assert image.size == (SIZE[1], SIZE[0])
        sides.append((out.read_bytes(), [t.text for e in examples for t in e.conversation.turns]))
    assert sides[0] == sides[1]


def test_a_png_holds_what_was_written(given: AnnotatedPhoto, tmp_path: Path) -> None:
    build(given, tmp_path / "a.png", np.random.default_rng(8))
    with Image.open(given.path) as image:
        written = write_on(np.asarray(image), given, np.random.default_rng(8))
    assert written is not None
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), written.photo)


def test_nothing_to_write_on_leaves_no_file(tmp_path: Path) -> None:
    assert build(photo_of(tmp_path), tmp_path / "out" / "a.png", np.random.default_rng(0)) is None
    assert not (tmp_path / "out").exists()


def test_bad_input_is_named(given: AnnotatedPhoto, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png, \.jpg"):
        build(given, tmp_path / "a.gif", np.random.default_rng(0))
    gone = AnnotatedPhoto("x", tmp_path / "none.jpg", SIZE, given.annotations, "test")
    with pytest.raises(InputError, match=r"none\.jpg"):
        build(gone, tmp_path / "a.png", np.random.default_rng(0))
