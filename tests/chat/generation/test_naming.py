"""In doubt whole names are weighed; what is read ahead changes no cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miras.chat.generation import naming
from miras.chat.generation.decoding import ReplyRules
from miras.chat.generation.naming import Name, is_doubtful, names, shares
from miras.chat.generation.speculation import DraftToken
from miras.chat.inputs import Recompute
from miras.chat.session import ChatSession
from miras.core.grammar import CHATML, OBJ, SEG
from miras.core.grammar import SPECIAL_TOKENS as SPECIAL
from miras.model.miras import Miras
from tests.chat.generation.test_decoding import GRAMMAR, VOCABULARY, rules

A, B, C, CLOSE = ord("a"), ord("b"), ord("c"), GRAMMAR.id(SEG)
Language = dict[tuple[int, ...], dict[int, float]]
"""What was said of a name -> chances of what comes next."""


def logits(chances: dict[int, float]) -> NDArray[np.float64]:
    values = np.full(VOCABULARY, 1e-9)
    for token, chance in chances.items():
        values[token] = chance
    return np.log(values)


def opened() -> ReplyRules:
    state = rules()
    state.push(GRAMMAR.id(OBJ))
    return state


def read(language: Language) -> list[tuple[str, float]]:
    """Names and their chances, by a language of a few words."""

    def verify(tree: Sequence[DraftToken]) -> NDArray[np.float64]:
        paths: list[tuple[int, ...]] = []
        for draft in tree:
            paths.append((*(paths[draft.parent] if draft.parent >= 0 else ()), draft.token_id))
        return np.stack([logits(language.get(path, {CLOSE: 1.0})) for path in paths])

    state = opened()
    found = names(state.restrict(logits(language[()])), state, verify)
    assert all(name.ids[-1] == CLOSE for name in found)
    assert sum(np.exp(shares(found))) == pytest.approx(1)
    return [(GRAMMAR.tokenizer.decode(name.ids[:-1]), float(np.exp(name.chance))) for name in found]


@pytest.mark.parametrize(("language", "expected"), [
    ({(): {A: 0.6, B: 0.4}}, [("a", 0.6), ("b", 0.4)]),
    ({(): {A: 0.6, B: 0.4}, (A,): {B: 0.5, C: 0.5}}, [("b", 0.4), ("ab", 0.3), ("ac", 0.3)]),  # greedy would say "ab"
    ({(): {A: 0.6, B: 0.4}, (A,): {CLOSE: 0.5, B: 0.5}}, [("b", 0.4), ("a", 0.3), ("ab", 0.3)]),
    ({(): {A: 0.99, B: 0.01}}, [("a", 0.99)]),  # too far below the likeliest
    ({(): {CLOSE: 0.9, A: 0.1}}, [("a", 1.0)]),  # a name is not empty
])  # fmt: skip
def test_the_likeliest_names(language: Language, expected: list[tuple[str, float]]) -> None:
    found = read(language)
    assert [phrase for phrase, _ in found] == [phrase for phrase, _ in expected]
    assert [chance for _, chance in found] == pytest.approx([chance for _, chance in expected], abs=1e-4)


@given(st.dictionaries(
    st.lists(st.sampled_from([A, B, C]), max_size=2).map(tuple),
    st.dictionaries(st.sampled_from([A, B, C, CLOSE]), st.floats(0.01, 1.0), min_size=1, max_size=4), max_size=13,
))  # fmt: skip
@settings(max_examples=60)
def test_chances_are_those_of_the_words_and_fall(language: Language) -> None:
    language = {path: {t: p / sum(c.values()) for t, p in c.items()} for path, c in language.items()}
    language.setdefault((), {A: 0.5, B: 0.5})
    language[()] = {token: p for token, p in language[()].items() if token != CLOSE} or {C: 1.0}
    language[()] = {token: p / sum(language[()].values()) for token, p in language[()].items()}
    found = read(language)
    assert 1 <= len(found) <= naming.WIDTH and len({phrase for phrase, _ in found}) == len(found)
    chances = [chance for _, chance in found]
    assert chances == sorted(chances, reverse=True) and chances[-1] >= chances[0] * np.exp(-naming.MARGIN) * 0.999
    for phrase, chance in found:
        path, product = (), 1.0
        for token in [*map(ord, phrase), CLOSE]:
            product *= language.get(path, {CLOSE: 1.0}).get(token, 1e-9)
            path = (*path, token)
        assert chance == pytest.approx(product, rel=1e-3)


def test_a_name_ends_where_no_more_is_allowed() -> None:
    state = ReplyRules(GRAMMAR, CHATML, max_new_tokens=3, room=500)
    state.push(GRAMMAR.id(OBJ))

    def verify(tree: Sequence[DraftToken]) -> NDArray[np.float64]:
        return logits({A: 0.5, B: 0.5})[None].repeat(len(tree), 0)

    found = names(state.restrict(logits({A: 0.5, B: 0.5})), state, verify)
    assert found and all(len(name.ids) == 3 and name.ids[-1] == CLOSE for name in found)


def test_doubt() -> None:
    assert is_doubtful(logits({A: 0.6, B: 0.4})) and not is_doubtful(logits({A: 0.9, B: 0.1}))


@pytest.mark.parametrize("recompute", ["turn", "token"])
def test_the_cache_holds_what_was_said(
    model: Miras, photo: NDArray[np.uint8], recompute: Recompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every reply names things, each in doubt; the ids and masks are those of a session without a cache."""
    bias = model.instruction.special_bias.detach().clone()
    bias[SPECIAL.index(OBJ)] += 20
    bias[SPECIAL.index(SEG)] += 3
    monkeypatch.setattr(model.instruction.special_bias, "data", bias)
    never: Recompute = "never"
    looks: list[list[Name]] = []
    monkeypatch.setattr("miras.chat.generation.engine.names", lambda *given: looks.append(names(*given)) or looks[-1])
    kept, anew = (ChatSession(model, photo, max_new_tokens=30, recompute=way) for way in (never, recompute))
    plain = ChatSession(model, photo, max_new_tokens=30)
    plain.backend.engine.past.lookahead = False
    for text in ("one", "two", "three"):
        one, other, third = kept.ask(text), anew.ask(text), plain.ask(text)
        assert one.ids == other.ids == third.ids
        assert (one.selection.mask != other.selection.mask).mean() < 0.001
        for region in one.regions:
            assert 0 <= sum(other.chance for other in region.alternatives) < 1
            assert region.phrase not in [other.phrase for other in region.alternatives]
        past = kept.backend.engine.past
        assert len(past.cache) == len(past.ids) and tuple(past.ids) == kept.backend.context.run(kept._state).ids
    again = ChatSession.from_json(model, kept.to_json(), photo)
    assert [r.alternatives for r in again.regions] == [r.alternatives for r in kept.regions]
    assert len(looks) > 3 and any(len(found) > 1 for found in looks)
