"""Recipes: what comes with the project loads; every fault is named at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miras.core.errors import InputError
from miras.train.recipe import recipe
from miras.train.recipe.schema import Recipe
from miras.train.stages import training_module
from miras.train.stages.training_module import check


@pytest.mark.parametrize("name", recipe.names())
def test_recipes_of_the_project_are_valid(name):
    chain = recipe.load(name)
    assert chain.recipes
    for one in chain.recipes:
        check(one)


@pytest.mark.parametrize("name", recipe.names())
def test_later_recipes_of_a_chain_go_on_from_the_one_before(name):
    assert [one.start.weights for one in recipe.load(name).recipes[1:] if one.start.weights] == []


def test_ablations_are_mini_but_for_one_part():
    mini = recipe.load("mini")
    for name in recipe.names():
        if name.startswith("no-"):
            other = recipe.load(name)
            unlike = {
                ".".join(key.split(".")[:2])
                for one, two in zip(mini.recipes, other.recipes, strict=True)
                for key in recipe.differences(one, two)
            }
            assert len(unlike) == 1, (name, unlike)


def test_changes_reach_one_recipe_of_a_chain_or_all():
    chain = recipe.load("mini", ["seed=7", "stage2:steps=3", "stage1:optimiser.lr=1e-4", "batch.photos=2"])
    first, second = chain.recipes
    assert (first.seed, second.seed, second.steps, first.optimiser.lr) == (7, 7, 3, 1e-4)
    assert first.steps != 3 and second.optimiser.lr != 1e-4
    assert first.batch.photos == second.batch.photos == 2
    assert first.batch.regions == recipe.load("stage1").recipes[0].batch.regions


def test_finish_stands_beside_the_recipes():
    assert recipe.load("mini").finish > 0
    assert recipe.load("mini", ["finish=0"]).finish == 0
    assert recipe.load("stage2", ["finish=30", "steps=2"]).finish == 30
    with pytest.raises(InputError, match="finish"):
        recipe.load("stage2", ["finish=many"])


BAD = [
    (["optimser.lr=1"], "optimser", "optimiser"),
    (["optimiser.lrr=1"], "optimiser.lrr", "lr"),
    (["batch.photo=2"], "batch.photo", "photos"),
    (["steps=many"], "steps", "integer"),
    (["steps=0"], "steps", "at least 1"),
    (["data.recorded=2"], "data.recorded", "0 to 1"),
    (["stage=4"], "stage", "1, 2 or 3"),
    (["batch.asked=-1"], "batch.asked", "at least 0"),
    (["batch.probes=-0.5"], "batch.probes", "at least 0"),
    (["batch.detail=500"], "batch.detail", "16"),
    (["nonsense"], "nonsense", "key=value"),
    (["tuning=qlora"], "tuning", "lora"),
]


@pytest.mark.parametrize(("changes", "key", "hint"), BAD)
def test_a_wrong_key_or_value_is_named(changes, key, hint):
    with pytest.raises(InputError) as caught:
        recipe.load("stage1", changes)
    assert key in str(caught.value) and hint in str(caught.value)


def test_all_faults_at_once():
    with pytest.raises(InputError) as caught:
        recipe.load("stage2", ["stepps=1", "batch.photos=none", "optimiser.emma=0"])
    for word in ("stepps", "batch.photos", "optimiser.emma"):
        assert word in str(caught.value)


def test_keys_of_losses_and_history_are_those_of_the_stage():
    with pytest.raises(InputError, match=r"history\.ovn.*losses\.txt"):
        check(recipe.load("stage2", ["losses.txt=1", "history.ovn=1"]).recipes[0])
    with pytest.raises(InputError, match=r"losses\.text"):
        check(recipe.load("stage1", ["losses.text=1"]).recipes[0])
    with pytest.raises(InputError, match="regular expression"):
        check(recipe.load("stage1", ["optimiser.rates={'(': 1}"]).recipes[0])


@pytest.mark.parametrize(
    ("name", "word"), [("stag1", "stage1"), ("none.yaml", "none.yaml"), ("unheard-of", "docs/training.md")]
)
def test_unknown_recipes_say_what_there_is(name, word):
    with pytest.raises(InputError, match=word):
        recipe.load(name)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "42"])
def test_a_file_that_is_no_recipe(tmp_path, text):
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(InputError):
        recipe.load(str(file))


@given(
    st.integers(1, 10**6), st.floats(1e-6, 1), st.sampled_from(["gold", "own", "mixed"]), st.booleans(),
    st.tuples(st.integers(1, 3), st.integers(3, 9)),
)  # fmt: skip
def test_what_is_written_is_read_again(tmp_path_factory, steps, rate, mode, half, turns):
    one = recipe.load(
        "stage2",
        [f"steps={steps}", f"optimiser.factor={rate}", f"history.mode={mode}", f"data.turns={list(turns)}",
         f"precision={'bf16' if half else 'float32'}"],
    ).recipes[0]  # fmt: skip
    file = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    file.write_text(recipe.to_yaml(one))
    again = recipe.read(file)
    assert isinstance(again, Recipe) and recipe.differences(one, again) == []


@pytest.mark.parametrize(
    ("precision", "native", "half"),
    [("auto", True, True), ("auto", False, False), ("bf16", False, True), ("float32", True, False)],
)
def test_bfloat16_by_itself_only_where_the_processor_multiplies_it(monkeypatch, precision, native, half):
    monkeypatch.setattr(training_module, "fastest_dtype", lambda: torch.bfloat16 if native else torch.float32)
    one = recipe.load("stage1", [f"precision={precision}", "device=cpu"]).recipes[0]
    assert training_module.is_half(one) is half
