"""Small talk in quantity: remarks in wordings held out of training, each after a request about a held-out photo.

    python benchmarks/small_talk.py DATA --remarks 2000 > benchmarks/small_talk.json

Counted: replies with a broken word (none of the word list, the message or the photo's names), replies that claim a
selection without a region of theirs, remarks after which the selection is another. Shares, with Wilson's 95%
interval. `others` lists the broken and the claims, to be read.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from itertools import count, islice
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

import miras
from miras.data.formats.annotated import read_sources
from miras.data.io.left_out import LeftOut
from miras.eval.tasks import behaviours
from miras.eval.tasks.behaviour_questions import TALK
from miras.eval.tasks.photos import side_of

CLAIM = re.compile(
    r"\b(marked|narrowed|included|no longer selected|here (is|are|you go)|"
    r"I (have )?(selected|found|cut)|I select everything)",
    re.IGNORECASE,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--remarks", type=int, default=2000)
    given = parser.parse_args()
    photos = behaviours.chosen(side_of(read_sources(given.data, LeftOut()), "val"), None, 0)
    model, found, read, topics = miras.load(), Counter[str](), [], Counter[str]()
    sessions: dict[tuple[str, str], miras.ChatSession] = {}
    asked = (
        record for seed in count() for record in behaviours.records(photos, seed=seed, heldout=True)
        if record["meta"]["kind"] == TALK
    )  # fmt: skip
    for number, record in enumerate(islice(asked, given.remarks)):
        if number % 100 == 0:
            print(f"{number} of {given.remarks} {dict(found)}", file=sys.stderr, flush=True)
        texts = [turn["text"] for turn in record["turns"] if turn["role"] == "user"]
        if (place := (record["image"], texts[0])) not in sessions:
            sessions.clear()  # the photos come one after the other
            session = sessions[place] = model.chat(record["image"])
            for text in texts[:-1]:
                session.ask(text)
        session = sessions[place].fork()
        before = session.selection.mask
        reply = session.ask(texts[-1])
        changed = bool(reply.regions) or not np.array_equal(before, reply.selection.mask)
        broken = not behaviours.words_known(reply.text, texts[-1], record["meta"]["names"])
        claims = not reply.regions and bool(CLAIM.search(reply.text))
        found.update(changed=changed, broken=broken, claims=claims)
        topics[record["meta"]["topic"]] += changed
        if broken or claims:
            read.append([texts[-1], reply.text])
    shares = {}
    for what, n in found.items():
        low, high = binomtest(n, given.remarks).proportion_ci(method="wilson")
        shares[what] = {"n": n, "share": round(n / given.remarks, 4), "low": round(low, 4), "high": round(high, 4)}
    result = {
        "remarks": given.remarks,
        "photos": len(photos),
        **shares,
        "changed_by_topic": dict(topics),
        "others": read,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
