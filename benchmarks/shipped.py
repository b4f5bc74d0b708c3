"""The figures of the shipped weights, from the JSON beside this file into README, docs/results.md and the model card.

    python benchmarks/shipped.py          # writes the tables between the markers anew
    python benchmarks/shipped.py --check  # exits 1 where one is not what the JSON says

Every table stands between `<!-- figures ... -->` and `<!-- /figures -->`; the JSON comes from the commands in the table.
"""

# ruff: noqa: E501
from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = {
    "readme": ROOT / "README.md",
    "results": ROOT / "docs" / "results.md",
    "card": ROOT / "src" / "miras" / "weights" / "miras-mini" / "README.md",
}
NAMES = {
    "things": "everyday things", "garments": "clothes", "stuff": "ground, plants, walls, buildings",
    "parts": "parts of things and of the body", "instructpart": "InstructPart's parts",
}  # fmt: skip
DATA = "../shared/data"


def read(name: str) -> dict[str, Any]:
    """A file of benchmarks/."""
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    return found


def percent(share: float, digits: int = 0) -> str:
    """A share as per cent."""
    return f"{100 * share:.{digits}f}%"


def span(interval: list[float], scale: float = 100, digits: int = 0) -> str:
    """An interval in brackets."""
    low, high = (scale * value for value in interval)
    return f"({low:.{digits}f} to {high:.{digits}f})"


def readme() -> Iterator[str]:
    """The short table."""
    there = read("phrases")["phrases"]["there"]
    human, phrase, dialogues = read("instructpart-human"), read("instructpart-phrase"), read("dialogues")
    behaviours, bench = read("behaviours"), read("turns")
    turns = bench["turns"]
    yield "| `miras-mini`, on photos held out of training | |"
    yield "|---|---|"
    yield f"| everyday things by name | gIoU {there['things']['giou']:.1f}, {percent(there['things']['refused'])} refused |"
    three = "; ".join(f"{there[sort]['giou']:.1f}" for sort in ("stuff", "garments", "parts"))
    yield f"| ground, plants, walls; clothes; parts | gIoU {three} |"
    yield f"| InstructPart, human instructions | gIoU {human['giou']:.1f}, cIoU {human['ciou']:.1f} |"
    yield f"| InstructPart, part names alone | gIoU {phrase['giou']:.1f}, cIoU {phrase['ciou']:.1f} |"
    yield f"| conversations: add, take away and undo obeyed | {percent(dialogues['operators_obeyed'], 1)} |"
    right, wrong = dialogues["refusals"]["right"], dialogues["false_refusals"]["rate"]
    yield f"| conversations: absent things refused; present ones refused by mistake | {percent(right, 1)}; {percent(wrong, 1)} |"
    yield f"| left and right of a pair are two masks without a common pixel | {percent(behaviours['pairs_apart'])} of {behaviours['kinds']['pairs']['n']} |"
    spans = [
        (min(values), max(values))
        for values in (
            [t["ratio"] for t in turns],
            [t["token_ratio"] for t in turns],
            [t["seconds"] for t in turns[1:]],
        )
    ]
    times = f"{spans[0][0]:.1f} to {spans[0][1]:.1f}, {spans[1][0]:.1f} to {spans[1][1]:.1f} times faster"
    yield f"| a turn, against encoding all of it again (with, without a cache within the turn) | {times} |"
    memory = f"{bench['peak_memory_mb'] / 1000:.1f} GB"
    yield f"| a turn on two CPU cores; peak memory | {spans[2][0]:.2f} to {spans[2][1]:.2f} s; {memory} |"


def results() -> Iterator[str]:
    """The whole table, with commands."""
    yield "| what | figure | n | command |"
    yield "|---|---|---|---|"
    asked = read("phrases")["phrases"]
    command = f"`miras eval {DATA} --format phrases --split val --out runs/phrases --json`"
    for at, (sort, name) in enumerate(NAMES.items()):
        row = asked["there"][sort]
        figure = f"gIoU {row['giou']:.1f} {span(row['giou_interval'], 1, 1)}, refused though there {percent(row['refused'], 1)} {span(row['refused_interval'])}"
        yield f"| {'the same: ' if at else 'Names asked for: '}{name} | {figure} | {row['n']} | {'the same' if at else command} |"
    told = {
        "all": "what is not there",
        "likely": "of it, what was looked for in the photo",
        "unlikely": "of it, what does not go with the place",
    }
    for sort, name in told.items():
        row = asked["absent"][sort]
        yield f"| the same: {name} | refused {percent(row['refused'], 1)} {span(row['refused_interval'])} | {row['n']} | the same |"
    for name, title, k in (("human", "human instructions", 0), ("phrase", "phrases", 4)):
        row = read(f"instructpart-{name}")
        figure = f"gIoU {row['giou']:.1f}, cIoU {row['ciou']:.1f}, P50 {row['p50']:.1f}, no mask {percent(row['no_mask_rate'], 1)}"
        yield f"| InstructPart, {title} (K={k}) | {figure} | {row['n']} parts | `miras eval {DATA}/instructpart/dev --instruction {k} --split val --json` |"
    yield from _dialogues()
    yield from _behaviours()
    yield from _turns()


def _dialogues() -> Iterator[str]:
    own, recalls = read("dialogues"), read("recalls")
    command = f"miras eval {DATA} --format dialogues --split val --dialogues"
    intervals, final = own["intervals"], own["final"]
    yield f"| Sampled dialogues, own history: every selection | gIoU {own['giou']:.1f} {span(intervals['giou'], 1, 1)}, cIoU {own['ciou']:.1f} | {own['n']} dialogues, {own['turns']} turns | `{command} {own['n']} --json` |"
    gap = " to ".join(f"{value:.1f}" for value in final["gap_interval"])
    yield f"| the same: the final target | gIoU {final['giou_own']:.1f} after the dialogue, {final['giou_alone']:.1f} asked alone (alone minus own: 95% {gap}) | {final['n']} | the same |"
    each = ", ".join(f"{name} {100 * op['obeyed']:.1f}" for name, op in own["operators"].items())
    count = sum(op["n"] for op in own["operators"].values())
    yield f"| the same: operators obeyed | {percent(own['operators_obeyed'], 1)} {span(intervals['operators_obeyed'])}: {each} | {count} | the same |"
    yield f"| the same: refusals right | {percent(own['refusals']['right'], 1)} {span(intervals['refusals'])} | {own['refusals']['n']} | the same |"
    yield f"| the same: refused by mistake | {percent(own['false_refusals']['rate'], 1)} {span(intervals['false_refusals'])} | {own['false_refusals']['n']} | the same |"
    memory, all_but = recalls["memory"], recalls["operators"]["except"]
    yield f"| Dialogues that recall and invert: what is named again is the same mask | {percent(memory['same']['share'])} | {memory['same']['n']} | `{command} {recalls['n']} --recalls --json` |"
    yield f"| the same: what was added and cut again leaves nothing | {percent(memory['gone']['share'])} | {memory['gone']['n']} | the same |"
    yield f'| the same: "all but" obeyed; exactly the complement | {percent(all_but["obeyed"])}; {percent(memory["exact"]["share"])} | {all_but["n"]} | the same |'


def _behaviours() -> Iterator[str]:
    found = read("behaviours")
    kinds = found["kinds"]

    def told(kind: str, flag: str) -> str:
        value = kinds[kind][flag]
        return f"{percent(value['value'])} {span([value['low'], value['high']])}"

    def several(kind: str) -> int:
        return int(kinds.get(kind, {"n": 0})["n"])

    command = f"`miras eval {DATA} --format behaviours --split val --limit {found['photos']} --json`"
    yield f"| Single questions: capitals change nothing | {told('caps', 'agree')} | {kinds['caps']['n']} | {command} |"
    yield f"| the same: typing errors change nothing | {told('typos', 'agree')} | {kinds['typos']['n']} | the same |"
    yield f'| the same: "Is there a X?" agrees with "Where is the X?", present; absent | {told("there", "agree")}; {told("absent", "agree")} | {kinds["there"]["n"]}; {kinds["absent"]["n"]} | the same |'
    yield f"| the same: left and right of a pair have no common pixel | {told('pairs', 'apart')} | {kinds['pairs']['n']} | the same |"
    ways = ("place", "row", "size", "colour", "relation")
    yield f"| the same: one of several, told by place, row or size, is the right one | {percent(found['right_one'])} | {sum(map(several, ways))} | the same |"
    yield f"| the same: small talk keeps what is selected; has no broken word | {told('talk', 'kept')}; {told('talk', 'words')} | {kinds['talk']['n']} | the same |"


def _turns() -> Iterator[str]:
    bench = read("turns")
    turns = bench["turns"]

    def listed(key: str) -> str:
        return ", ".join(f"{turn[key]:g}" for turn in turns)

    seconds = [turn["seconds"] for turn in turns[1:]]
    yield f"| Turns 1 to {len(turns)} against a loop that encodes photo and prompt anew each turn, same tokens, with a cache within the turn | {listed('ratio')} times faster | {bench['repeats']} repeats | `miras bench turns --repeats {bench['repeats']} --json` |"
    yield f"| the same, without any cache, as LISA's evaluation | {listed('token_ratio')} times faster | | the same |"
    yield f"| Seconds of a turn | turns 2 to {len(turns)}: {min(seconds):.4f} to {max(seconds):.4f}; turn 4: {turns[3]['seconds']:.4f} | | the same |"
    new, again = (turns[3][key] for key in ("new_tokens", "recompute_tokens"))
    yield f"| New tokens in turn 4 | {new}, against {again} recomputed; the photo is encoded {bench['photo_encodings']} time | | the same |"
    yield f"| Peak memory, three sessions | {bench['peak_memory_mb']:.0f} MB | | the same |"
    yield f"| From loading to the first word | {bench['start_to_first_token_seconds']:.2f} s | | the same |"


def card() -> Iterator[str]:
    """The table of the model card."""
    asked, own = read("phrases")["phrases"], read("dialogues")
    there, gone = asked["there"], asked["absent"]["all"]
    human, phrase = read("instructpart-human"), read("instructpart-phrase")
    yield "| what | figure (95%) | n |"
    yield "|---|---|---|"
    row = there["things"]
    yield f"| everyday things by name | gIoU {row['giou']:.1f} {span(row['giou_interval'], 1, 1)}, refused though there {percent(row['refused'], 1)} {span(row['refused_interval'])} | {row['n']} |"
    sorts = ("garments", "stuff", "parts")
    found, counts = (
        "; ".join(format(there[s][key], form) for s in sorts) for key, form in (("giou", ".1f"), ("n", "d"))
    )
    yield f"| garments; stuff; parts by name | gIoU {found} | {counts} |"
    yield f"| what is not there | refused {percent(gone['refused'], 1)} {span(gone['refused_interval'])} | {gone['n']} |"
    yield f"| InstructPart, human instructions | gIoU {human['giou']:.1f}, cIoU {human['ciou']:.1f} | {human['n']} |"
    yield f"| InstructPart, phrases | gIoU {phrase['giou']:.1f}, cIoU {phrase['ciou']:.1f}, refused {percent(phrase['no_mask_rate'], 1)} | {phrase['n']} |"
    each = ", ".join(f"{name} {100 * op['obeyed']:.1f}" for name, op in own["operators"].items())
    yield f"| sampled dialogues, own history | gIoU {own['giou']:.1f} {span(own['intervals']['giou'], 1, 1)}; operators obeyed {percent(own['operators_obeyed'], 1)} ({each}) | {own['n']} dialogues, {own['turns']} turns |"
    yield f"| the same | refusals right {percent(own['refusals']['right'], 1)}; refused by mistake {percent(own['false_refusals']['rate'], 1)} | {own['refusals']['n']}; {own['false_refusals']['n']} |"


TABLES = {"readme": readme, "results": results, "card": card}
_BLOCK = re.compile(r"(<!-- figures[^\n]*-->\n).*?(<!-- /figures -->)", re.DOTALL)


def written(page: str) -> tuple[str, str]:
    """The text of a page as it is, and with its table anew."""
    text = PAGES[page].read_text("utf-8")
    table = "\n".join(TABLES[page]()) + "\n"
    new, count = _BLOCK.subn(lambda found: found[1] + table + found[2], text)
    if count != 1:
        sys.exit(f"expected one table between <!-- figures --> and <!-- /figures -->, got {count}: {PAGES[page]}")
    return text, new


def main() -> None:
    """Write, or check."""
    stale = []
    for page, path in PAGES.items():
        old, new = written(page)
        if old != new:
            stale.append(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.write_text(new, "utf-8")
    print(f"{len(stale)} of {len(PAGES)} pages changed: {', '.join(map(str, stale)) or 'none'}")
    if stale and "--check" in sys.argv:
        sys.exit("expected the figures of benchmarks/*.json; run: python benchmarks/shipped.py")


if __name__ == "__main__":
    main()
