"""The validation side of a corpus as records, and a photo's masks one entry a label.

In: a `Corpus`, an annotated photo. Out: records of kind "single" and the recorded conversations; masks. Knows no split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from miras.core.masks import decode_rle, encode_rle
from miras.core.types import AnnotatedPhoto, Annotation, Mask
from miras.data.io.single import id_of, single
from miras.data.language.words import plural
from miras.data.record import Record
from miras.train.data.corpus import Corpus, key


def held_out(corpus: Corpus) -> Iterator[Record]:
    """The validation side as records: each label of a photo once, where it has several masks as "cups"; then the
    recorded conversations."""
    seen = Counter[str]()
    for photo in corpus.held_out:
        count = Counter(note.label for note in photo.annotations)
        for note, mask in grouped(photo):
            phrase = plural(note.phrase) if count[note.label] > 1 and not note.instructions else note.phrase
            seen[key(photo)] += 1
            name = f"{photo.id}-{seen[key(photo)]}"
            record = single(
                photo.path, photo.size, phrase, encode_rle(mask), id=id_of(photo.source, "val", name),
                image_id=photo.id, source=photo.source, split="val", meta={"label": note.label},
            )  # fmt: skip
            yield record if photo.content is None else {**record, "image_bytes": photo.content}
    for record in corpus.talks:
        yield {**record, "split": "val"}


def grouped(photo: AnnotatedPhoto) -> list[tuple[Annotation, Mask]]:
    """One entry a label: all its instances together, since a bare phrase names them all."""
    groups: dict[str, tuple[Annotation, Mask]] = {}
    for note in photo.annotations:
        mask = decode_rle(note.rle)
        if note.label in groups:
            mask = groups[note.label][1] | mask
        groups[note.label] = (note, mask)
    return list(groups.values())
