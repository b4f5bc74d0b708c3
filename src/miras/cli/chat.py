"""`miras chat`: talk about a photo in the terminal.

In: an image, lines of standard input. Out: replies as they are written, a picture of each turn. A line
that cannot be used gets one line of complaint, and the talk goes on.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.ask import given_photo, overlay_png, region_line
from miras.cli.options import Model, RefuseBelow, Seed, Url, given
from miras.cli.output import ALONE, HERE, Computing, Pair, complain, load, say, write
from miras.core.errors import InputError, MirasError
from miras.core.files import folder

TALLEST = 200
"""Rows of a picture in the terminal."""
HELP = """Talk, or:
  /point X Y [0|1]    say where the last region is (1), or is not (0)
  /box X1 Y1 X2 Y2    say in which box it is
  /select EXPRESSION  select other regions: 1 + 2, (1 + 2) - 3, 1 & 2 where both are, ~1 all but it
  /undo               take the last turn back
  /fork               try another way from here; /back returns
  /back               to before the last /fork
  /save FILE          the conversation as JSON
  /export FOLDER      what is selected, as PNG, RLE, COCO, LabelMe and SVG
  /help, /quit"""


def chat(
    image: str, /, *, url: Url = False, out: Path = Path("out/chat"),
    preview: Annotated[bool, Parameter(negative="")] = False, model: Model = "miras-mini",
    pair: Pair = ALONE, on: Computing = HERE, seed: Seed = 0,
    refuse_below: RefuseBelow = None,
) -> int:  # fmt: skip
    """The same, interactive. /help lists what can be done besides talking.

    --out: where the picture of each turn goes. --preview: draw it in the terminal as coloured blocks
    where the terminal shows no pictures.
    """
    return run(
        image, url=url, out=out, preview=preview, model=model, pair=pair, on=on, seed=seed, refuse_below=refuse_below
    )


def run(
    image: str, *, url: bool, out: Path, preview: bool, model: str, on: Computing, seed: int, pair: Pair = ALONE,
    refuse_below: float | None = None,
) -> int:  # fmt: skip
    """Exit code 0 at the end of input or /quit."""
    photo = given_photo(image, url, out)
    folder(out)
    loaded = load(model, on, pair)
    shell = Shell(loaded.chat(photo, **given(seed=seed, refuse_below=refuse_below)), out, preview)
    if sys.stdin.isatty():
        height, width = shell.session.size
        say(f"{Path(image).name}, {width} x {height}. Ask for anything in it; /help for more.")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return 0
        except UnicodeDecodeError:
            complain(InputError("text in UTF-8", "other bytes", "set the terminal to UTF-8"))
            continue
        if line in ("/quit", "/exit"):
            return 0
        if line:
            try:
                shell.take(line)
            except MirasError as error:
                complain(error)


class Shell:
    """The conversation in the terminal: a session, the ones it was forked from, and where pictures go."""

    def __init__(self, session: Any, out: Path, preview: bool) -> None:
        self.session, self.out, self.preview = session, out, preview
        self.earlier: list[Any] = []
        self.count = 0

    def take(self, line: str) -> None:
        """One line: a message or a command. Raises MirasError."""
        if not line.startswith("/"):
            self.say(line)
            return
        name, *rest = line.split()
        commands: dict[str, Callable[[list[str]], None]] = {
            "/point": self.point, "/box": self.box, "/undo": self.undo, "/fork": self.fork, "/back": self.back,
            "/select": self.select, "/save": self.save, "/export": self.export, "/help": lambda _: print(HELP),
        }  # fmt: skip
        if name not in commands:
            raise InputError(f"a message, or one of {', '.join(commands)}, /quit", name)
        commands[name](rest)

    def say(self, text: str) -> None:
        """Stream a reply."""
        for event in self.session.stream(text):
            if isinstance(event, str):
                print(event, end="", flush=True)
            elif hasattr(event, "selection"):
                print()
                self.show(event)

    def point(self, rest: list[str]) -> None:
        """Refine by a point."""
        numbers = _numbers(rest, (2, 3), "/point X Y [0|1]")
        self.show(self.session.refine(points=[(numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 1)]))

    def box(self, rest: list[str]) -> None:
        """Refine by a box."""
        self.show(self.session.refine(box=tuple(_numbers(rest, (4,), "/box X1 Y1 X2 Y2"))))

    def select(self, rest: list[str]) -> None:
        """Another selection of the regions."""
        if not rest:
            raise InputError("/select EXPRESSION, as /select (1 + 2) - 3", "/select")
        reply = self.session.select(" ".join(rest))
        print(f"selected: {reply.selection.expression or 'nothing'}")

    def undo(self, _: list[str]) -> None:
        """One turn back."""
        selection = self.session.undo()
        print(f"selected: {selection.expression or 'nothing'}")

    def fork(self, _: list[str]) -> None:
        """Keep this state to come back to."""
        self.earlier.append(self.session)
        self.session = self.session.fork()
        print("forked; /back returns here")

    def back(self, _: list[str]) -> None:
        """To the state before the last fork."""
        if not self.earlier:
            raise InputError("a /fork before /back", "none", "/fork first")
        self.session = self.earlier.pop()
        print(f"back; selected: {self.session.selection.expression or 'nothing'}")

    def save(self, rest: list[str]) -> None:
        """The conversation as JSON."""
        print(write(Path(_one(rest, "/save FILE")), self.session.to_json().encode()))

    def export(self, rest: list[str]) -> None:
        """What is selected, in every format."""
        for path in self.session.export(folder(Path(_one(rest, "/export FOLDER")))):
            print(path)

    def show(self, reply: Any) -> None:
        """Scores, and the picture: in the terminal where it can, its path anyway."""
        for region in reply.regions:
            print(f"  {region_line(region, region.id in reply.recalled)}")
        if not (reply.regions or reply.operators):
            return
        self.count += 1
        picture = overlay_png(self.session, reply)
        path = write(self.out / f"turn-{self.count}.png", picture)
        shown = inline(picture, os.environ) if sys.stdout.isatty() else ""
        if shown:
            print(shown)
        elif self.preview:
            print(blocks(picture))
        print(f"  {path}")


def inline(picture: bytes, environment: Any) -> str:
    """The escape sequence of a terminal that shows pictures (iTerm2, WezTerm, kitty); else nothing."""
    data = base64.b64encode(picture).decode()
    if environment.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm"):
        return f"\033]1337;File=inline=1;size={len(picture)}:{data}\a"
    if "kitty" in environment.get("TERM", "") or environment.get("KITTY_WINDOW_ID"):
        chunks = [data[i : i + 4096] for i in range(0, len(data), 4096)]
        more = [
            f"\033_G{'a=T,f=100,' if i == 0 else ''}m={int(i + 1 < len(chunks))};{c}\033\\"
            for i, c in enumerate(chunks)
        ]
        return "".join(more)
    return ""


def blocks(picture: bytes, width: int = 72) -> str:
    """The picture as half blocks in 24-bit colour, `width` characters wide; a tall strip is narrower than that."""
    import io

    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    width = max(1, min(width, round(2 * TALLEST * image.width / image.height)))
    rows = min(TALLEST, max(1, round(width * image.height / image.width / 2)))
    pixels = np.asarray(image.resize((width, rows * 2)))
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = [
            f"\033[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m\u2580"
            for a, b in zip(upper, lower, strict=True)
        ]
        lines.append("".join(cells) + "\033[0m")
    return "\n".join(lines)


def _numbers(words: list[str], counts: tuple[int, ...], usage: str) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise InputError(usage, " ".join(words) or "nothing")
    return numbers


def _one(words: list[str], usage: str) -> str:
    if not words:
        raise InputError(usage, "no name")
    return " ".join(words)
