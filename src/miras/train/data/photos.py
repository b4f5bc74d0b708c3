"""Items of training: photos with conversations, each determined by the seed and its number alone.

In: photos with annotations, records, or both. Out: a map-style dataset. A run that is resumed at any item sees what an
uninterrupted one sees, in whatever process: sources are drawn by their shares, within a source every photo comes once
before any comes again, and nothing depends on what was drawn before. Knows no model and no step.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from miras.core.errors import InputError
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto, Conversation
from miras.data.dialogues import sampler
from miras.data.dialogues.manner import PLAIN, Manner
from miras.data.language.phrasing import pick
from miras.train.data.augment import DEFAULT, Strength, augment, shrink
from miras.train.data.conversations import PackedConversation, RecordedPhoto, augmented, typed, versions
from miras.train.data.sample import Sample

if TYPE_CHECKING:
    from miras.train.data.corpus import Corpus
    from miras.train.recipe.schema import Recipe

SHARES: Mapping[str, float] = {
    "instructpart": 0.3, "coco-more": 0.17, "coco128": 0.12, "ccp": 0.09, "car-parts": 0.07, "furniture": 0.045,
    "tools": 0.04, "facades": 0.035, "camvid": 0.03, "pantry": 0.025, "animals": 0.02, "faces": 0.015, "beasts": 0.01,
    "pets": 0.01, "bottles": 0.01, "flowers": 0.005, "nails": 0.005,
}  # fmt: skip
"""How often each of our sources is drawn."""
QUALITY = 95
"""Of the JPEG in which a photo is held: 640 x 427 pixels take about 0.15 MB instead of 0.8."""
_ORDER, _ITEM, _SOURCE = 0, 1, 2
"""What a stream of random numbers is for."""


@dataclass(frozen=True, slots=True)
class Item:
    """A photo as augmented. pixels: (H, W, 3) uint8 RGB; conversations: about it, masks (H, W); photo: its annotations,
    changed alike; None where there are none, so that nothing is known to be absent. name: source/id."""

    pixels: NDArray[np.uint8]
    conversations: Sequence[Conversation]
    photo: AnnotatedPhoto | None
    name: str = ""


@dataclass(frozen=True)
class Mix:
    """What an item is made of. conversations: about each photo, 0 = phrases are all that is wanted. recorded: share of
    recorded ones where a photo has both. turns, kinds: of sampled ones, see `dialogues.sample`. longest: photos are
    held with this longer side, in pixels. shares, other: how often a source is drawn. strength: of augmentation.
    manner: of sampled conversations; its typos go into recorded ones too. points, complements: what sampled ones may
    do, see `dialogues.sample`."""

    conversations: int = 1
    recorded: float = 0.5
    turns: tuple[int, int] = (2, 5)
    kinds: Mapping[str, float] | None = None
    longest: int = 640
    shares: Mapping[str, float] | None = None
    other: float = 0.1
    strength: Strength = DEFAULT
    manner: Manner = PLAIN
    points: bool = False
    complements: bool = False


class Draw:
    """Which photograph stands at an index.

    The first n places are the same whatever `count` is.
    """

    def __init__(
        self, sizes: Mapping[str, int], shares: Mapping[str, float], other: float, seed: int, count: int
    ) -> None:
        """sizes: source -> number of photographs. Raises InputError when no source is drawn at all."""
        self.names, self.sizes, self.seed = sorted(sizes), sizes, seed
        weights = np.array([shares.get(name, other) if sizes[name] else 0.0 for name in self.names])
        if not weights.sum() > 0 or (weights < 0).any():
            got = ", ".join(f"{name}: {weight:g}" for name, weight in zip(self.names, weights, strict=True))
            raise InputError("shares from 0 that draw at least one source", got, "see data.shares and data.other")
        edges = np.cumsum(weights / weights.sum())
        edges[np.flatnonzero(weights)[-1] :] = 1.0
        dice = np.random.default_rng([seed, _SOURCE]).random(count)
        self.source = np.searchsorted(edges, dice, side="right").astype(np.int16)
        self.rank = np.zeros(count, np.int64)
        for number in range(len(self.names)):
            here = self.source == number
            self.rank[here] = np.arange(np.count_nonzero(here))

    def __call__(self, index: int, skip: int = 0) -> tuple[str, int]:
        """(source, number of the photograph in it). skip: so many places further in the same source."""
        name = self.names[self.source[index]]
        epoch, place = divmod(int(self.rank[index]), self.sizes[name])
        order = _order(self.seed, name, epoch, self.sizes[name])
        return name, int(order[(place + skip) % self.sizes[name]])


@lru_cache(maxsize=32)
def _order(seed: int, name: str, epoch: int, size: int) -> NDArray[np.int64]:
    """The photographs of a source in the order of one epoch; other sources do not change it."""
    digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest())
    return np.random.default_rng([seed, _ORDER, digest, epoch]).permutation(size)


class Album:
    """Photos as training holds them: shrunk, in memory as JPEG, each read when it is first asked for.

    What comes out is the same the first time and later.
    """

    def __init__(self, longest: int) -> None:
        """longest: of the longer side, in pixels."""
        self.longest = longest
        self._held: dict[RecordedPhoto, tuple[bytes, AnnotatedPhoto]] = {}

    def __call__(self, file: RecordedPhoto) -> Sample:
        """Raises InputError for a photo that cannot be read, or is not of the size its annotations have."""
        if file not in self._held:
            self._held[file] = self._read(file)
        data, photo = self._held[file]
        return Sample(np.asarray(Image.open(io.BytesIO(data))), photo)

    def _read(self, file: RecordedPhoto) -> tuple[bytes, AnnotatedPhoto]:
        photo = file.photo
        pixels = read_photo(photo.file if file.content is None else file.content)
        if pixels.shape[:2] != photo.size:
            got = f"{pixels.shape[1]} x {pixels.shape[0]} in {photo.path}"
            raise InputError(f"a photo of {photo.size[1]} x {photo.size[0]} (W x H), as its masks", got)
        small = shrink(pixels, photo, self.longest)
        buffer = io.BytesIO()
        Image.fromarray(small.pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
        size = (small.pixels.shape[0], small.pixels.shape[1])
        return buffer.getvalue(), replace(small.photo, size=size)


class Donors(Sequence[Sample]):
    """The annotated photos, each read when it is asked for."""

    def __init__(self, files: Sequence[RecordedPhoto], album: Album) -> None:
        self.files, self.album = files, album

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Donors: ...
    def __getitem__(self, index: int | slice) -> Sample | Donors:
        """The photo at `index` as it is held."""
        if isinstance(index, slice):
            return Donors(self.files[index], self.album)
        return self.album(self.files[index])


class Photos(Dataset[Item]):
    """`count` items. `[i]` depends on the seed and i alone."""

    def __init__(self, photographs: Sequence[Sequence[RecordedPhoto]], mix: Mix, seed: int, count: int) -> None:
        """photographs: the files of each, see `conversations.versions`. Those with nothing for `mix` are left out;
        raises InputError when none is left."""
        self.mix, self.seed, self.count = mix, seed, count
        self.album = Album(mix.longest)
        self.by_source: dict[str, list[Sequence[RecordedPhoto]]] = {}
        for files in photographs:
            if any(file.photo.annotations or (mix.conversations and file.talks) for file in files):
                self.by_source.setdefault(files[0].photo.source, []).append(files)
        if not self.by_source:
            wanted = "annotations or conversations" if mix.conversations else "annotations"
            raise InputError(f"photos with {wanted}", f"none among {len(photographs)}")
        sizes = {name: len(group) for name, group in self.by_source.items()}
        annotated = [file for group in self.by_source.values() for files in group for file in files]
        self.donors = Donors([file for file in annotated if file.photo.annotations], self.album)
        self.draw = Draw(sizes, mix.shares if mix.shares is not None else SHARES, mix.other, seed, count)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        """Item `index`, 0 <= index < count. A photo with nothing to say gives way to the next of its source."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        name = ""
        for skip in range(max(map(len, self.by_source.values()))):
            name, number = self.draw(index, skip)
            item = self._item(self.by_source[name][number], np.random.default_rng([self.seed, _ITEM, index, skip]))
            if item is not None:
                return item
        raise InputError("a photo with a mask large enough to ask for", f"none in {name}", "take the source out")

    def _item(self, files: Sequence[RecordedPhoto], rng: np.random.Generator) -> Item | None:
        mix = self.mix
        file, share = self._file(files, rng)
        held = self.album(file)
        askable = sampler.askable(held.photo)
        chosen = self._chosen(file.talks, share if askable else 1.0, rng)
        if not (askable or chosen):
            return None
        talks: list[Conversation] = []
        if chosen:
            sample, talks = augmented(held, chosen, rng, mix.strength)
            if askable and len(talks) < mix.conversations and not sampler.askable(sample.photo):
                sample, talks = augmented(held, chosen, rng, mix.strength, whole=True)
        else:
            sample = augment(held, rng, mix.strength, self.donors)
            sample = sample if sampler.askable(sample.photo) else held
        if mix.manner.typos:
            talks = [typed(talk, rng, mix.manner.typos) for talk in talks]
        if askable and sampler.askable(sample.photo):
            pixels = sample.pixels if mix.manner.referring else None
            for _ in range(mix.conversations - len(talks)):
                example = sampler.sample(
                    sample.photo,
                    rng,
                    turns=mix.turns,
                    kinds=mix.kinds,
                    manner=mix.manner,
                    pixels=pixels,
                    points=mix.points,
                    complements=mix.complements,
                )
                talks.append(example.conversation)
        shown = sample.photo if sample.photo.annotations else None
        return Item(sample.pixels, talks, shown, f"{file.photo.source}/{file.photo.id}")

    def _file(self, files: Sequence[RecordedPhoto], rng: np.random.Generator) -> tuple[RecordedPhoto, float]:
        """One of the files of a photograph, and the share of recorded conversations in its items. Over all files
        recorded conversations have the share that the mix wants, each the same chance."""
        plain = [file for file in files if file.photo.annotations]
        if not self.mix.conversations:
            return pick(rng, plain), 0.0
        others = [file for file in files if not file.photo.annotations and file.talks]
        if not plain:
            return pick(rng, others, [len(file.talks) for file in others]), 1.0
        here, there = (sum(len(file.talks) for file in group) for group in (plain, others))
        apart = self.mix.recorded * there / max(here + there, 1)
        if rng.random() < apart:
            return pick(rng, others, [len(file.talks) for file in others]), 1.0
        file = pick(rng, plain, [len(file.talks) + 1 for file in plain])
        return file, (self.mix.recorded - apart) / (1 - apart) if apart < 1 else 1.0

    def _chosen(
        self, talks: Sequence[PackedConversation], share: float, rng: np.random.Generator
    ) -> list[PackedConversation]:
        """Different recorded conversations: each of those wanted is one with the chance `share`."""
        wanted = int(np.count_nonzero(rng.random(self.mix.conversations) < share))
        order = rng.permutation(len(talks))[:wanted]
        return [talks[number] for number in order]


class Items(Dataset[tuple[int, Item]]):
    """The items of a whole run with their numbers."""

    def __init__(
        self, corpus: Corpus, recipe: Recipe, count: int, *, points: bool = False, complements: bool = False
    ) -> None:
        """count: items of all steps and processes. points, complements: what the model can do.
        Raises InputError for unknown keys of `recipe.augment`, and for a
        corpus that holds nothing for the stage."""
        data, batch = recipe.data, recipe.batch
        known = [field.name for field in fields(Strength)]
        if unknown := sorted(set(recipe.augment) - set(known)):
            raise InputError(f"augment of {', '.join(known)}", ", ".join(unknown), "see docs/training.md for every key")
        mix = Mix(
            0 if recipe.stage == 1 else batch.conversations, data.recorded, data.turns, data.kinds or None,
            data.longest, data.shares, data.other, Strength(**recipe.augment),
            data.manner, points, complements,
        )  # fmt: skip
        photographs = [
            versions(photo, corpus.records.get(f"{photo.source}/{photo.id}", ()) if mix.conversations else ())
            for photo in corpus.photos
        ]
        self.photos = Photos(photographs, mix, recipe.seed, count)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[int, Item]:
        return index, self.photos[index]
