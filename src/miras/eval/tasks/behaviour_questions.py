"""What is asked of a system to see how it behaves: one of several, the same in other words, what wants no mask.

In: an annotated photo, a random generator. Out: a few `Question`s with the masks that are right. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miras.core.types import AnnotatedPhoto, Mask
from miras.data.dialogues.scene import Scene
from miras.data.dialogues.voice import Voice
from miras.data.language import knowledge, remarks
from miras.data.language.phrasing import pick
from miras.data.language.referring import KINDS
from miras.data.language.spelling import shouted, slipped
from miras.data.language.words import compound, definite, indefinite, is_plural

REFERRING = (*KINDS, "any")
SAME = ("caps", "typos", "there", "absent")
TALK = "talk"
REMARKS = 4
"""About each photo, besides "the other one" of many."""
_TRIES = 10


@dataclass(frozen=True, eq=False)
class Question:
    """kind: REFERRING, "pairs", SAME or TALK. texts: each asked of the photo anew, after `before` where it is given.
    right: the mask (H, W) of each text, nothing where it is to be refused or answered in words. kin: all things of
    the label. topic: of a remark. phrase: of the target."""

    kind: str
    texts: tuple[str, ...]
    right: tuple[Mask, ...] = ()
    kin: tuple[Mask, ...] = ()
    before: str = ""
    topic: str = ""
    phrase: str = ""


def questions(
    photo: AnnotatedPhoto, pixels: NDArray[np.uint8], rng: np.random.Generator, heldout: bool = True
) -> list[Question]:
    """The questions about one photo. pixels: (H, W, 3) uint8 RGB. heldout: in wordings that training never shows, where
    it is not the same words that are asked twice."""
    scene = Scene(photo, knowledge.load(), True, pixels)
    voice = Voice(rng, heldout)
    return [
        *_referring(scene, voice),
        *_pair(scene, voice),
        *_same(scene, rng),
        *_talk(scene, voice),
    ]


def where(phrase: str) -> str:
    """The plainest way to ask for it."""
    return f"Where {'are' if is_plural(phrase) else 'is'} {definite(phrase)}?"


def exists(phrase: str) -> str:
    """The plainest way to ask whether it is there."""
    return f"{'Are' if is_plural(phrase) else 'Is'} there {indefinite(compound(phrase))}?"


def _referring(scene: Scene, voice: Voice) -> Iterator[Question]:
    """One target of each kind."""
    for kind in REFERRING:
        pool = [t for t in scene.targets if t.kind == kind]
        if pool:
            target = pick(voice.rng, pool)
            text = where(target.spoken[0]) if kind == "any" else voice.naming("ask", target)
            yield Question(kind, (text,), (scene.mask(target),), scene.things(target), phrase=target.phrase)


def _pair(scene: Scene, voice: Voice) -> Iterator[Question]:
    """The left and the right one of two."""
    left = [t for t in scene.targets if t.kind == "place" and t.phrase.startswith("left ")]
    if left:
        one = pick(voice.rng, left)
        other = scene.other(one)
        if other is not None:
            sides = tuple(f"{side} {one.phrase.removeprefix('left ')}" for side in ("left", "right"))
            texts = tuple(where(side) for side in sides)
            yield Question("pairs", texts, (scene.mask(one), scene.mask(other)), scene.things(one), phrase=sides[0])


def _same(scene: Scene, rng: np.random.Generator) -> Iterator[Question]:
    """One thing that is there, and one that is not, in two ways each."""
    plain = [t for t in scene.targets if t.sort in ("one", "all") and not t.kind]
    if plain:
        target = pick(rng, plain)
        text, mask = where(target.phrase), scene.mask(target)
        yield Question("caps", (text, shouted(text)), (mask, mask), phrase=target.phrase)
        typed = next((new for _ in range(_TRIES) if (new := slipped(text, rng)) != text), None)
        if typed is not None:
            yield Question("typos", (text, typed), (mask, mask), phrase=target.phrase)
        yield Question("there", (text, exists(target.phrase)), (mask, mask), phrase=target.phrase)
    hard, easy = scene.absent
    if hard or easy:
        phrase = pick(rng, hard or easy)
        nothing = np.zeros(scene.photo.size, bool)
        yield Question("absent", (where(phrase), exists(phrase)), (nothing, nothing), phrase=phrase)


def _talk(scene: Scene, voice: Voice) -> Iterator[Question]:
    """Remarks of different topics while something is selected, the first of a conversation without; and "the other
    one" of more than two."""
    plain = [t for t in scene.targets if t.sort in ("one", "all") and not t.kind]
    if not plain:
        return
    rng, topics = voice.rng, list(remarks.load().topics)
    for number, at in enumerate(rng.permutation(len(topics))[:REMARKS]):
        target = pick(rng, plain)
        remark = remarks.load().say(rng, target.spoken[0], heldout=voice.heldout, topic=topics[int(at)])
        before = where(target.phrase) if number else ""
        yield Question(TALK, (remark.text,), before=before, topic=remark.topic, phrase=target.phrase)
    many = [t for t in scene.targets if t.kind == "place" and scene.kin(t) > 2]
    if many:
        one = pick(rng, many)
        yield Question(TALK, (voice.another(one.noun),), before=where(one.phrase), topic="which", phrase=one.phrase)
