"""Sheets to be rated: of an audit, and of a study of each kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.annotate.audit.sheets import write_sheets as write_audit
from miras.eval.people.design import Design, design
from miras.eval.people.sheets import write_sheets as write_study
from tests.annotate.audit.test_sheets import record
from tests.eval.judged import make_run

EVIL = '</script><img src=x onerror="alert(1)">&'


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """The folder of an audit: four items for two raters."""
    image = tmp_path / "photo.png"
    Image.fromarray(np.full((60, 80, 3), 120, np.uint8)).save(image)
    talks = ("one", "cut", "refused", "add")
    write_audit([record(f"r{n}", image, talk=talk) for n, talk in enumerate(talks)], tmp_path / "audit", raters=2)
    return tmp_path / "audit"


@pytest.fixture(params=["pairwise", "rating"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Design, Path]:
    """A study of two raters, and its folder."""
    runs = [make_run(tmp_path / name, 6, f"secret-{name}", says=(EVIL, name), target_share=0.2)
            for name in ("first-run", "second-run")]  # fmt: skip
    plan = design(runs, request.param, items=4, raters=2, each=1)
    write_study(plan, tmp_path / "study")
    return plan, tmp_path / "study"
