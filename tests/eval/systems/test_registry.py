"""From a spec to the system that is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miras.chat.load import Loaded
from miras.core.errors import InputError, WeightsError
from miras.core.former import FormerNameWarning
from miras.eval.systems import registry
from miras.eval.systems.predictions_format import write
from miras.eval.systems.vision import Vision
from tests.servers import say, serve


@pytest.fixture
def loader(tiny):
    """Loads nothing but the tiny model; keeps what was asked for."""

    def load(name: str, threads: int | None) -> Loaded:
        load.asked.append((name, threads))
        return Loaded(tiny, name, 0.0)

    load.asked = []
    return load


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        ("miras-tiny", ("miras-tiny", 1)),
        ("baseline:ellipse", None),
        ("baseline:photo", None),
        ("baseline:salient", None),
        ("baseline:phrase", ("dec", 1)),
        ("baseline:gold-box", ("dec", 1)),
        ("baseline:gold-talker", ("dec", 1)),
    ],
)
def test_a_spec_opens_its_system_and_loads_what_it_needs_alone(loader, spec, asked):
    system = registry.open_system(spec, decoder="dec", threads=1, loader=loader)
    assert system.name == spec
    assert loader.asked == ([] if asked is None else [asked])
    registry.close(system)  # nothing to close, and no error


def test_a_former_prefix_opens_the_same_and_says_so(loader):
    with pytest.warns(FormerNameWarning, match="'floor:photo' is called 'baseline:photo' now"):
        system = registry.open_system("floor:photo", loader=loader)
    assert system.name == "baseline:photo"


def test_a_folder_of_weights_goes_by_its_path(loader, tmp_path):
    assert registry.open_system(str(tmp_path), loader=loader).name == str(tmp_path)
    assert registry.open_system(f"./{tmp_path.name}", loader=loader).name == f"./{tmp_path.name}"


def test_predictions(loader, tmp_path):
    write(tmp_path / "p", [{"record": "r", "turn": 1, "masks": []}], name="theirs")
    system = registry.open_system(f"predictions:{tmp_path / 'p'}", others={"r"}, loader=loader)
    assert system.name == "theirs" and loader.asked == []


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("miras-min", "did you mean 'miras-mini'"),
        ("baseline:elipse", "did you mean 'baseline:ellipse'"),
        ("salient", "did you mean 'baseline:salient'"),
        ("baseline:", "baseline:gold-box"),
        ("prediction:folder", "did you mean 'predictions:'"),
        ("opnai:gpt", "did you mean 'openai:'"),
        ("zebra", "known: a name or folder of weights, predictions:FOLDER, openai:MODEL, composed, baseline:ellipse"),
        ("", "known:"),
        ("predictions:", "predictions:FOLDER"),
        ("openai: ", "openai:MODEL"),
        ("predictions:/no/where", "neither"),
        ("composed", "a talker for a composed model"),
        ("composed:qwen", "--talker and --segmenter"),
    ],
)
def test_a_spec_that_is_none(loader, spec, says):
    with pytest.raises(InputError) as caught:
        registry.open_system(spec, loader=loader)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert loader.asked == []


def test_a_path_that_leads_nowhere_is_told_by_the_loader():
    with pytest.raises(WeightsError, match="no such folder"):
        registry.open_system("no/where")


@pytest.mark.parametrize(
    ("endpoint", "environment", "says"),
    [
        ({}, {}, "OPENAI_API_KEY"),
        ({"base_url": "ftp://host"}, {}, "--base-url"),
        ({"base_url": "http://user:secret@host/v1"}, {}, "OPENAI_API_KEY"),
        ({"price_in": 1.0}, {"OPENAI_API_KEY": "k"}, "both prices"),
        ({"retries": -1}, {"OPENAI_API_KEY": "k"}, "retries"),
    ],
)
def test_an_endpoint_that_cannot_be_asked(loader, tmp_path, endpoint, environment, says):
    pytest.importorskip("openai")
    with pytest.raises(InputError) as caught:
        registry.open_system("openai:m", endpoint=endpoint, environment=environment, loader=loader)
    assert says in str(caught.value) and "secret" not in str(caught.value)
    assert loader.asked == []  # the address is looked at before weights are loaded


def test_an_endpoint(loader, tmp_path, photo_path):
    """The key goes to the server and nowhere else."""
    pytest.importorskip("openai")
    options: dict[str, Any] = {"temperature": None, "timeout": 5.0, "retries": 0}
    answer = '{"text": "No.", "steps": [{"do": "refuse", "regions": []}]}'
    with serve(say(answer)) as server:
        system = registry.open_system(
            "openai:see-1", decoder="dec", seed=3, loader=loader, journal=tmp_path / "run" / registry.JOURNAL,
            endpoint={**options, "base_url": server.url}, environment={"OPENAI_API_KEY": "k-secret"},
        )  # fmt: skip
        assert isinstance(system, Vision) and system.name == "openai:see-1" and loader.asked == [("dec", None)]
        assert system.start(photo_path).ask("the dog").refused
        registry.close(system)
    assert server.headers_seen[0]["authorization"] == "Bearer k-secret"
    assert server.asked[0]["model"] == "see-1" and "temperature" not in server.asked[0]
    kept = (tmp_path / "run" / registry.JOURNAL).read_text()
    assert "k-secret" not in kept + str(system.facts()) and "No." in kept


def test_a_pair(loader, tmp_path, photo_path):
    (tmp_path / "script").write_text('{"text": "No.", "steps": [{"do": "refuse", "regions": []}]}')
    pair = {"talker": f"scripted:{tmp_path / 'script'}", "segmenter": "miras-tiny", "look": False, "preset": None}
    system = registry.open_system("composed", loader=loader, pair=pair, seed=2)
    assert isinstance(system, Vision) and system.name.startswith("composed:scripted:") and loader.asked == []
    assert system.start(photo_path).ask("the dog").refused and system.facts()["looks"] is False
    registry.close(system)


def test_a_journal_where_nothing_can_be_written(loader, tmp_path):
    pytest.importorskip("openai")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="to write"):
        registry.open_system(
            "openai:m", endpoint={"base_url": "http://127.0.0.1:9/v1"}, environment={}, loader=loader,
            journal=Path(tmp_path / "file" / "run" / "a.jsonl"),
        )  # fmt: skip
