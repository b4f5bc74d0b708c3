"""Items follow from the seed and their number alone, and are mixed as asked."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import AnnotatedPhoto
from miras.data.dialogues.manner import Manner
from miras.train.data.augment import Strength
from miras.train.data.conversations import RecordedPhoto, versions
from miras.train.data.corpus import Corpus
from miras.train.data.photos import Album, Draw, Item, Items, Mix, Photos
from miras.train.data.sample import Sample
from miras.train.recipe.schema import Batch, Data, Recipe
from tests.train.data.test_conversations import CAR, DOOR, WHEEL, box, named, record, sample

ASK = "Say where it is."
"""No sampled dialogue says so."""
STILL = Strength(whole=1, flip=0, colours=0, hue_shift=0, grey=0)


def pictured(folder: Path, name: str, source: str = "car-parts", **changes) -> AnnotatedPhoto:
    path = folder / f"{name}.png"
    Image.fromarray(sample().pixels).save(path)
    return replace(CAR, id=name, path=path, source=source, **changes)


def files(photo: AnnotatedPhoto, talks: int = 0, painted: int = 0) -> tuple[RecordedPhoto, ...]:
    """The photo with recorded conversations about it, and about a file with text on it."""
    plain = [record(named("door", DOOR), asks=(ASK,), image=photo.path.as_posix()) for _ in range(talks)]
    written = photo.path.with_stem(f"{photo.path.stem}-written")
    Image.fromarray(255 - sample().pixels).save(written)
    text = [record(named("line", WHEEL), asks=(ASK,), kind="text", image=written.as_posix()) for _ in range(painted)]
    return versions(photo, plain + text)


def recorded(item: Item) -> list[bool]:
    return [talk.turns[0].text == ASK for talk in item.conversations]


def same(a: Item, b: Item) -> bool:
    if not np.array_equal(a.pixels, b.pixels) or a.photo != b.photo or len(a.conversations) != len(b.conversations):
        return False
    for one, two in zip(a.conversations, b.conversations, strict=True):
        if [turn.text for turn in one.turns] != [turn.text for turn in two.turns]:
            return False
        if not all(np.array_equal(r.mask, s.mask) for r, s in zip(one.regions, two.regions, strict=True)):
            return False
    return True


@pytest.fixture
def group(tmp_path) -> list[tuple[RecordedPhoto, ...]]:
    """Four photographs of two sources: with records, without, and with painted ones."""
    return [
        files(pictured(tmp_path, "a"), 3), files(pictured(tmp_path, "b")), files(pictured(tmp_path, "c"), 2, 2),
        files(pictured(tmp_path, "d", "ccp", annotations=()), 2),
    ]  # fmt: skip


def test_every_photo_once_before_any_comes_again():
    draw = Draw({"a": 5, "b": 3}, {"a": 3.0}, 1.0, seed=4, count=400)
    drawn: dict[str, list[int]] = {"a": [], "b": []}
    for index in range(400):
        name, number = draw(index)
        drawn[name].append(number)
    for name, size in (("a", 5), ("b", 3)):
        epochs = [drawn[name][i : i + size] for i in range(0, len(drawn[name]) // size * size, size)]
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
        assert len(set(map(tuple, epochs))) > 3
    assert 270 < len(drawn["a"]) < 330


def test_places_do_not_depend_on_how_many_there_are():
    sizes = {"a": 5, "b": 3}
    short, long = (Draw(sizes, {}, 0.1, seed=4, count=count) for count in (60, 600))
    other = Draw(sizes, {}, 0.1, seed=5, count=60)
    assert [short(i) for i in range(60)] == [long(i) for i in range(60)] != [other(i) for i in range(60)]


@pytest.mark.parametrize(
    ("shares", "other", "drawn"), [({"a": 1.0}, 0.0, {"a"}), ({"a": 0.0, "b": 1.0}, 0.0, {"b"}), ({}, 0.1, {"a", "b"})]
)
def test_sources_without_a_share_are_not_drawn(shares, other, drawn):
    draw = Draw({"a": 2, "b": 2}, shares, other, 0, 50)
    assert {draw(i)[0] for i in range(50)} == drawn


@pytest.mark.parametrize("shares", [{"a": 0.0}, {"a": -1.0}, {"a": float("nan")}])
def test_shares_that_draw_nothing_are_refused(shares):
    with pytest.raises(InputError, match=r"data\.shares"):
        Draw({"a": 2}, shares, 0.0, 0, 5)


def test_an_item_depends_on_seed_and_number_alone(group):
    mix = Mix(conversations=2)
    first = Photos(group, mix, seed=3, count=30)
    straight = [first[i] for i in range(30)]
    resumed = pickle.loads(pickle.dumps(Photos(group, mix, seed=3, count=30)))
    assert all(same(resumed[i], straight[i]) for i in (29, 7, 18, 7))
    assert all(same(first[i], straight[i]) for i in (0, 13))
    other = Photos(group, mix, seed=4, count=30)
    assert sum(same(other[i], straight[i]) for i in range(10)) < 3
    assert len(first) == 30
    with pytest.raises(IndexError):
        first[30]


def test_masks_have_the_size_of_the_pixels_as_held(group):
    dataset = Photos(group, Mix(conversations=2, longest=60), 0, 25)
    for item in (dataset[i] for i in range(25)):
        assert max(item.pixels.shape[:2]) <= 60
        assert item.conversations
        for region in (region for talk in item.conversations for region in talk.regions):
            assert region.mask.shape == item.pixels.shape[:2]
            assert region.mask.any()
        assert item.photo is None or item.photo.size == item.pixels.shape[:2]


@pytest.mark.parametrize(
    ("which", "share", "expected"),
    [
        (0, 0.0, {False}),
        (0, 1.0, {True}),
        (0, 0.5, {True, False}),
        (1, 1.0, {False}),
        (3, 0.0, {True}),
        (3, 0.5, {True}),
    ],
)
def test_recorded_and_sampled_are_mixed_where_there_are_both(group, which, share, expected):
    dataset = Photos([group[which]], Mix(conversations=2, recorded=share), 0, 15)
    items = [dataset[i] for i in range(15)]
    assert {one for item in items for one in recorded(item)} == expected
    assert {len(item.conversations) for item in items} == {2}
    assert all((item.photo is None) == (which == 3) for item in items)


def test_painted_files_come_as_often_as_their_conversations(group):
    dataset = Photos([group[2]], Mix(conversations=1, recorded=0.5, strength=STILL), 0, 300)
    counts = Counter()
    for item in (dataset[i] for i in range(300)):
        painted = bool(item.pixels[0, -1].mean() > 128)
        counts["painted"] += painted
        counts["recorded"] += recorded(item)[0]
        assert not painted or (recorded(item) == [True] and item.photo is None)
    assert 130 < counts["recorded"] < 170
    assert 55 < counts["painted"] < 95
    never = Photos([group[2]], Mix(recorded=0.0, strength=STILL), 0, 20)
    assert not any(never[i].pixels[0, -1].mean() > 128 for i in range(20))


def test_no_conversation_twice_in_an_item(tmp_path):
    photo = pictured(tmp_path, "a", annotations=())
    asks = [f"Say where {word} is." for word in ("one", "two", "three")]
    records = [record(named("door", DOOR), asks=(ask,), image=photo.path.as_posix()) for ask in asks]
    dataset = Photos([versions(photo, records)], Mix(conversations=5), 0, 5)
    for i in range(5):
        assert sorted(talk.turns[0].text for talk in dataset[i].conversations) == sorted(asks)


def test_phrases_alone_need_annotations(group):
    dataset = Photos(group, Mix(conversations=0), 0, 20)
    items = [dataset[i] for i in range(20)]
    assert all(item.photo is not None and item.photo.annotations and not item.conversations for item in items)
    assert {item.photo.source for item in items if item.photo} == {"car-parts"}
    with pytest.raises(InputError, match="photos with annotations"):
        Photos(group[3:], Mix(conversations=0), 0, 20)


def test_a_photo_with_nothing_to_ask_for_gives_way(tmp_path, group):
    speck = replace(CAR.annotations[0], rle=encode_rle(box(0, 0, 1, 1)))
    empty = files(pictured(tmp_path, "e", annotations=(speck,)))
    dataset = Photos([empty, group[1]], Mix(), 0, 6)
    assert {photo.id for i in range(6) if (photo := dataset[i].photo)} == {"b"}
    with pytest.raises(InputError, match="none in car-parts"):
        Photos([empty], Mix(), 0, 6)[0]


def test_photos_are_the_same_the_first_time_and_later(tmp_path):
    (file,) = files(pictured(tmp_path, "a"))
    album = Album(60)
    first, later = album(file), Album(60)(file)
    again = album(file)
    assert first.photo.size == first.pixels.shape[:2] == (40, 60)
    assert np.array_equal(first.pixels, later.pixels)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.abs(Album(640)(file).pixels.astype(int) - sample().pixels).mean() < 4


def test_embedded_photos_and_photos_of_another_size(tmp_path):
    photo = pictured(tmp_path, "a")
    embedded = RecordedPhoto(replace(photo, path=tmp_path / "none.png"), (), photo.path.read_bytes())
    assert isinstance(Album(640)(embedded), Sample)
    with pytest.raises(InputError, match="120 x 80"):
        Album(640)(RecordedPhoto(replace(photo, size=(40, 120))))


@pytest.mark.parametrize("stage", [1, 2])
def test_items_of_a_run(tmp_path, stage):
    photo = pictured(tmp_path, "p")
    talks = [record(named("door", DOOR), asks=(ASK,), image=photo.path.as_posix())]
    recipe = Recipe("try", stage, 1, data=Data(recorded=1.0), batch=Batch(conversations=3), augment={"flip": 0.0})
    items = Items(Corpus([photo], {"car-parts/p": talks}), recipe, 4)
    index, item = items[2]
    assert (index, len(items), item.photo is not None) == (2, 4, True)
    assert recorded(item) == ([True, False, False] if stage == 2 else [])


def test_unknown_augmentation_is_named(tmp_path):
    recipe = Recipe("try", 1, 1, augment={"flop": 1, "hue": 3, "zoom": 2})
    with pytest.raises(InputError, match="got flop, zoom"):
        Items(Corpus([pictured(tmp_path, "p")]), recipe, 4)


def test_items_make_a_batch(group, tiny):
    from miras.train.data.dialogue_batch import dialogue_batch

    dataset = Photos(group, Mix(conversations=2), 1, 8)
    items = [dataset[i] for i in range(8)]
    batch = dialogue_batch(items, tiny.grammar, tiny.config.template, tiny.parsing, np.random.default_rng(0))
    talks = [talk for item in items for talk in item.conversations]
    assert len(batch.ids_CL) == len(talks)
    assert len(batch.regions.target_Rss) == sum(len(talk.regions) for talk in talks) > 0
    places = batch.ids_CL[batch.row_R, batch.seg_R]
    assert (places == tiny.grammar.id("[SEG]")).all()


def test_a_manner_goes_into_sampled_conversations_and_its_typos_into_recorded_ones(group):
    plain = [Photos(group, Mix(conversations=1, strength=STILL), 0, 60)[i] for i in range(60)]
    typed = Photos(group, Mix(conversations=1, recorded=1.0, strength=STILL, manner=Manner(typos=1.0)), 0, 60)
    texts = {talk.turns[0].text for item in (typed[i] for i in range(60)) for talk in item.conversations}
    assert not {ASK} >= texts and any(text.upper() == text for text in texts)
    chatty = Photos(group, Mix(conversations=1, recorded=0.0, strength=STILL, manner=Manner(chat=1.0)), 0, 60)
    alone = [
        turn for item in (chatty[i] for i in range(60)) for talk in item.conversations for turn in talk.turns[1::2]
        if not turn.regions and len(turn.content) == 1
    ]  # fmt: skip
    before = [
        turn for item in plain for talk in item.conversations for turn in talk.turns[1::2]
        if not turn.regions and len(turn.content) == 1
    ]  # fmt: skip
    assert len(alone) > 20 > len(before)


def test_a_recipe_s_shares_reach_the_dialogues(group):
    corpus = Corpus([files[0].photo for files in group if files[0].photo.annotations])
    recipe = Recipe("r", 2, 1, data=Data(referring=0.5, chat=0.2, typos=0.1, existence=0.4, bare=0.3, other=1.0))
    assert Items(corpus, recipe, 2).photos.mix.manner == Manner(0.5, 0.2, 0.1, 0.4, 0.3)
    assert Items(corpus, replace(recipe, data=Data(other=1.0)), 2).photos.mix.manner == Manner()
