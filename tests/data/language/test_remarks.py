from __future__ import annotations

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.data.language import phrasing, remarks
from miras.data.language.remarks import Remark, parse, unaccented

CLAIM = ("selected", "marked", "here is", "here are", "i found", "i see")


def said(topic: str, count: int = 200, heldout: bool = False) -> list[Remark]:
    return [
        remarks.load().say(np.random.default_rng(seed), "cup", heldout=heldout, topic=topic) for seed in range(count)
    ]


def test_there_are_hundreds_of_wordings_and_few_replies() -> None:
    topics = remarks.load().topics.values()
    assert sum(len(topic.train) for topic in topics) > 500
    assert sum(len(topic.heldout) for topic in topics) > 80
    assert len({reply for topic in topics for reply in topic.replies}) <= 30


def test_no_reply_claims_a_selection() -> None:
    for topic in remarks.load().topics.values():
        for reply in topic.replies:
            assert not any(claim in reply.lower() for claim in CLAIM), reply


@pytest.mark.parametrize("topic", remarks.load().topics)
def test_every_topic_is_answered_by_its_own_sentence(topic: str) -> None:
    kind = remarks.load().topics[topic]
    held = {r.text.lower().strip(" .?!") for r in said(topic, heldout=True)}
    trained = {r.text.lower().strip(" .?!") for r in said(topic)}
    assert all(remark.reply in kind.replies and remark.text for remark in said(topic))
    if topic not in ("nonsense", "tasks", "emoji"):  # made of letters and numbers drawn anew
        assert held and not held & trained - {""}


def test_languages_that_training_never_shows_are_held_out() -> None:
    trained, held = (remarks.load().tongues[side] for side in (False, True))
    assert len(held) > len(trained) >= 10
    assert not {text for tongue in trained for text in tongue.texts} & {t for tongue in held for t in tongue.texts}


def test_no_remark_is_a_request_too() -> None:
    """The same words must not want a mask in one place and none in another."""
    asked = {_plain(t) for m, texts in phrasing.load().train.items() if m not in ("thanks", "hello") for t in texts}
    for topic in remarks.load().topics.values():
        assert not {_plain(text) for text in (*topic.train, *topic.heldout)} & asked - {""}


@pytest.mark.parametrize(
    ("text", "bare"),
    [("¿Dónde está el árbol?", "Donde esta el arbol?"), ("где?", "где?"), ("こんにちは", "こんにちは")],
)
def test_unaccented(text: str, bare: str) -> None:
    assert unaccented(text) == bare


def test_faults_are_named_together() -> None:
    chat = {
        "thanks": {"train": ["Thanks!"], "heldout": ["thanks"], "replies": ["Fine."]}, "bye": {"train": ["Bye."]},
        "emoji_train": "a b", "emoji_heldout": "b",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"bye: replies.*thanks: 'thanks' is both.*emoji both train and heldout: b"):
        parse(chat, {"train": {}, "heldout": {}})
    with pytest.raises(InputError, match="weather"):
        said("weather", 1)


def _plain(text: str) -> str:
    return text.lower().strip(" .?!,")
