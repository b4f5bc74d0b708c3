from __future__ import annotations

import re

import numpy as np
import pytest

from miras.data.language import spelling
from miras.data.language.normalise import lexicon
from miras.data.language.spelling import rough, slipped

TEXT = "Could you please select the second bottle from the left?"


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_off_means_off() -> None:
    source = rng(0)
    assert rough(TEXT, source, 0.0) == TEXT


def test_each_way_is_taken() -> None:
    typed = {rough(TEXT, rng(seed), 1.0) for seed in range(400)}
    assert TEXT.upper() in typed and TEXT.lower().rstrip("?") in typed
    assert any("!!" in text for text in typed) and any(re.search(r"\b(pls|plz|u)\b", text) for text in typed)
    assert any(text.count(" ") < TEXT.count(" ") and text.isascii() for text in typed)


@pytest.mark.parametrize("text", ["Where does it say 'OPEN'?", '"EXIT"', "Où est le chien ?", "犬", "👀"])
def test_quotations_and_other_scripts_stay(text: str) -> None:
    assert {rough(text, rng(seed), 1.0) for seed in range(50)} == {text}


def test_an_apostrophe_is_no_quotation() -> None:
    assert {rough("The cup's handle, don't you see it?", rng(seed), 1.0) for seed in range(50)} != {
        "The cup's handle, don't you see it?"
    }


def test_a_slip_is_near_and_never_another_word() -> None:
    for text in ("Show me the chair.", "Where are the pants?", "the right shoe", "plant on the left", "cap and cup"):
        for seed in range(200):
            new = slipped(text, rng(seed))
            for before, after in zip(text.split(), new.split(), strict=True):
                if before != after:
                    assert after.lower().strip(".?") not in lexicon()
                    assert after[0] == before[0] and abs(len(after) - len(before)) <= 2
                    assert len(before.strip(".?")) >= spelling.LEAST_LETTERS


def test_the_lexicon_holds_what_is_spoken_of() -> None:
    assert {"chair", "shoe", "leftmost", "handle", "segment"} <= lexicon()
