"""The page of plots: both kinds of file, equal bytes, poor figures, bad places."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.data.inspect.stats import statistics
from tests.data.made import singles, talk

pytest.importorskip("matplotlib", reason="needs the extra data: pip install 'miras[data]'")
from miras.data.inspect import plots


def figures(folder: Path) -> dict[str, Any]:
    return statistics([talk(folder / "a.jpg"), *singles(folder)])


def test_a_picture_and_a_page(tmp_path: Path) -> None:
    stats = figures(tmp_path)
    picture = plots.page(stats, tmp_path / "new" / "a.png")
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] > 1000
    assert (pixels == (47, 111, 179)).all(axis=2).sum() > 10_000, "blue bars"
    page = plots.page(json.loads(json.dumps(stats)), tmp_path / "a.html", "Cups & saucers")
    text = page.read_text(encoding="utf-8")
    assert "<h1>Cups &amp; saucers</h1>" in text
    assert "distinct questions" in text
    assert text.count("src=") == text.count('src="data:image/png;base64,') == 1
    assert "http" not in text
    assert picture.read_bytes() == plots.page(stats, tmp_path / "b.png").read_bytes()


def test_many_sources_and_no_masks(tmp_path: Path) -> None:
    stats = statistics([])
    stats["sources"] = {f"source {n}": 30 - n for n in range(20)}
    assert plots.page(stats, tmp_path / "a.png").stat().st_size > 10_000


def test_bad_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"ends in \.png or \.html, got a\.pdf"):
        plots.page({}, tmp_path / "a.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="to write"):
        plots.page(statistics([]), tmp_path / "file" / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'miras\[data\]'"):
        plots.page(statistics([]), tmp_path / "a.png")
