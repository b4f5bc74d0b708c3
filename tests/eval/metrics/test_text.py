"""Text metrics: known values, and METEOR against its formula."""

from __future__ import annotations

import sys

import pytest

from miras.core.errors import InputError
from miras.eval.metrics import text

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")
pytest.importorskip("nltk")

GOLD = ["I have selected the handle of the red cup.", "That would be the spoon."]
SAID = ["I have selected the red cup.", "That would be the spoons."]
FIGURES = (text.bleu4, text.rouge_l, text.meteor_es)


@pytest.mark.parametrize("figure", FIGURES)
def test_the_gold_reply_scores_highest_and_other_words_nothing(figure):
    assert 99 < figure(GOLD, GOLD) <= 100 + 1e-9
    assert figure(["zebra quantum", "x"], GOLD) == pytest.approx(0, abs=1e-9)
    assert 0 < figure(SAID, GOLD) < figure(GOLD, GOLD)
    assert figure([], []) == 0


def test_bleu_is_pooled_over_the_corpus_not_a_mean():
    import sacrebleu

    assert text.bleu4(SAID, GOLD) == pytest.approx(sacrebleu.corpus_bleu(SAID, [GOLD]).score)
    single = [text.bleu4([said], [gold]) for said, gold in zip(SAID, GOLD, strict=True)]
    assert text.bleu4(SAID, GOLD) != pytest.approx(sum(single) / 2)
    assert "tok:13a" in text.bleu_signature()


def test_bleu_by_hand():
    """Precisions 3/4, 2/3, 1/2 and, smoothed, 1/2 of one: no brevity penalty."""
    expected = 100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25
    assert text.bleu4(["the red cup here"], ["the red cup there"]) == pytest.approx(expected)


def test_rouge_l_by_hand():
    """Longest common subsequence of 3 in 3 and 5 words; the stemmer takes "cups" for "cup"."""
    assert text.rouge_l(["the red cups"], ["the red and blue cup"]) == pytest.approx(100 * 2 * 0.6 / 1.6)


@pytest.mark.parametrize(
    ("said", "gold", "matches", "chunks"),
    [
        ("the red cup", "the red cup", 3, 1),
        ("the red cups", "the red cup", 3, 1),
        ("The Red cup", "the red cup", 3, 1),
        ("cup red the", "the red cup", 3, 3),
        ("the blue cup", "the red cup", 2, 2),
        ("select the red cup now", "the red cup", 3, 1),
        ("the automobile", "the car", 1, 1),
    ],
    ids=["same", "stem", "case", "order", "gap", "longer", "synonym does not match"],
)
def test_meteor_is_its_formula(said, gold, matches, chunks):
    precision, recall = matches / len(said.split()), matches / len(gold.split())
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    expected = 100 * mean * (1 - 0.5 * (chunks / matches) ** 3)
    assert text.meteor_es([said], [gold]) == pytest.approx(expected)


def test_meteor_is_nltks_without_wordnet():
    from nltk.translate.meteor_score import meteor_score

    class Stub:
        def synsets(self, word):
            return []

    for said, gold in zip(SAID, GOLD, strict=True):
        expected = 100 * meteor_score([text.words(gold)], text.words(said), wordnet=Stub())
        assert text.meteor_es([said], [gold]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("replies", "n", "expected"),
    [
        (["the cup the cup"], 1, 50),
        (["the cup the cup"], 2, 100 * 2 / 3),
        (["the cup", "The cup"], 1, 50),
        (["the cup", "the cup"], 2, 50),
        (["cup"], 2, 0),
        ([], 1, 0),
        (["the cup."], 1, 100),
    ],
)
def test_distinct(replies, n, expected):
    assert text.distinct(replies, n) == pytest.approx(expected)


def test_summary_has_every_figure():
    values = text.summary(SAID, GOLD)
    assert values["n"] == 2
    assert values["bleu4"] == text.bleu4(SAID, GOLD)
    assert values["dist2"] == text.distinct(SAID, 2)
    assert set(values) == {
        "n", "bleu4", "rouge_l", "meteor_es", "dist1", "dist2", "gold_dist1", "gold_dist2", "bleu_signature",
    }  # fmt: skip


@pytest.mark.parametrize("figure", [*FIGURES, text.summary])
def test_bad_input(figure):
    with pytest.raises(InputError, match="1 for 2"):
        figure(["a"], GOLD)
    with pytest.raises(InputError, match="a list of replies"):
        figure("a", "b")


def test_grams_have_a_word():
    with pytest.raises(InputError, match="at least 1 word"):
        text.distinct(["a"], 0)


@pytest.mark.parametrize(
    ("figure", "loader", "module", "package"),
    [
        (text.bleu4, "_bleu", "sacrebleu.metrics.bleu", "sacrebleu"),
        (text.rouge_l, "_rouge", "rouge_score.rouge_scorer", "rouge-score"),
        (text.meteor_es, "_meteor", "nltk.translate.meteor_score", "nltk"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, figure, loader, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(text, loader, getattr(text, loader).__wrapped__)
    with pytest.raises(InputError, match=rf"{package}.*miras\[eval\]"):
        figure(SAID, GOLD)
