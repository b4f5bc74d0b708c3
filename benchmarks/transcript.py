"""A conversation of a composed pair, as it went: writes pictures to docs/composed and its words into docs/composed.md.

    python benchmarks/transcript.py

The talker reads a script (below, written by hand: a vision-language model needs more memory than the machine at hand
has, or a server). All the rest is what a person would get: the prompts and pictures that the talker is sent, the checks
of its answers, masks by miras-mini, operators, undo, refusal. Same weights, same pictures.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import miras
from miras.chat.composed.asking import Asking, Question
from miras.chat.composed.compose import Asked, compose
from miras.chat.composed.families import family_of
from miras.chat.composed.scripted import Scripted
from miras.chat.render import overlay, shown
from miras.core.llm.answers import Answer

ROOT = Path(__file__).resolve().parents[1]
PAGE, FOLDER = ROOT / "docs" / "composed.md", ROOT / "docs" / "composed"
BEGIN, END = "<!-- transcript, by benchmarks/transcript.py -->", "<!-- end of transcript -->"
PHOTO = Path(miras.__file__).parent / "assets" / "astronaut.jpg"
WIDTH, QUALITY = 360, 82
SIZE = (512, 512)
"""Width and height of the photo."""


def new(phrase: str, *box: int) -> dict[str, Any]:
    sides = [round(1000 * side / SIZE[index % 2]) for index, side in enumerate(box)]
    return {"id": 0, "phrase": phrase, "box": sides, "points": []}


def old(number: int) -> dict[str, Any]:
    return {"id": number, "phrase": "", "box": [], "points": []}


def said(text: str, *steps: tuple[str, list[dict[str, Any]]]) -> str:
    return json.dumps({"text": text, "steps": [{"do": do, "regions": regions} for do, regions in steps]})


TALK = (
    ("Select the woman.", said("This is the woman.", ("replace", [new("woman", 10, 15, 358, 511)]))),
    ("And the rocket behind her.", said("I added the rocket.", ("add", [new("rocket", 346, 4, 446, 276)]))),
    ("Without her face, please.", said("Without the face.", ("cut", [new("face", 185, 70, 268, 182)]))),
    ("And the dog?", said("There is no dog in this photo.", ("refuse", []))),
    ("Then go one step back.", said("Back.", ("undo", []))),
    ("Now everything but number 1.", said("All but the woman.", ("all_but", [old(1)]))),
)
PICTURED = {2: "added", 3: "without", 6: "all-but"}
"""Turns whose picture is kept."""
SENT = 3
"""Before this message the talker's picture of the regions is kept."""


class Watched(Scripted):
    """A script that keeps what it was asked."""

    async def answer(self, question: Question, /) -> Answer:
        """The script's."""
        self.__dict__.setdefault("asked", []).append(question)
        return await super().answer(question)


def picture(name: str, pixels: np.ndarray) -> str:
    """Written small; its name in the page."""
    small = Image.fromarray(pixels)
    small.thumbnail((WIDTH, WIDTH))
    FOLDER.mkdir(exist_ok=True)
    small.save(FOLDER / f"{name}.jpg", quality=QUALITY)
    return f"composed/{name}.jpg"


def main() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("\n".join(answer for _, answer in TALK))
        file.flush()
        script = Watched(Path(file.name))
    pair = compose(Asked("scripted", Asking(script), family_of("")), "miras-mini", threads=1)
    session, lines = pair.chat(PHOTO), list[str]()
    for number, (message, _) in enumerate(TALK, 1):
        before = len(script.__dict__.get("asked", []))
        reply = session.ask(message)
        first = script.asked[before]
        if number == SENT:
            data = base64.b64decode(first.messages[-1].pictures[0].partition(",")[2])
            picture("sent", np.asarray(Image.open(io.BytesIO(data))))
        drawn = ", ".join(f"{region.id} {region.phrase}" for region in reply.regions) or "none"
        spent = reply.spent
        calls = f"{spent.calls} call" + ("" if spent.calls == 1 else f"s, {spent.looks} of them a look")
        share = 100 * float(reply.selection.mask.mean())
        lines.append(f"{number}. **{message}** {reply.text}  ")
        lines.append(
            f"   regions named: {drawn}; selected: `{reply.selection.expression}`, {share:.1f}% of the photo; {calls}"
        )
        if number in PICTURED:
            regions = shown(session.regions, reply.regions, reply.selection.expression)
            place = picture(PICTURED[number], overlay(session.photo, regions, reply.selection.mask))
            lines.append(f"\n   ![after message {number}]({place})\n")
        if number == SENT:
            words = first.messages[-1].text.replace("\n", "\n   > ").replace("> \n", ">\n")
            lines.append("   What stands with this message for the talker, beside the photo and what was said:\n")
            lines.append(f"   > {words}\n")
            lines.append("   ![what the talker is shown](composed/sent.jpg)\n")
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines).rstrip() + f"\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
