"""What docs/api.md and docs/serve.md tell to type, typed as it stands, against a real server."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miras.model.miras import Miras
from tests.serve.site import Script, Site

DOCS = Path(__file__).resolve().parents[2] / "docs"
HERE = "http://127.0.0.1:8000"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")


@pytest.fixture(scope="module")
def site(model: Miras, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(Script(model, "small", 0.0), tmp_path_factory.mktemp("documents"))
    yield running
    running.stop()


@pytest.fixture
def place(jpeg: bytes, tmp_path: Path) -> Path:
    """A folder with the photo that the documents speak of."""
    (tmp_path / "cup.jpg").write_bytes(jpeg)
    return tmp_path


def block(name: str, kind: str, has: str) -> str:
    """The block of a document that has some words."""
    found = re.findall(rf"```{kind}\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    (one,) = [text for text in found if has in text]
    assert isinstance(one, str)
    return one


def typed(lines: str, place: Path, site: Site) -> str:
    """What a shell prints; the first line that fails ends it."""
    assert HERE in lines
    command = ["bash", "-euo", "pipefail", "-c", lines.replace(HERE, site.address)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def conversations(site: Site) -> list[Any]:
    return site.app.state.service.records.conversations("local", 200, None)[0]  # type: ignore[no-any-return]


@needs_curl
def test_curl_of_the_api(site: Site, place: Path) -> None:
    before = len(conversations(site))
    said = typed(block("api.md", "sh", "/undo"), place, site)
    replies = [json.loads(line) for line in re.findall(r"^event: reply\ndata: (.*)$", said, re.MULTILINE)]
    assert [reply["text"] for reply in replies] == ["Here is the cup.", "Added the spoon."]
    assert '"kind":"refinement"' in said and '"title":"The cup"' in said
    assert '"type":"urn:miras:problem:invalid"' in said
    assert len(conversations(site)) == before  # deleted again
    for name in ("cup.mask.png", "cup.overlay.png"):
        assert Image.open(io.BytesIO((place / name).read_bytes())).size == (64, 48)
    assert len(json.loads((place / "export.coco.json").read_text())["annotations"]) == 2


@needs_curl
def test_curl_of_the_server(site: Site, place: Path) -> None:
    assert "Here is the cup." in typed(block("serve.md", "sh", "curl"), place, site)
    assert Image.open(place / "cup.mask.png").size == (64, 48)


def test_python_of_the_api(site: Site, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(block("api.md", "python", "miras.client").replace(HERE, site.address), names)
    assert names["find"]("cup.jpg", "Where is the cup?", "Also the spoon.").name == "cup.mask.png"
    assert "Here is the cup.Added the spoon.cup + spoon" in capsys.readouterr().out
