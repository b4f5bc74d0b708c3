"""Recorded conversations come back as they were said, and stay true when their photo is cropped or mirrored."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.grammar import render
from miras.core.masks import decode_rle, encode_rle
from miras.core.types import (
    AnnotatedPhoto,
    Annotation,
    Conversation,
    Example,
    Mark,
    Name,
    Operator,
    Region,
    Turn,
    Words,
)
from miras.data.dialogues import sampler
from miras.data.formats.jsonl import write_jsonl
from miras.data.record import Record, record_of
from miras.train.data import augment
from miras.train.data.augment import Strength
from miras.train.data.conversations import View, at_size, augmented, pack, read, seen, typed, versions
from miras.train.data.sample import Sample
from tests.data.made import photo as photo_file
from tests.data.made import talk as talk_record

SIZE = (80, 120)
PLAIN = Strength(colours=0, hue_shift=0, grey=0)


def box(y0: int, x0: int, y1: int, x1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


DOOR, WHEEL, LAMP = box(20, 10, 60, 40), box(50, 60, 70, 80), box(10, 90, 20, 110)
NOTES = tuple(
    Annotation(label, f"{label} of the car", encode_rle(mask))
    for label, mask in (
        ("front left door", DOOR),
        ("wheel", WHEEL),
        ("back right light", LAMP),
        ("hood", box(0, 0, 9, 9)),
    )
)
CAR = AnnotatedPhoto("p", Path("p.jpg"), SIZE, NOTES, "car-parts", frozenset({"trunk", "wheel", "back left light"}))


def sample(photo: AnnotatedPhoto = CAR) -> Sample:
    pixels = np.zeros((*photo.size, 3), np.uint8)
    for note, colour in zip(photo.annotations, ((250, 0, 0), (0, 250, 0), (0, 0, 250), (90, 90, 90)), strict=False):
        pixels[decode_rle(note.rle)] = colour
    return Sample(pixels, photo)


def record(*replies: Turn | str, asks: tuple[str, ...] = (), kind: str = "edit", image: str = "/p.jpg") -> Record:
    """A record whose replies answer `asks`."""
    turns: list[Turn] = []
    for i, reply in enumerate(replies):
        ask = asks[i] if i < len(asks) else "And now?"
        turns += [Turn.user(ask), reply if isinstance(reply, Turn) else Turn("assistant", (Words(reply),))]
    example = Example(Path(image), Conversation(tuple(turns)), "", kind, 1, "car-parts")
    return record_of(example, id="r", image_id="car-parts/p", image=image, size=SIZE)


def named(phrase: str, mask: NDArray[np.bool_], id: int = 1, operator: Operator = Operator.REPLACE) -> Turn:
    mark = () if operator is Operator.REPLACE else (Mark(operator),)
    return Turn(
        "assistant", (*mark, Words("It is the"), Name(phrase, id), Words(".")), (Region(id, phrase, mask, 1, operator),)
    )


def whole(flip: bool = False) -> View:
    return View(SIZE, (0, 0, SIZE[1], SIZE[0]), flip, SIZE)


def said(conversation: Conversation) -> list[str]:
    return [turn.text for turn in conversation.turns]


@pytest.mark.parametrize("through_file", [False, True], ids=["record", "JSONL"])
def test_sampled_dialogues_come_back_as_they_were(tmp_path, through_file):
    path = photo_file(tmp_path / "p.png", SIZE)
    rng = np.random.default_rng(0)
    examples = [sampler.sample(CAR, rng) for _ in range(30)]
    records = [
        record_of(example, id=str(i), image_id="p", image=path.as_posix(), size=SIZE)
        for i, example in enumerate(examples)
    ]
    if through_file:
        write_jsonl(records, tmp_path / "talk.jsonl")
        records = read(tmp_path / "talk.jsonl")
    marks = set()
    for example, got in zip(examples, map(pack, records), strict=True):
        old, new = example.conversation, got.conversation()
        assert render(new) == render(old)
        for a, b in zip(old.regions, new.regions, strict=True):
            assert (a.id, a.turn, a.operator, a.score) == (b.id, b.turn, b.operator, b.score)
            assert np.array_equal(a.mask, b.mask)
        marks |= {piece.operator for turn in new.turns for piece in turn.content if isinstance(piece, Mark)}
        assert seen(got, whole()) is not None
    assert marks == {Operator.ADD, Operator.CUT, Operator.UNDO, Operator.REJECT}


def test_regions_stand_in_the_order_in_which_they_are_named():
    pieces = (Name("wheel", 2), Words("and"), Name("door", 1))
    reply = Turn("assistant", pieces, (Region(1, "door", DOOR, 1), Region(2, "wheel", WHEEL, 1)))
    regions = pack(record(reply)).conversation().regions
    assert [(region.id, region.phrase) for region in regions] == [(2, "wheel"), (1, "door")]
    assert np.array_equal(regions[0].mask, WHEEL)


def spoiled(records: list[Record], how: str) -> list[Record]:
    first = records[0]
    if how == "no photo":
        first["image"] = "gone.jpg"
    elif how == "empty mask":
        first["turns"][1]["regions"][0]["rle"] = encode_rle(np.zeros((24, 32), bool))
    elif how == "size":
        first["width"] = 33
    elif how == "roles":
        first["turns"] = first["turns"][:1]
    elif how == "twice":
        records += copy.deepcopy(records)
    elif how == "name":
        first["turns"][1]["content"][1]["region"] = 7
    elif how == "blind":
        first["meta"]["without"] = ["photo"]
    return records


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no photo", "gone.jpg"), ("empty mask", "an empty one"), ("size", "33"), ("roles", "the user's turn"),
        ("twice", "an id of its own"), ("name", "region 7"), ("blind", "1 of 1 conversations"),
    ],
)  # fmt: skip
def test_faulty_data_is_refused_in_one_error(tmp_path, how, words):
    file = tmp_path / "talk.jsonl"
    write_jsonl(spoiled([talk_record(tmp_path / "p.png")], how), file)
    with pytest.raises(InputError) as caught:
        read(file)
    assert words in str(caught.value)
    if how != "blind":
        assert f"`miras data validate {file} --format jsonl` lists them all" in str(caught.value)


def test_lines_that_cannot_be_read_count_as_faults(tmp_path):
    file = tmp_path / "talk.jsonl"
    write_jsonl([talk_record(tmp_path / "p.png")], file)
    file.write_text("{\n" * 5 + file.read_text())
    with pytest.raises(InputError, match=r"got 5: .*line 1.*line 3.*and 2 more"):
        read(file)


def test_a_mirror_swaps_sides_in_masks_and_in_every_word():
    talk = pack(
        record(
            named("front left door of the car", DOOR),
            Turn("assistant", (Mark(Operator.REJECT), Words("I see no left mirror."))),
            asks=("Which door is on the left?", "All right, and the mirror to the Right?"),
        )
    )
    view = whole(flip=True)
    conversation = seen(talk, view)
    assert conversation is not None
    assert said(conversation) == [
        "Which door is on the right?", "It is the front right door of the car.",
        "All right, and the mirror to the Left?", "I see no right mirror.",
    ]  # fmt: skip
    (region,) = conversation.regions
    assert region.phrase == "front right door of the car"
    assert np.array_equal(region.mask, DOOR[:, ::-1])


@pytest.mark.parametrize("flip", [False, True])
def test_regions_are_cropped_as_annotations_are(flip):
    view = View(SIZE, (5, 3, 85, 73), flip, (70, 80))
    photo = augment.cropped(sample(), view.box)
    photo = augment.flip(photo) if flip else photo
    replies = [named("front left door of the car", DOOR), named("wheel of the car", WHEEL, 2, Operator.ADD)]
    conversation = seen(pack(record(*replies)), view)
    assert conversation is not None
    notes = {note.phrase: note for note in photo.photo.annotations}
    for region in conversation.regions:
        assert encode_rle(region.mask) == notes[region.phrase].rle


WHEEL_OF_DOOR = [named("door", DOOR), named("left half of the door", box(20, 10, 60, 25), 2, Operator.CUT)]


@pytest.mark.parametrize(
    ("replies", "crop", "stays"),
    [
        ([named("wheel", WHEEL)], (58, 0, 120, 80), True),
        ([named("wheel", WHEEL)], (0, 0, 66, 80), False),  # 30% of it
        ([named("wheel", WHEEL)], (0, 0, 68, 80), True),  # 40%
        ([named("dot", box(0, 0, 2, 2))], (0, 0, 60, 80), True),  # tiny, and all of it
        ([named("dot", box(0, 0, 4, 4))], (2, 0, 60, 80), False),  # 8 pixels left
        (WHEEL_OF_DOOR, (12, 0, 120, 80), True),
        (WHEEL_OF_DOOR, (0, 0, 25, 80), False),  # the cut would leave nothing
        ([Turn("assistant", (Mark(Operator.REJECT), Words("There is no dog.")))], (0, 0, 40, 40), True),
    ],
)
def test_a_crop_that_takes_too_much_drops_the_conversation(replies, crop, stays):
    x0, y0, x1, y1 = crop
    assert (seen(pack(record(*replies)), View(SIZE, crop, False, (y1 - y0, x1 - x0))) is not None) == stays


def test_written_text_must_stay_whole():
    line = record(named("line of text", WHEEL), kind="text")
    view = View(SIZE, (0, 0, 76, 80), False, (80, 76))
    assert seen(pack(line), view) is None
    assert seen(pack({**line, "kind": "edit"}), view) is not None
    assert pack(line).still


@pytest.mark.parametrize(
    ("text", "wide", "still"),
    [
        ("Where is the handle?", False, False),
        ("The one on the left.", True, False),
        ("Which cup is larger?", True, False),
        ("And the rightmost?", True, False),
        ("What stands next to it?", True, False),
        ("Now all the cups.", True, False),
        ("The other one, please.", True, False),
        ("It lies high up.", True, False),
        ("Where is the front left door of the car?", False, False),
        ("Where is the back left door on this one?", False, False),
        ("All right, what opens it?", False, False),
        ("What is right behind it?", True, True),
        ("What is left to see?", True, True),
        ("What is at 3 o'clock?", False, True),
        ("Which writing is on the shirt?", False, True),
    ],
)
def test_words_decide_which_views_are_true(text, wide, still):
    talk = pack(record(named("thing", DOOR), asks=(text,)))
    assert (talk.wide, talk.still) == (wide, still)


def test_words_about_nothing_that_is_masked_need_the_whole_photo():
    assert pack(record("A man walks a dog.", named("dog", DOOR))).wide
    assert not pack(record(named("dog", DOOR), "It likes to run.")).wide


def test_views_keep_photo_annotations_and_talk_together():
    talk = pack(record(named("wheel of the car", WHEEL), named("back right light of the car", LAMP, 2)))
    rng = np.random.default_rng(0)
    sizes, phrases = set(), set()
    for _ in range(60):
        new, conversations = augmented(sample(), [talk], rng, Strength(colours=0, hue_shift=0, grey=0, coarse=0.3))
        (conversation,) = conversations
        sizes.add(new.photo.size)
        for region in conversation.regions:
            assert region.mask.shape == new.pixels.shape[:2] == new.photo.size
            channel = 1 if region.phrase == "wheel of the car" else 2
            assert new.pixels[region.mask][:, channel].mean() > 150
            assert new.pixels[~region.mask][:, channel].mean() < 40
            phrases.add(region.phrase)
    assert len(sizes) > 20
    assert phrases == {"wheel of the car", "back right light of the car", "back left light of the car"}


@pytest.mark.parametrize(
    ("ask", "one_size", "one_side"),
    [("Where is it?", False, False), ("Which is larger?", True, False), ("Where are the letters?", False, True)],
)
def test_some_words_allow_only_some_views(ask, one_size, one_side):
    talk = pack(record(named("door", DOOR), asks=(ask,)))
    rng = np.random.default_rng(1)
    views = [augmented(sample(), [talk], rng, PLAIN)[0] for _ in range(25)]
    assert ({view.photo.size for view in views} == {SIZE}) == one_size
    mirrored = any("front right door" in {note.label for note in view.photo.annotations} for view in views)
    assert mirrored != one_side


def test_crops_fall_around_regions_where_there_are_no_annotations():
    bare = Sample(sample().pixels, AnnotatedPhoto("p", Path("p.jpg"), SIZE, (), "mine"))
    talk = pack(record(named("lamp", LAMP)))
    rng = np.random.default_rng(2)
    drawn = [augmented(bare, [talk], rng, PLAIN) for _ in range(20)]
    assert any(new.photo.size != SIZE for new, _ in drawn)
    assert all(len(conversations) == 1 for _, conversations in drawn)
    assert all(new.photo.annotations == () for new, _ in drawn)


def test_colours_that_are_spoken_of_keep_their_hue():
    strong = Strength(colours=0, hue_shift=1, hue=100, grey=1, flip=0, whole=1)
    for ask, kept in (("Where is the red thing?", True), ("Where is it?", False)):
        talk = pack(record(named("door", DOOR), asks=(ask,)))
        new, _ = augmented(sample(), [talk], np.random.default_rng(0), strong)
        assert np.array_equal(new.pixels, sample().pixels) == kept


def test_what_is_too_small_for_the_photo_as_held_keeps_a_pixel():
    dot = box(31, 61, 32, 62)
    small = at_size(dot, (20, 30))
    assert np.argwhere(small).tolist() == [[7, 15]]
    assert at_size(dot, SIZE) is dot
    assert not at_size(dot & False, (20, 30)).any()


def test_files_of_one_photograph():
    plain, painted = record(named("door", DOOR)), record(named("word", DOOR), kind="text", image="/painted.jpg")
    other = {**record(named("door", DOOR), image="/other.jpg"), "height": 40}
    files = {file.photo.path.name: file for file in versions(CAR, [plain, painted, plain, other])}
    assert {name: len(file.talks) for name, file in files.items()} == {"p.jpg": 2, "painted.jpg": 1, "other.jpg": 1}
    assert files["p.jpg"].photo.annotations == CAR.annotations
    assert files["painted.jpg"].photo.annotations == files["other.jpg"].photo.annotations == ()
    assert files["painted.jpg"].photo.vocabulary == frozenset()
    assert files["other.jpg"].photo.size == (40, 120)


def test_the_annotated_photo_is_there_without_a_record_of_its_own():
    painted = record(named("word", DOOR), kind="text", image="/painted.jpg")
    first, second = versions(CAR, [painted])
    assert (first.photo, first.talks, len(second.talks)) == (CAR, (), 1)
    assert [file.photo for file in versions(CAR, [])] == [CAR]
    written = versions(CAR, [{**painted, "image": "p.jpg"}])
    assert [len(file.photo.annotations) for file in written] == [4]  # the annotated file itself


def test_what_is_typed_changes_no_reply_and_no_written_text():
    talk = pack(record(named("door", DOOR))).conversation()
    new = [typed(talk, np.random.default_rng(seed), 1.0) for seed in range(20)]
    assert len({one.turns[0].text for one in new}) > 5
    assert all(one.turns[1] == talk.turns[1] for one in new)
    written = pack(record(named("line 'OPEN'", WHEEL))).conversation()
    assert all(typed(written, np.random.default_rng(seed), 1.0) is written for seed in range(20))
