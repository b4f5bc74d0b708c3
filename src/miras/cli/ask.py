"""`miras ask`: a scripted conversation, one text a turn.

In: an image and texts. Out: a conversation on standard output, or one JSON object; files in a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.options import Json, Model, RefuseBelow, Seed, Url, given
from miras.cli.output import ALONE, BAD_INPUT, HERE, Computing, Pair, complain, emit, load, write
from miras.core.errors import MirasError
from miras.core.files import folder
from miras.core.types import Region


def ask(
    image: str, texts: Annotated[list[str], Parameter(help="One message a turn.")], /, *, url: Url = False,
    out: Path | None = None, json: Json = False, model: Model = "miras-mini", pair: Pair = ALONE,
    on: Computing = HERE, seed: Seed = 0, refuse_below: RefuseBelow = None,
) -> int:  # fmt: skip
    """A scripted conversation about IMAGE: one TEXT a turn.

    --out: a folder for the overlay, the mask and the JSON of each turn.
    """
    return run(
        image, texts, url=url, out=out, as_json=json, model=model, pair=pair, on=on, seed=seed,
        refuse_below=refuse_below,
    )  # fmt: skip


def run(
    image: str, texts: list[str], *, url: bool, out: Path | None, as_json: bool, model: str, on: Computing,
    seed: int, pair: Pair = ALONE, refuse_below: float | None = None,
) -> int:  # fmt: skip
    """Exit code 0, or 2 when a turn failed; the other turns run all the same."""
    photo = given_photo(image, url, out)
    where = None if out is None else folder(out)
    loaded = load(model, on, pair)
    session = loaded.chat(photo, **given(seed=seed, refuse_below=refuse_below))
    turns: list[dict[str, Any]] = []
    code = 0
    for index, text in enumerate(texts, 1):
        try:
            reply = session.ask(text)
        except MirasError as error:
            complain(error)
            code = BAD_INPUT
            continue
        turns.append(reply.to_dict())
        files = [] if where is None else write_turn(where, index, session, reply)
        if not as_json:
            print_turn(reply, files)
    if where is not None:
        write(where / "conversation.json", session.to_json().encode())
    if as_json:
        emit({
            "image": str(image), "model": loaded.name, "turns": turns,
            "seconds": {"load": round(loaded.seconds, 3), "encode_image": round(session.encode_seconds, 3)},
        })  # fmt: skip
    return code


def given_photo(image: str, url: bool, out: Path | None) -> Path | bytes:
    """What a session can open, read once before the model is loaded: a bad photo is told at once. Raises InputError."""
    if url:
        from miras.cli.fetch import photo_at

        return photo_at(image, out)
    from miras.core.photo import read_photo

    read_photo(image)
    return Path(image)


def write_turn(where: Path, index: int, session: Any, reply: Any) -> list[Path]:
    """The overlay, the mask (0 and 255, at the photo's size) and the JSON of a turn."""
    from miras.chat.export import png

    picture = overlay_png(session, reply)
    return [
        write(where / f"turn-{index}-overlay.png", picture),
        write(where / f"turn-{index}-mask.png", png(reply.selection.mask)),
        write(where / f"turn-{index}.json", json.dumps(reply.to_dict(), ensure_ascii=False, indent=1).encode()),
    ]


def overlay_png(session: Any, reply: Any) -> bytes:
    """The photo with what is selected, as PNG."""
    from miras.chat.render import overlay, shown

    regions = shown(session.regions, reply.regions, reply.selection.expression)
    return picture_png(overlay(session.photo, regions, reply.selection.mask))


def picture_png(picture: Any) -> bytes:
    """(H, W, 3) uint8 RGB as PNG."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def region_line(region: Region, again: bool = False) -> str:
    """A region in a line, with the other names that it may have. again: it was named before."""
    others = ", ".join(f"{other.phrase} {other.chance:.0%}" for other in region.alternatives)
    score = "" if region.score is None else f", score {region.score:.2f}"
    line = f"[{region.id}] {region.phrase}: {region.area} pixels{score}{', again' if again else ''}"
    return line + (f"; or perhaps {others}" if others else "")


def print_turn(reply: Any, files: list[Path]) -> None:
    """An exchange as a person reads it."""
    print(f"You:   {reply.user}")
    print(f"miras: {reply.text}")
    for region in reply.regions:
        print(f"       {region_line(region, region.id in reply.recalled)}")
    if reply.selection.expression:
        print(f"       selected: {reply.selection.expression}")
    for path in files[:2]:
        print(f"       {path}")
    print()
