"""Figures on words: BLEU-4, ROUGE-L, METEOR, Dist-1 and Dist-2, from kept libraries.

In: replies and gold replies, in the same order. Out: per cent, over the corpus. Knows no mask, model or file.
Which numbers these are, for whoever compares: BLEU-4 is sacrebleu's, over the corpus, cased, 13a tokens (its
signature goes into the summary). ROUGE-L is the mean F of rouge-score with its stemmer. METEOR is nltk's (Lavie and
Agarwal 2007: alpha 0.9, beta 3, gamma 0.5), exact and stem matches only, since WordNet is in no package: other
METEORs give other numbers, so it goes by the name `meteor_es`. METEOR and Dist-n work on lower-cased 13a tokens.
Needs the extra `eval`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from miras.core.errors import InputError


def bleu4(replies: Sequence[str], gold: Sequence[str]) -> float:
    """Corpus BLEU-4 (Papineni et al. 2002), 0 to 100. Raises InputError as all here: unequal numbers, no extra."""
    _paired(replies, gold)
    return _bleu()[0](replies, gold) if replies else 0.0


def bleu_signature() -> str:
    """What sacrebleu asks to print beside its score."""
    return _bleu()[1]


def rouge_l(replies: Sequence[str], gold: Sequence[str]) -> float:
    """Mean F of the longest common subsequence of words (Lin 2004), stemmed, 0 to 100."""
    _paired(replies, gold)
    scorer = _rouge()
    scores = [scorer.score(wanted, said)["rougeL"].fmeasure for said, wanted in zip(replies, gold, strict=True)]
    return 100 * sum(scores) / len(scores) if scores else 0.0


def meteor_es(replies: Sequence[str], gold: Sequence[str]) -> float:
    """Mean METEOR of exact and stem matches, 0 to 100."""
    _paired(replies, gold)
    score = _meteor()
    scores = [score(words(wanted), words(said)) for said, wanted in zip(replies, gold, strict=True)]
    return 100 * sum(scores) / len(scores) if scores else 0.0


def distinct(replies: Sequence[str], n: int) -> float:
    """Dist-n (Li et al. 2016): different n-grams over all n-grams of all replies, 0 to 100."""
    if n < 1:
        raise InputError("n-grams of at least 1 word", str(n))
    grams = [gram for reply in replies for gram in _grams(words(reply), n)]
    return 100 * len(set(grams)) / len(grams) if grams else 0.0


def words(text: str) -> list[str]:
    """Lower-cased tokens, as sacrebleu's 13a splits them."""
    tokens: list[str] = _tokenizer()(text.lower()).split()
    return tokens


def summary(replies: Sequence[str], gold: Sequence[str]) -> dict[str, Any]:
    """All figures by name, and BLEU's signature."""
    return {
        "n": len(replies), "bleu4": bleu4(replies, gold), "rouge_l": rouge_l(replies, gold),
        "meteor_es": meteor_es(replies, gold), "dist1": distinct(replies, 1), "dist2": distinct(replies, 2),
        "gold_dist1": distinct(gold, 1), "gold_dist2": distinct(gold, 2), "bleu_signature": bleu_signature(),
    }  # fmt: skip


def _paired(replies: Sequence[str], gold: Sequence[str]) -> None:
    if isinstance(replies, str) or isinstance(gold, str):
        raise InputError("a list of replies and a list of gold replies", "one text", "put it into a list")
    if len(replies) != len(gold):
        raise InputError("a reply for each gold reply", f"{len(replies)} for {len(gold)}")


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


# Libraries, each loaded once, when first asked for


class _NoSynonyms:
    """What nltk asks of WordNet: no word has another meaning."""

    def synsets(self, word: str) -> list[Any]:
        """None."""
        return []


@cache
def _bleu() -> tuple[Any, str]:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise _missing("sacrebleu") from error
    metric = BLEU(tokenize="13a")
    metric.corpus_score(["a"], [["a"]])  # the signature tells the number of references once they were seen
    return lambda replies, gold: float(metric.corpus_score(list(replies), [list(gold)]).score), str(
        metric.get_signature()
    )


@cache
def _tokenizer() -> Any:
    try:
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    except ImportError as error:
        raise _missing("sacrebleu") from error
    made: Any = Tokenizer13a
    return made()


@cache
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise _missing("rouge-score") from error
    return RougeScorer(["rougeL"], use_stemmer=True)


@cache
def _meteor() -> Any:
    try:
        from nltk.translate.meteor_score import single_meteor_score
    except ImportError as error:
        raise _missing("nltk") from error
    return lambda gold, said: float(single_meteor_score(gold, said, wordnet=_NoSynonyms()))


def _missing(package: str) -> InputError:
    return InputError(f"the package {package}", "none installed", "pip install 'miras[eval]'")
