"""Rules of language: each fault is found by its rule alone, and talk that people write passes."""

from __future__ import annotations

import numpy as np
import pytest

from miras.annotate.review.language import RULES, faults, forms, says, says_whole, topic
from miras.core.grammar import SPECIAL_TOKENS


@pytest.mark.parametrize(
    "text",
    [
        "Where is the cup?", "where is the handle of the scissors", "SHOW ME THE SHOES", "now the cup", "Next: cup",
        "No no, the state before that.", "What do you see...", "An hour ago, was it there?", "Select a unicorn, please",
        "Is there an umbrella or a one-way sign?", "Where are the knife and the fork?", "Find a pair of shoes.",
        "Where are the wheel of the car and the hood of the car?", "Where is the glass?", "What does 'STOP STOP' mean?",
        "Which part shows 'the the'?", "Show me the boys' shoes", "Read \u201cPowell\u2019s Books\u201d for me",
        "Do you see any people?", "What are they good for?", "Is it in the U.S., or not?", "Do they touch the ground?",
        "Do you see an MRI or a SIM?", "That's it, isn't it?!",
    ],
)  # fmt: skip
def test_good_talk_of_users(text: str) -> None:
    assert faults(text, "user") == []


@pytest.mark.parametrize(
    ("text", "named_first"),
    [
        ("Here are the shoes.", False), ("handle of the cup.", True), ("These are the shirt and the cardigan.", False),
        ("It is the tines of the fork.", False), ("They keep the feet dry.", False),
        ("'KATARI 9°' is the name.", False),
        ("The sign says 'GO!'", False), ("There is no bread in this picture.", False), ("Undone.", False),
    ],
)  # fmt: skip
def test_good_replies(text: str, named_first: bool) -> None:
    assert faults(text, "assistant", named_first=named_first) == []


@pytest.mark.parametrize(
    ("rule", "text", "role"),
    [
        ("doubled word", "Show me the the cup.", "user"),
        ("doubled word", "I see no cutting board board here.", "assistant"),
        ("quotes or brackets", "Show me the cup (left.", "user"),
        ("quotes or brackets", "Show me the cup) please.", "user"),
        ("quotes or brackets", 'It says "STOP here.', "assistant"),
        ("quotes or brackets", "Where is the 'STOP sign?", "user"),
        *[("template leftover", f"Here is {token} now.", "assistant") for token in SPECIAL_TOKENS],
        ("template leftover", "Where is {the}?", "user"),
        ("template leftover", "Where is %s now?", "user"),
        ("template leftover", "Where is <|im_end|> now?", "user"),
        ("spaces", "Where is  the cup?", "user"),
        ("spaces", "Where is the cup ?", "user"),
        ("spaces", " Where is the cup?", "user"),
        ("spaces", "Where is\nthe cup?", "user"),
        ("marks", "Here it is., there", "user"),
        ("marks", "Here is the cup..", "assistant"),
        ("marks", "Good,, the cup", "user"),
        ("unprintable", "Where is\u00a0it now?", "user"),
        ("unprintable", "Where is the\u200b cup?", "user"),
        ("unprintable", "Where is the caf\u00c3\u00a9?", "user"),
        ("a or an", "Is there a umbrella?", "user"),
        ("a or an", "Is there an cup?", "user"),
        ("a or an", "I waited a hour.", "assistant"),
        ("a or an", "It is an unique cup.", "assistant"),
        ("unfinished", "Where is the?", "user"),
        ("unfinished", "Show me the of the cup.", "user"),
        ("unfinished", "The cup and", "user"),
        ("number", "Where is the blades of the scissors?", "user"),
        ("number", "WHERE IS THE BLADES?", "user"),
        ("number", "Where are the cup?", "user"),
        ("number", "Here are the handle of the cup.", "assistant"),
        ("number", "Is there a shoes?", "user"),
        ("number", "That are they. Mark them.", "user"),
        ("number", "They helps to see.", "assistant"),
        ("number", "Why is they there?", "user"),
        ("length of a turn", "cup", "user"),
        ("length of a turn", "go " + " ".join(f"w{n}" for n in range(40)), "user"),
        ("length of a turn", "So " + " ".join(f"w{n}" for n in range(60)) + ".", "assistant"),
        ("start or end", ", where is the cup?", "user"),
        ("start or end", "Where is the cup,", "user"),
        ("start or end", "here is the cup.", "assistant"),
        ("start or end", "Here is the cup", "assistant"),
        ("start or end", "Here it is. this is the cup.", "assistant"),
    ],
)
def test_each_fault_is_found_by_its_rule_alone(rule: str, text: str, role: str) -> None:
    assert [name for name, _ in faults(text, role)] == [rule]


def test_every_rule_is_tested() -> None:
    mark = next(m for m in test_each_fault_is_found_by_its_rule_alone.pytestmark if m.name == "parametrize")
    assert {name for name, _ in RULES} | {"length of a turn", "start or end"} == {row[0] for row in mark.args[1]}


def test_one_word_is_enough_where_it_is_allowed() -> None:
    assert faults("cup?", "user", least=1) == []
    assert [rule for rule, _ in faults("...", "user", least=1)] == ["length of a turn", "start or end"]


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("Where would I hold the handles?", "handle of the cup", True),
        ("Where would I hold the cup?", "handle of the cup", False),
        ("Where does a person get seated?", "seat of the bus", True),
        ("Which part covers the legs?", "leggings", False),
        ("What is worn at the ear?", "earrings", False),
        ("Where does the man's foot go?", "feet of the man", True),
        ("Which door opens first?", "left door of the car", True),
        ("Who eats cake?", "piece of cake", True),
        ("Which text says where?", "text on the sign", False),
        ("Where does it say STOP?", "the word 'STOP'", True),
        ("Which word tells drivers to wait?", "the word 'STOP'", False),
        ("What handles the mug?", "handlebar of the bicycle", False),
    ],
)
def test_whether_a_text_says_what_a_phrase_names(text: str, phrase: str, expected: bool) -> None:
    assert says(text, phrase) is expected


def test_a_phrase_as_a_whole() -> None:
    assert says_whole("Mark all the left doors, please", "the left door")
    assert not says_whole("Mark the left front door", "left door")
    assert {"blade", "blades"} <= forms("blades") and "gripped" in forms("grip") and "closed" in forms("close")


def test_topic_is_the_nearest_answer() -> None:
    question = np.array([1, 0], np.float32)
    assert topic(question, np.array([[0, 1], [0.6, 0.8]], np.float32)) == pytest.approx(0.6)
    assert topic(question, np.zeros((0, 2), np.float32)) == 1.0
