"""What a turn of a composed pair takes, by kind of message, beside a plain agent that sends everything anew.

    python benchmarks/turn_cost.py > benchmarks/turn_cost.json

Both hear the same conversations about a photo that ships, and both talkers know the answers (scripts of the same
things), so that nothing but the protocol differs. The plain agent is `baseline:plain-agent` after SAM 3's agent: as
"whole" it sends all that was said, called and shown, as "words" all that was said and returned. It is asked as cheaply
as its protocol allows: one `segment_phrase` with everything that is to be selected, then the masks are returned (for
what is not there, `report_no_mask`); it has no undo and no operators, so each turn segments anew what stays selected.
Checked: the pair looks at each new mask, the agent examines each mask; unchecked: neither does.

Tokens of text: SmolLM2's tokenizer over the chat as its template writes it, and the JSON schema once a call. Tokens of
a picture, two published rules: OpenAI's tiles (85 + 170 for each started 512 x 512) and Qwen3-VL's (one for each 32 x
32 pixels, sides rounded). new: tokens after the longest run of whole messages with which an earlier call of the same
conversation began, which is what a server with a prefix cache still has to read. Masks are made by miras-mini.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

import miras
from miras.chat.composed.asking import Asking, Question
from miras.chat.composed.compose import Asked, compose
from miras.chat.composed.families import family_of
from miras.chat.composed.scripted import Scripted
from miras.core.llm.answers import Answer, Message, Usage
from miras.core.photo import read_photo
from miras.eval.systems.plain_agent import opened
from miras.model.language.smollm2 import converted
from miras.segmenters.own import MirasSegmenter

PHOTO = Path(miras.__file__).parent / "assets" / "coffee.jpg"
BOXES = {"cup": (97, 52, 451, 305), "spoon": (380, 180, 560, 290), "saucer": (40, 140, 500, 380),
         "table": (0, 0, 600, 400)}  # fmt: skip
"""XYXY in pixels; rough, since nothing is measured of the masks."""
OPENING = (("cup", "Where is the cup?"), ("spoon", "Also the spoon."), ("saucer", "And the saucer."))
"""Every conversation begins so: one new region a turn."""
KINDS = {
    "something else instead": "Only the table, please.", "something more": "And the table.",
    "without one": "Without the cup.", "an earlier one again": "Just the spoon again.",
    "all but": "Everything but the cup.", "undo": "Go back one step.", "not there": "And the elephant.",
}  # fmt: skip
"""What the fourth message may be."""


def new(phrase: str) -> dict[str, Any]:
    height, width = read_photo(PHOTO).shape[:2]
    box = [round(1000 * side / length) for side, length in zip(BOXES[phrase], (width, height) * 2, strict=True)]
    return {"id": 0, "phrase": phrase, "box": box, "points": []}


def old(number: int) -> dict[str, Any]:
    return {"id": number, "phrase": "", "box": [], "points": []}


def said(text: str, *steps: tuple[str, list[dict[str, Any]]]) -> str:
    return json.dumps({"text": text, "steps": [{"do": do, "regions": regions} for do, regions in steps]})


def pair_lines(kind: str) -> list[str]:
    first = [said("The cup.", ("replace", [new("cup")])), said("I added the spoon.", ("add", [new("spoon")])),
             said("I added the saucer.", ("add", [new("saucer")]))]  # fmt: skip
    last = {
        "something else instead": said("The table.", ("replace", [new("table")])),
        "something more": said("I added the table.", ("add", [new("table")])),
        "without one": said("Without the cup.", ("cut", [old(1)])),
        "an earlier one again": said("The spoon.", ("replace", [old(2)])),
        "all but": said("Everything but the cup.", ("all_but", [old(1)])),
        "undo": said("I went one step back.", ("undo", [])), "not there": said("I see no elephant.", ("refuse", [])),
    }  # fmt: skip
    return [*first, last[kind]]


def agent_lines(kind: str, examine: bool) -> list[str]:
    wanted = ["cup", "cup and spoon", "cup, spoon and saucer", {
        "something else instead": "table", "something more": "cup, spoon, saucer and table",
        "without one": "spoon and saucer", "an earlier one again": "spoon", "all but": "everything but the cup",
        "undo": "cup and spoon", "not there": "elephant",
    }[kind]]  # fmt: skip
    lines = []
    for phrase in wanted:
        lines.append(called(f"The person wants the {phrase}.", "segment_phrase", phrase))
        if phrase == "elephant":
            lines.append(called("There is no elephant in this photo.", "report_no_mask"))
            continue
        if examine:
            lines.append(called("I check the mask.", "examine_each_mask"))
        lines.append(called(f"Mask 1 is the {phrase}.", "select_masks_and_return", "", 1))
    return lines


def called(thought: str, tool: str, phrase: str = "", *masks: int) -> str:
    return json.dumps({"thought": thought, "tool": tool, "phrase": phrase, "masks": list(masks)})


class Tokens:
    """Counts messages, by the rules of the module."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(converted() / "tokenizer.json"))

    def text(self, text: str) -> int:
        """Of a text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def message(self, message: Message, rule: str) -> int:
        """Of a message, its pictures by a rule."""
        count = self.text(f"<|im_start|>{message.role}\n{message.text}<|im_end|>\n")
        return count + sum(RULES[rule](*sides(url)) for url in message.pictures)


def sides(url: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size


RULES = {
    "openai tiles": lambda width, height: 85 + 170 * math.ceil(width / 512) * math.ceil(height / 512),
    "qwen3-vl": lambda width, height: max(1, round(width / 32)) * max(1, round(height / 32)),
}


class Counted(Scripted):
    """A script, and what each question took."""

    async def answer(self, question: Question, /) -> Answer:
        """The script's; every mask is accepted."""
        if question.step == "look" and "thought" in question.schema["properties"]:  # the agent's
            answer = Answer(json.dumps({"thought": "It is what the person wants.", "verdict": "accept"}))
        else:
            answer = await super().answer(question)
        self.__dict__.setdefault("calls", []).append((question, answer))
        return Answer(answer.text, Usage(1, 1))


def counted(
    calls: Sequence[tuple[Question, Answer]], earlier: list[tuple[Message, ...]], tokens: Tokens
) -> dict[str, Any]:
    """What some calls took. earlier: messages of the calls before them, extended by these."""
    told: dict[str, Any] = {"calls": len(calls), "looks": sum(question.step == "look" for question, _ in calls)}
    for rule in RULES:
        told[rule] = defaultdict(int)
    for question, answer in calls:
        shared = max((same(question.messages, before) for before in earlier), default=0)
        schema = tokens.text(json.dumps(question.schema, separators=(",", ":")))
        for rule in RULES:
            sizes = [tokens.message(message, rule) for message in question.messages]
            told[rule]["read"] += sum(sizes) + schema
            told[rule]["new"] += sum(sizes[shared:])
            told[rule]["written"] += tokens.text(answer.text)
        earlier.append(question.messages)
    for rule in RULES:
        told[rule] = {**told[rule], "total": told[rule]["read"] + told[rule]["written"]}
    return told


def same(messages: Sequence[Message], before: Sequence[Message]) -> int:
    """How many messages both begin with."""
    pairs = enumerate(zip(messages, before, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(messages), len(before)))


def held(system: str, kind: str, checked: bool, segmenter: Any, tokens: Tokens) -> list[dict[str, Any]]:
    """A conversation: what each turn took."""
    lines = pair_lines(kind) if system == "pair" else agent_lines(kind, checked)
    script = Counted.of(lines, system)
    script.calls = []
    asked = Asked("scripted", Asking(script), family_of(""))
    if system == "pair":
        talk: Any = compose(asked, segmenter, look=checked).chat(PHOTO)
    else:
        talk = opened(asked, segmenter, past=system.partition(" ")[2] or "whole").start(PHOTO)
    turns, earlier = [], list[tuple[Message, ...]]()
    for message in [*(text for _, text in OPENING), KINDS[kind]]:
        before = len(script.calls)
        talk.ask(message)
        turns.append(counted(script.calls[before:], earlier, tokens))
    return turns


class Generous:
    """Ours, but that every phrase is there unless it is the elephant: what is counted must not depend on masks."""

    def __init__(self, inner: MirasSegmenter) -> None:
        self._inner, self.name, self.prompts, self.facts = inner, inner.name, inner.prompts, inner.facts
        self._photo: Any = None

    def encode(self, photo: Any) -> Any:
        """Once a photo."""
        if self._photo is None or not np.array_equal(self._photo, photo):
            self._photo, self._encoding = photo, self._inner.encode(photo)
        return self._encoding

    def segment(self, encoding: Any, prompt: Any) -> Any:
        """A mask that is not empty."""
        found = self._inner.segment(encoding, prompt)
        absent = prompt.phrase == "elephant"
        masks = found.masks.copy()
        if not masks.any():
            masks[:, :9, :9] = True
        return replace(found, masks=masks, presence=0.0 if absent else 1.0)


def main() -> None:
    tokens = Tokens()
    loaded = miras.load("miras-mini", threads=1)
    segmenter = Generous(MirasSegmenter("miras-mini", loaded.model, loaded.model.weights))
    systems = ("pair", "agent whole", "agent words")
    turns = {
        f"{system}, {'checked' if checked else 'unchecked'}": {
            kind: held(system, kind, checked, segmenter, tokens) for kind in KINDS
        }
        for system in systems for checked in (True, False)
    }  # fmt: skip
    fourth = {name: {kind: of[-1] for kind, of in kinds.items()} for name, kinds in turns.items()}
    first = {name: kinds["undo"][:3] for name, kinds in turns.items()}
    ratios = {
        f"{past}, {state}, {rule}": {
            **{kind: round(fourth[f"pair, {state}"][kind][rule]["total"] / fourth[f"agent {past}, {state}"][kind][rule][
                "total"], 3) for kind in KINDS},
            "all kinds": round(sum(of[rule]["total"] for of in fourth[f"pair, {state}"].values())
                               / sum(of[rule]["total"] for of in fourth[f"agent {past}, {state}"].values()), 3),
        }
        for past in ("whole", "words") for state in ("checked", "unchecked") for rule in RULES
    }  # fmt: skip
    print(json.dumps({"turn 4": fourth, "turns 1 to 3": first, "pair over agent, turn 4": ratios}))


if __name__ == "__main__":
    main()
