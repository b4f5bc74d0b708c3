"""The card: front matter that names the files, counts, licences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from miras.data.inspect.card import card, front_matter
from miras.data.inspect.stats import statistics, table
from tests.data.made import singles, talk


def block(text: str) -> dict[str, Any]:
    head = text.removeprefix("---\n").split("---\n")[0]
    parsed = yaml.safe_load(head)
    assert isinstance(parsed, dict)
    return parsed


@pytest.mark.parametrize(
    ("splits", "files"),
    [
        (["val", "train"], {"train": "data/train-*", "val": "data/val-*"}),
        ([""], {"train": "data/all-*"}),
        (["test", ""], {"test": "data/test-*", "train": "data/all-*"}),
        (["train", ""], {"train": "data/train-*", "undivided": "data/all-*"}),
    ],
)
def test_front_matter_names_the_files_of_each_split(splits: list[str], files: dict[str, str]) -> None:
    named = block(front_matter(splits))["configs"][0]["data_files"]
    assert [(entry["split"], entry["path"]) for entry in named] == list(files.items())


@pytest.mark.parametrize(
    ("count", "label"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (8300, "1K<n<10K"), (10**7, "n>1M")]
)
def test_size_category(count: int, label: str) -> None:
    assert block(front_matter(["train"], size=count))["size_categories"] == [label]


def test_the_whole_card(tmp_path: Path) -> None:
    stats = statistics([talk(tmp_path / "a.jpg"), *singles(tmp_path, "val")])
    rows = [{"source": "cups", "licence": "CC BY 4.0", "where": "a shelf"}, {"source": "spoons", "licence": "MIT"}]
    text = card(
        stats, name="Cups: a study", licences=rows, about="Made by hand.\n", licence="cc-by-4.0", place="me/cups"
    )
    head = block(text)
    assert (head["pretty_name"], head["license"]) == ("Cups: a study", "cc-by-4.0")
    assert "\n# Cups: a study\n\nMade by hand.\n" in text
    assert table(stats) in text
    assert "| cups | CC BY 4.0 | a shelf |\n| spoons | MIT |  |" in text
    assert 'load_dataset("me/cups", streaming=True)' in text
    assert "## Licences" not in card(stats)
