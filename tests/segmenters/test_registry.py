"""From specs to segmenters: what is known, what is told of the rest, and that nothing is loaded too early."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.core.segmenter import PROMPTS, Candidates, Prompt, Segmenter
from miras.segmenters import grounded, registry
from miras.segmenters.registry import SEGMENTERS, Entry, known, segmenter_of
from miras.segmenters.source import Place
from tests.segmenters.conftest import Make, Open, Photo

SPECS = {
    "miras": lambda c: "miras-tiny", "sam": lambda c: f"sam:{c('sam')}", "sam2": lambda c: f"sam2:{c('sam2')}",
    "sam3": lambda c: f"sam3:{c('sam3')}", "gdino": lambda c: f"gdino:{c('gdino')}+sam2:{c('sam2')}",
    "clipseg": lambda c: f"clipseg:{c('clipseg')}",
}  # fmt: skip


@pytest.mark.parametrize("kind", SEGMENTERS)
def test_every_entry_opens_and_takes_what_it_says(checkpoint: Make, photo: Photo, kind: str, opened: Open) -> None:
    spec = SPECS[kind](checkpoint)
    segmenter: Segmenter = opened(spec)
    assert segmenter.name == spec
    told = set(SEGMENTERS[kind].takes.split(", "))
    assert told == set(segmenter.prompts) - {"embedding"} and segmenter.prompts <= set(PROMPTS)
    facts = segmenter.facts()
    assert facts["segmenter"] == spec and facts["weights"] and facts["dtype"] == "torch.float32"
    encoding = segmenter.encode(photo)
    prompt = Prompt(phrase="cup") if "phrase" in told else Prompt(box=(10, 10, 200, 300))
    found = segmenter.segment(encoding, prompt)
    assert isinstance(found, Candidates) and found.masks.shape[1:] == photo.shape[:2]


@pytest.mark.parametrize("kind", SEGMENTERS)
def test_a_photo_may_be_encoded_in_less_precision(checkpoint: Make, photo: Photo, kind: str, opened: Open) -> None:
    """The towers compute in bfloat16, everything after them in float32: about the same answer, of the same types."""
    spec = SPECS[kind](checkpoint)
    exact, half = opened(spec), segmenter_of(spec, dtype="bfloat16")
    assert half.facts()["dtype"] == "torch.bfloat16"
    prompt = Prompt(phrase="cup") if kind == "clipseg" else Prompt(box=(10, 10, 200, 300))
    ours, theirs = (one.segment(one.encode(photo), prompt) for one in (exact, half))
    assert theirs.masks.shape == ours.masks.shape and abs(theirs.score - ours.score) < 0.1
    assert (ours.masks == theirs.masks).mean() > 0.8
    if "phrase" in half.prompts:
        named = [one.segment(one.encode(photo), Prompt(phrase="cup")).presence for one in (exact, half)]
        assert named[0] == pytest.approx(named[1], abs=0.1)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("sma:x", "did you mean sam:REPO? there are: miras-mini or miras:FOLDER (phrase, points, box, mask); sam:REPO"),
        ("sam2", "did you mean sam2:REPO?"),
        ("sam2:", "did you mean sam2:REPO?"),
        ("", "expected a segmenter, got ''; there are:"),
        ("nothing like it", "there are: miras-mini"),
        ("miras", "did you mean miras-mini or miras:FOLDER?"),
    ],
)
def test_an_unknown_one_is_told_all_that_there_are(spec: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        segmenter_of(spec)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).count("REPO") >= 5


@pytest.mark.parametrize(
    ("options", "says"), [({"device": "cuda:77"}, "a device"), ({"dtype": "float16"}, "float32 or bfloat16")]
)
def test_a_place_that_is_none(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        segmenter_of("miras-tiny", **options)


def test_a_new_one_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        name, prompts = "nothing:at all", frozenset({"phrase"})

        def facts(self) -> dict[str, Any]:
            return {}

        def encode(self, photo: Photo) -> tuple[int, ...]:
            return photo.shape[:2]

        def segment(self, encoding: tuple[int, int], prompt: Prompt) -> Candidates:
            return Candidates(np.zeros((0, *encoding), np.bool_), np.zeros(0, np.float32))

    asked: list[tuple[str, Place, str]] = []

    def make(rest: str, place: Place, spec: str) -> Segmenter:
        asked.append((rest, place, spec))
        return Nothing()

    monkeypatch.setitem(SEGMENTERS, "nothing", Entry("nothing:WHAT", "phrase", make))
    found = segmenter_of("nothing:at all", dtype="bfloat16")
    assert len(found.segment(found.encode(np.zeros((3, 4, 3), np.uint8)), Prompt(phrase="x"))) == 0
    assert asked == [("at all", Place(torch.device("cpu"), torch.bfloat16), "nothing:at all")]


def test_a_spec_is_known_without_loading_a_family() -> None:
    code = (
        "import sys; from miras.segmenters.registry import known; known('sam2:x'); known('miras-mini')\n"
        "print([name for name in sys.modules if name.startswith('miras.segmenters.') or '.sam2' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert eval(done.stdout.splitlines()[-1]) == ["miras.segmenters.registry", "miras.segmenters.source"] or eval(
        done.stdout.splitlines()[-1]
    ) == ["miras.segmenters.source", "miras.segmenters.registry"]


paths = st.text(alphabet="abc/._+-0", min_size=1, max_size=12).filter(str.strip)


@given(paths, st.sampled_from(["sam", "sam2", "sam3", "miras"]), paths)
def test_the_second_spec_of_a_pair_begins_where_it_begins(first: str, kind: str, second: str) -> None:
    pair = f"{first}+{kind}:{second}"
    head, *rest = grounded._SECOND.split(pair, maxsplit=1)
    assert rest == [f"{kind}:{second}"] or (first.endswith(("+", "-", "0")) and f"{head}+{rest[0]}" == pair)
    assert known(f"gdino:{pair}") == (SEGMENTERS["gdino"], pair)
    assert registry.known("miras-mini") == (SEGMENTERS["miras"], "miras-mini")
