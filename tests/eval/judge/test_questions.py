"""What a judge is asked, and who it is."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.eval.judge.questions import SCHEMAS, Question, compare, judges_of, prompt_versions, rate
from miras.eval.rating.criteria import CRITERIA
from miras.eval.rating.transcripts import Transcript, read_runs
from tests.eval.judged import make_run, preferred, rated

pytest.importorskip("openai")


@pytest.fixture
def transcripts(tmp_path: Path) -> list[Transcript]:
    one, two = make_run(tmp_path / "one", 1), make_run(tmp_path / "two", 1, says=("Yes.", "No."))
    return [run.transcripts[0] for run in read_runs([one, two])]


def user(question: Question) -> str:
    return question.messages[1].text


def test_a_rating_has_the_conversation_and_anchors_for_every_score(transcripts):
    question = rate(transcripts[0], sees=False)
    assert "Where is the cup?" in user(question) and "$" not in user(question)
    for name in CRITERIA:
        after = user(question).split(f"### {name}:")[1]
        assert [after.index(f"- {score}: ") for score in (5, 4, 3, 2, 1)] == sorted(
            after.index(f"- {score}: ") for score in range(1, 6)
        )
    assert "version" not in question.messages[0].text and "version:" not in user(question)
    assert question.pictures == () and len(rate(transcripts[0], sees=True).pictures) == 3


def test_the_judge_is_not_told_whose_run_it_is(transcripts):
    for question in (rate(transcripts[0], sees=True), compare(*transcripts, sees=True)):
        text = " ".join(message.text for message in question.messages)
        assert "one" not in text.split("=====")[1] and "MIRAS" not in text.upper()


def test_a_comparison_swapped_is_another_question_about_the_same(transcripts):
    one, two = compare(*transcripts, sees=True), compare(*transcripts[::-1], sees=True)
    assert user(one).index('"Here."') < user(one).index('"Yes."')
    assert user(two).index('"Here."') > user(two).index('"Yes."')
    assert len(one.pictures) == 5
    assert "see picture 4" in user(one) and "Picture 5: selected after turn 2 of the second" in user(one)
    assert (one.seed, one.key != two.key) == (two.seed, True)


def test_the_key_holds_all_that_decides_the_answer(transcripts, tmp_path):
    question = rate(transcripts[0], sees=True)
    assert rate(transcripts[0], sees=True).key == question.key
    others = [
        rate(transcripts[0], sees=True, seed=1), rate(transcripts[0], sees=False), rate(transcripts[1], sees=True),
        replace(question, pictures=question.pictures[:2]),
        replace(question, pictures=(replace(question.pictures[0], digest="d"), *question.pictures[1:])),
    ]  # fmt: skip
    assert len({other.key for other in others} | {question.key}) == 6
    moved = tuple(replace(picture, photo=tmp_path / "elsewhere.png") for picture in question.pictures)
    assert replace(question, pictures=moved).key == question.key, "the photo counts by content, not by place"


@pytest.mark.parametrize(
    ("step", "text", "fault"),
    [
        ("rate", rated(3), None),
        ("rate", rated(1, 2, 4, 5), None),
        ("rate", rated(6), "must be one of 1, 2, 3, 4, 5 (got 6)"),
        ("rate", preferred("tie"), "is missing"),
        ("rate", json.dumps({"relevance": 3}), "must be of type object"),
        ("compare", preferred("second"), None),
        ("compare", preferred("A"), "must be one of 'first', 'second', 'tie'"),
        ("compare", "first", "not valid JSON"),
    ],
)
def test_answers_are_read_or_refused(step, text, fault):
    value, faults = Question(step, (), 0).read(text)
    assert (value is None) == (fault is not None)
    assert fault is None or fault in " ".join(faults)


def test_every_key_of_the_schemas_is_required():
    """Strict structured output wants it."""
    assert SCHEMAS["rate"]["required"] == list(CRITERIA)
    assert all(part["required"] == ["reason", "score"] for part in SCHEMAS["rate"]["properties"].values())


def test_prompts_have_a_version_and_a_digest():
    versions = prompt_versions()
    assert set(versions) == {"rate", "compare", "criteria"}
    assert all(one["version"].isdigit() and len(one["digest"]) == 12 for one in versions.values())


def test_the_call_has_the_pictures_small_and_outlined(transcripts):
    (judge,) = judges_of(["m"], environment={"OPENAI_API_KEY": "k"}, max_side=48)
    call = judge._call(rate(transcripts[0], sees=True))
    sizes = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in call.pictures]
    assert sizes == [(48, 32)] * 3
    assert call.tokens == judge.estimate([rate(transcripts[0], sees=True)]).prompt_tokens > 3 * 255


# Who judges


def test_judges_and_their_keys():
    env = {"OPENAI_API_KEY": "for-openai", "MIRAS_JUDGE_KEY_2": "for-two", "OPENAI_BASE_URL": "http://one/v1"}
    one, two, three = judges_of(
        ["a", "b/b@http://two/v1"], ["c@d@https://three/v1"], env, price_in=[1], price_out=[2, 3, 4]
    )
    settings = [judge._settings for judge in (one, two, three)]
    assert [s.model for s in settings] == ["a", "b/b", "c@d"]
    assert [s.base_url for s in settings] == ["http://one/v1", "http://two/v1", "https://three/v1"]
    assert [s.api_key for s in settings] == ["for-openai", "for-two", ""], "no key goes where it does not belong"
    assert [judge.sees for judge in (one, two, three)] == [True, True, False]
    assert [(s.price_in, s.price_out) for s in settings] == [(1, 2), (1, 3), (1, 4)]


@pytest.mark.parametrize(
    ("seeing", "options", "says"),
    [
        ([], {}, "at least one judge"),
        (["a", "a"], {}, "different names"),
        (["@http://x/v1"], {}, "a model"),
        (["a@http://user:secret@x/v1"], {}, "without a user, password"),
        (["a", "b"], {"price_in": [1, 2, 3]}, "--price-in once"),
        (["a"], {"price_in": [1]}, "both prices"),
    ],
)
def test_bad_judges(seeing, options, says):
    with pytest.raises(InputError, match=says):
        judges_of(seeing, (), {"OPENAI_API_KEY": "k"}, **options)


def test_a_judge_without_a_key():
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        judges_of(["a"], (), {})
