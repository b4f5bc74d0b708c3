"""`miras data build`: write a dataset from public annotations.

In: the folder of the public sets. Out: a canonical dataset in a new folder, its card, a page of statistics, a table
of rejected drafts; a summary on standard output.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from miras.cli.output import emit, say
from miras.core.errors import InputError

Flag = Parameter(negative="")


def build(
    name: Literal["prist-open"], /, *,
    source: Annotated[Path, Parameter(help="The folder of the public sets, as docs/dataset.md lays it out.")],
    out: Annotated[Path, Parameter(help="A new folder.")],
    seed: int = 0,
    jobs: Annotated[int, Parameter(help="Processes.")] = 2,
    ray: Annotated[bool, Flag, Parameter(help="Over Ray Data: here, or on the cluster of RAY_ADDRESS.")] = False,
    photos: Annotated[Literal["copy", "link", "reference"], Parameter(help="What becomes of the photos.")] = "copy",
    kinds: Annotated[str, Parameter(help="Weights, e.g. progressive=2,edit=1; default: about those of PRIST.")] = "",
    hops: Annotated[str, Parameter(help="Weights of progressive ones, e.g. 1,2,3,4 for equal shares.")] = "",
    limit: Annotated[int | None, Parameter(help="Photos of each set at most, for a try.")] = None,
    embed: Annotated[bool, Parameter(help="Review with sentence embeddings too.")] = True,
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object as the last line of standard output.")] = False,
) -> int:  # fmt: skip
    """Build a dataset of conversations from public annotations: same sources and seed, same bytes."""
    return run(
        name, source=source, out=out, seed=seed, jobs=jobs, ray=ray, photos=photos, kinds=kinds, hops=hops,
        limit=limit, embed=embed, as_json=json,
    )  # fmt: skip


def run(
    name: str, *, source: Path, out: Path, seed: int, jobs: int, ray: bool, photos: str, kinds: str, hops: str,
    limit: int | None, embed: bool, as_json: bool,
) -> int:  # fmt: skip
    """Exit code 0; 1 when records of the sources were left out."""
    from miras.annotate import prist_open
    from miras.annotate.review.dataset import Review
    from miras.annotate.review.embedding import Sentences
    from miras.data.inspect.stats import table

    plan = prist_open.Plan(
        seed,
        weights(kinds, "--kinds") or prist_open.KINDS,
        {_whole(k): v for k, v in weights(hops, "--hops").items()} or prist_open.HOPS,
    )
    started = time.monotonic()
    say(f"building {name} from {source}")
    built = prist_open.build(
        source, out, plan, jobs=jobs, ray=ray, photos=photos, limit=limit,
        review=Review(embed=Sentences().embed if embed else None),
    )  # fmt: skip
    seconds = round(time.monotonic() - started, 1)
    for fault in built.faults:
        say(f"left out: {fault}")
    result = {
        **built.statistics, "rejected": dict(sorted(built.rejected.items())), "faults": len(built.faults),
        "seconds": seconds, "out": str(out),
    }  # fmt: skip
    if as_json:
        emit(result)
    else:
        print(table(built.statistics))
        print(f"rejected: {', '.join(f'{reason} {n}' for reason, n in built.rejected.most_common()) or 'none'}")
        print(f"{out} in {seconds:.0f} s")
    return 1 if built.faults else 0


def weights(text: str, option: str) -> dict[str, float]:
    """ "shift=1,edit=2" as weights; a name alone weighs 1. Empty text: none. Raises InputError."""
    found: dict[str, float] = {}
    for piece in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = piece.partition("=")
        try:
            found[name.strip()] = float(number) if number else 1.0
        except ValueError as error:
            raise InputError(f"{option} name=weight,...", repr(piece)) from error
    return found


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError("--hops as whole numbers", repr(text)) from error
