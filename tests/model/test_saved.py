"""A saved model goes to the hub and comes back from it, by its real client, over HTTP; the cards pass its checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from miras.core.errors import WeightsError
from miras.model import presets
from miras.model.saved import located, push_to_hub
from tests.model.stand_in_hub import Hub

ROOT = Path(__file__).resolve().parents[2]
CARD = "---\nlicense: apache-2.0\nlibrary_name: miras\n---\n# A tiny model\n"
SCRIPT = """
import json, sys, torch, miras, miras.model.auto
from transformers import AutoModel
from miras.model.miras import Miras
from miras.model.saved import push_to_hub
from miras.core.errors import WeightsError

folder, photo = sys.argv[1:]
told = {"commit": push_to_hub(folder, "org/miras-tiny", token="hf_none")}
here, there = Miras.from_pretrained(folder), Miras.from_pretrained("org/miras-tiny")
auto = AutoModel.from_pretrained("org/miras-tiny")
told["same"] = all(torch.equal(v, w) and torch.equal(v, x) for v, w, x in zip(
    here.saved_state().values(), there.saved_state().values(), auto.saved_state().values(), strict=True))
told["kind"] = type(auto).__name__
told["answers"] = [miras.load(name).chat(photo).ask("Where is the cup?").text for name in (folder, "org/miras-tiny")]
try:
    Miras.from_pretrained("org/none")
except WeightsError as error:
    told["none"] = str(error)
print(json.dumps(told))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    presets.build("miras-tiny").save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "README.md").write_text(CARD)
    (tmp_path / "saved" / "notes.pkl").write_bytes(b"not to be sent")
    return tmp_path / "saved"


def test_a_model_goes_to_the_hub_and_comes_back(hub: Hub, folder: Path, tmp_path: Path):
    photo = ROOT / "src" / "miras" / "assets" / "chelsea.jpg"
    settings = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1"}  # fmt: skip
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, str(folder), str(photo)]
    done = subprocess.run(command, env={**os.environ, **settings, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    pushed = hub.repositories["org/miras-tiny"]
    kept = ("config.json", "model.safetensors", "continuations.json", "README.md")
    assert {name: content for name, content in pushed.items() if name != ".gitattributes"} == {
        name: (folder / name).read_bytes() for name in kept
    }
    assert told["same"]
    assert told["kind"] == "Miras"
    assert told["answers"][0] == told["answers"][1]
    assert told["commit"].startswith(hub.address)
    assert "org/none" in told["none"]
    assert "\n" not in told["none"]


@pytest.mark.parametrize("name", ["here", "a/b/c", "/nowhere/at all", "../x/y"])
def test_only_what_can_be_a_repository_is_looked_for(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("miras.model.hub.folders.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    assert located(name) == Path(name)


def test_without_the_hub_it_is_one_line():
    with pytest.raises(WeightsError, match="no such folder") as error:
        located("nobody/nothing")
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model_is_not_sent(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"config\.json"):
        push_to_hub(tmp_path, "org/none")


def test_the_model_card_passes_the_hubs_checks():
    from huggingface_hub import ModelCard

    card = ModelCard.load(ROOT / "src" / "miras" / "weights" / "miras-mini" / "README.md")
    about = card.data.to_dict()
    assert (about["license"], about["library_name"]) == ("apache-2.0", "miras")
    assert about["pipeline_tag"] == "image-segmentation"
    assert ModelCard(str(card)).data.to_dict() == about


def test_a_dataset_card_passes_the_hubs_checks():
    from huggingface_hub import DatasetCard

    from miras.data.inspect.card import card
    from miras.data.inspect.stats import statistics

    read = DatasetCard(card(statistics([]), name="Made here"))
    assert read.data.to_dict()["license"] == "other"
    assert read.text.lstrip().startswith("# Made here")
