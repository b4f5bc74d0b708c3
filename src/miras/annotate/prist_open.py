"""PRIST-Open: a dataset of conversations about real photographs, from public part annotations.

In: a folder of the public sets (see docs/dataset.md), a seed. Out: a canonical dataset: reviewed conversations of all
kinds, divided by photograph. Photos that the recipe of `miras-mini` trains on are "train", its calibration
photos "val", its validation photos "test". Same photos, seed and versions: same bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from miras.annotate.grounded import tree
from miras.annotate.grounded.dialogues import dialogue, shared_nodes
from miras.annotate.review.dataset import Review
from miras.annotate.written import dialogues
from miras.core.errors import InputError
from miras.core.parallel.processes import mapped
from miras.core.types import AnnotatedPhoto, Example
from miras.data.dialogues import sampler
from miras.data.dialogues.sampler import askable
from miras.data.dialogues.scene import Scene
from miras.data.formats import parquet
from miras.data.formats.annotated import read_sources
from miras.data.inspect import card, plots, stats
from miras.data.language import knowledge
from miras.data.language.phrasing import pick
from miras.data.photos.identity import FileNames
from miras.data.photos.split import recipe_sides
from miras.data.record import Record, record_of

SPLIT_OF_SIDE = {"train": "train", "calibration": "val", "val": "test"}
PER_PHOTO: Mapping[str, int] = {
    "instructpart": 7, "ccp": 5, "car-parts": 7, "camvid": 4, "coco128": 9, "coco-more": 8, "tools": 4, "furniture": 3,
    "facades": 5, "pantry": 5, "animals": 3, "faces": 6, "beasts": 3, "pets": 3, "bottles": 4, "flowers": 3, "nails": 4,
}  # fmt: skip
"""Conversations drafted for each photo of a source, written text not counted; review takes some away."""
KINDS: Mapping[str, float] = {
    "progressive": 0.42, "shift": 0.12, "refer": 0.1, "edit": 0.14, "absent": 0.07, "text": 0.15,
}  # fmt: skip
HOPS: Mapping[int, float] = {1: 0.18, 2: 0.28, 3: 0.28, 4: 0.17, 5: 0.09}
"""Shares of the reasoning steps of "progressive" conversations."""
HELDOUT = 0.5
"""Share of the test split in wordings that the training split never shows."""
TURNS = (2, 4)
LICENCES: Mapping[str, Mapping[str, str]] = {
    "instructpart": {"licence": "MIT", "where": "InstructPart (Wan et al., ACL 2025)"},
    "ccp": {"licence": "Apache-2.0", "where": "Clothing Co-Parsing (Yang et al., CVPR 2014)"},
    "car-parts": {"licence": "free for research, cite", "where": "Car Parts Segmentation (Pasupa et al. 2021)"},
    "camvid": {"licence": "research", "where": "CamVid (Brostow et al. 2009)"},
    "coco128": {"licence": "annotations CC BY 4.0, photos as on Flickr", "where": "COCO 2017"},
    "coco-more": {"licence": "annotations CC BY 4.0, photos as on Flickr", "where": "COCO 2017"},
    "tools": {"licence": "CC BY 4.0", "where": "Rokey (congtongc), tools segmentation"},
    "furniture": {"licence": "public domain, as the source states", "where": "Furniture-Segmentation (maher-mohsen)"},
    "facades": {"licence": "CC BY 4.0", "where": "building-facade-segmentation (a-hwang)"},
    "pantry": {"licence": "CC BY-SA 4.0", "where": "UJ Staple Pantry (dvanderhaar)"},
    "animals": {"licence": "CC BY 4.0", "where": "endangered animals detection (KomaHomu)"},
    "faces": {"licence": "none stated: not to be passed on, cite", "where": "FASSEG (Khan et al.)"},
    "beasts": {
        "licence": "horses: none stated, not to be passed on; others MIT",
        "where": "Weizmann horses; Caltech-101 animals (carlotavz)",
    },
    "pets": {"licence": "research", "where": "Oxford-IIIT Pet (Parkhi et al. 2012)"},
    "bottles": {"licence": "CC BY 4.0", "where": "Bottle-Detection-YOLO (AyeshaImran-61)"},
    "flowers": {"licence": "none stated for the photos: not to be passed on", "where": "Oxford 17 flowers (jxng1)"},
    "nails": {"licence": "CC BY 4.0", "where": "nails segmentation (AndreeaB-Tree)"},
}
ABOUT = """\
Conversations about real photographs that end in, or change, exact masks: in the manner of PRIST (Pixel-Level Reasoning
Segmentation via Multi-turn Conversations), built offline from public part annotations and a written knowledge base,
with six kinds of conversation and a mask for every reply that selects something.

No person wrote these conversations, but for InstructPart's human instructions: wordings come from lists, reasons from a
knowledge base. Text on photos is rendered. Left and right of car parts are the car's own. Do not report on the photos
that a model was trained on: splits are by photograph.
"""
_TRIES = 6


@dataclass(frozen=True)
class Plan:
    """What to draft. kinds, hops: weights. per_photo: by source."""

    seed: int = 0
    kinds: Mapping[str, float] = field(default_factory=lambda: dict(KINDS))
    hops: Mapping[int, float] = field(default_factory=lambda: dict(HOPS))
    per_photo: Mapping[str, int] = field(default_factory=lambda: dict(PER_PHOTO))

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.kinds) - set(KINDS)):
            raise InputError(f"kinds of {', '.join(KINDS)}", ", ".join(unknown))
        if outside := sorted(set(self.hops) - set(range(1, tree.MOST_HOPS + 1))):
            raise InputError(f"hops from 1 to {tree.MOST_HOPS}", ", ".join(map(str, outside)))
        if min([*self.kinds.values(), *self.hops.values()], default=-1) < 0 or not sum(self.kinds.values()):
            raise InputError("weights of kinds and hops from 0, not all 0", f"{dict(self.kinds)}, {dict(self.hops)}")


@dataclass(frozen=True)
class Built:
    """statistics: of what was kept. rejected: reason -> how many drafts. faults: of the sources, one line each."""

    statistics: dict[str, Any]
    rejected: Counter[str]
    faults: tuple[str, ...]


def build(
    source: Path,
    out: Path,
    plan: Plan | None = None,
    *,
    jobs: int = 2,
    ray: bool = False,
    photos: str = "copy",
    limit: int | None = None,
    review: Review | None = None,
) -> Built:
    """Write the dataset to the folder `out`, which must be new or empty.

    limit: photos of each source at most (for a try). review: what checks the drafts (default: rules without
    sentence embeddings). Faulty records of the sources are left out and named in the result.
    """
    plan, review = plan or Plan(), review or Review()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"a new or empty folder {out}", "one with files", "give another --out, or take them away")
    faults: list[str] = []
    sides = recipe_sides(read_sources(source, faults.append))
    work = [(photo, SPLIT_OF_SIDE[side]) for side, found in sides.items() for photo in found if askable(photo)]
    work = _limited(sorted(work, key=lambda item: (item[0].source, item[0].id, str(item[0].path))), limit)
    out.parent.mkdir(parents=True, exist_ok=True)
    rejected = Counter[str]()
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".build-") as staging:
        drafts = mapped(partial(draft, plan=plan, folder=Path(staging), names=_names(work)), work, jobs=jobs, ray=ray)
        kept = _kept(drafts, review, rejected)
        parquet.write(kept, out, photos=photos)  # type: ignore[arg-type]
    found = stats.statistics(parquet.read(out))
    plots.page(found, out / "statistics.html")
    (out / "rejected.md").write_text(review.table() + "\n")
    (out / "README.md").write_text(card.card(found, name="PRIST-Open", licences=_licences(found), about=ABOUT))
    return Built(found, rejected, tuple(faults))


def _kept(drafts: Iterator[list[Record]], review: Review, rejected: Counter[str]) -> Iterator[Record]:
    for record, reasons in review.sift(chain.from_iterable(drafts)):
        rejected.update(rejection.reason for rejection in reasons)
        if not reasons:
            yield record


def _names(work: Sequence[tuple[AnnotatedPhoto, str]]) -> dict[str, str]:
    """What photos are called whose plain name another has, too ("a/b" beside "a-b"): source/id -> name."""
    names = FileNames()
    called = {f"{p.source}/{p.id}": (_plain(p), names(f"{p.source}/{p.id}", _plain(p), "")) for p, _ in work}
    return {photo: name for photo, (plain, name) in called.items() if name != plain}


def _plain(photo: AnnotatedPhoto) -> str:
    return f"{photo.source}-{photo.id.replace('/', '-')}"


def draft(
    item: tuple[AnnotatedPhoto, str], *, plan: Plan, folder: Path, names: Mapping[str, str] | None = None
) -> list[Record]:
    """All conversations about one photo and its split. folder: where photos with written text go. names: source/id ->
    what the photo is called, where that is not told by the two."""
    photo, split = item
    name = (names or {}).get(f"{photo.source}/{photo.id}", _plain(photo))
    rng = np.random.default_rng([plan.seed, *hashlib.blake2b(name.encode(), digest_size=8).digest()])
    scene = Scene(photo, knowledge.load())
    examples = [*_progressive(scene, plan, rng, split), *_others(photo, plan, rng, split)]
    written = folder / "written" / f"{name}.jpg"
    if _share(plan, "text", photo, rng):
        written.parent.mkdir(parents=True, exist_ok=True)
        examples += dialogues.build(photo, written, rng, heldout=_heldout(split, rng)) or []
    return [
        record_of(
            example, id=f"{name}-{number:02d}", image_id=f"{photo.source}/{photo.id}",
            image=example.image.absolute().as_posix(), size=photo.size, split=split,
        )
        for number, example in enumerate(examples)
    ]  # fmt: skip


def _licences(found: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"source": name, **LICENCES.get(name, {"licence": "as its owners say"})} for name in found["sources"]]


def _progressive(scene: Scene, plan: Plan, rng: np.random.Generator, split: str) -> list[Example]:
    """Paths of one reasoning tree, no two alike, and their dialogues."""
    targets, paths = tree.elements(scene), list[tree.Path]()
    weights = [1.0 if target.sort != "whole" else 0.3 for target in targets]
    wanted = _share(plan, "progressive", scene.photo, rng)
    for _ in range(wanted * _TRIES):
        if len(paths) == wanted or not targets:
            break
        hops = pick(rng, list(plan.hops), list(plan.hops.values()))
        found = tree.path(scene, pick(rng, targets, weights), hops, rng)
        if found is not None and all([s.key for s in found] != [s.key for s in other] for other in paths):
            paths.append(found)
    examples = [dialogue(scene, path, rng, heldout=_heldout(split, rng)) for path in paths]
    for example, shared in zip(examples, shared_nodes(paths), strict=True):
        example.meta["shared_nodes"] = shared
    return examples


def _others(photo: AnnotatedPhoto, plan: Plan, rng: np.random.Generator, split: str) -> list[Example]:
    """Conversations that change, go back, edit, or ask for what is not there."""
    found = []
    for kind in ("shift", "refer", "edit", "absent"):
        for _ in range(_share(plan, kind, photo, rng)):
            example = sampler.sample(photo, rng, turns=TURNS, kinds={kind: 1.0}, heldout=_heldout(split, rng))
            if example.kind == kind and len(example.conversation.turns) >= 2 * TURNS[0]:
                found.append(example)
    return found


def _share(plan: Plan, kind: str, photo: AnnotatedPhoto, rng: np.random.Generator) -> int:
    """How many conversations of a kind a photo gets: its share, rounded up or down by chance."""
    count = plan.per_photo.get(photo.source, 4) * plan.kinds.get(kind, 0.0) / sum(plan.kinds.values())
    return int(count) + int(rng.random() < count - int(count))


def _heldout(split: str, rng: np.random.Generator) -> bool:
    return split == "test" and bool(rng.random() < HELDOUT)


def _limited(work: list[tuple[AnnotatedPhoto, str]], limit: int | None) -> list[tuple[AnnotatedPhoto, str]]:
    if limit is None:
        return work
    counts: Counter[str] = Counter()
    kept = []
    for photo, split in work:
        counts[photo.source] += 1
        if counts[photo.source] <= limit:
            kept.append((photo, split))
    return kept
