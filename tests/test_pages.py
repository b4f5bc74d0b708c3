"""The pages whose Python runs as it stands: README's example, the quickstart, how to extend. One program a page.

The photos that ship stand for those of a reader, `miras-mini` for the model; what a page prints is not compared,
for other weights say other things, but what it leaves and defines is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.own_photos import write

ROOT = Path(__file__).resolve().parents[1]


def program(page: str) -> str:
    """All Python blocks of a page, in their order."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    return "\n".join(blocks)


def run(page: str, folder: Path, check: str) -> str:
    """What the page's program prints in a folder of its own; `check` runs after it and sees its names."""
    place = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"{program(page)}\n{check}"], cwd=folder, env=os.environ | place, capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "src").symlink_to(ROOT / "src")
    said = run(
        "README.md", tmp_path,
        "assert len(session.history) == 2 and session.history[0].regions, 'the person is not found'\n"
        "assert reply.selection.mask.shape == (512, 512) and reply.selection.mask.any()\n"
        "print('expression', reply.selection.expression)",
    )  # fmt: skip
    assert "person" in said
    written = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {".png", ".json", ".svg"} <= written


def test_the_quickstart(tmp_path: Path) -> None:
    said = run(
        "docs/quickstart.md", tmp_path,
        "assert session.history and all(region.mask.any() for region in session.regions)\n"
        "assert len(other.turns) > 0 and other is not session\n"
        "assert again.selection.expression == session.selection.expression\n"
        "assert (again.selection.mask == session.selection.mask).all()\n"
        "print('next', again.ask('Also the hair.').text == session.ask('Also the hair.').text)",
    )  # fmt: skip
    assert "next True" in said, "a session that was saved goes on as it would have"
    assert "expected" in said, "the error of the last block"
    assert (tmp_path / "overlay.png").is_file() and (tmp_path / "session.json").is_file()
    assert any((tmp_path / "masks").iterdir())


def test_extending(tmp_path: Path) -> None:
    write(tmp_path / "photos")
    said = run(
        "docs/extending.md", tmp_path,
        "masks = lambda records: {(r['focus'], r['turns'][1]['regions'][0]['rle']['counts']) for r in records}\n"
        "first = list(formats.read_records('photos', 'labelme'))\n"
        "assert formats.guess_format(Path('outlines')) == 'outlines-csv'\n"
        "assert len(back) == 12 and masks(back) == masks(first), 'masks come back bit for bit'\n"
        "assert 0 < summary['giou'] < 100 and summary['no_mask_rate'] == 0\n"
        "figure = compared['pairs'][0]['figures']['p30']\n"
        "assert figure['n'] == 12 and -100 <= figure['value'] <= 100 and 0 < figure['p'] <= 1\n"
        "assert compared['runs'][0]['figures']['p30']['bca'] is not None\n"
        "other = segmenter.segment(cup, Prompt(points=[(10, 10, 1)])).mask\n"
        "assert other[10, 10] and 0 < other.mean() < 1 and segmenter.name == 'colour:40'\n"
        "assert type(looking.image_encoder.detail_tower) is Patches and talking.config.language == 'qwen-tiny'\n"
        "assert len(session.history) == 2 and session.history[1].selection.mask.any()\n"
        "import json\n"
        "metric = json.loads(Path('runs/ellipse/summary.json').read_text())\n"
        "assert 0 <= metric['p30'] <= 100 and all('p30' in line for line in metric['by']['kind'])\n"
        "assert 'p30' in metric['intervals']",
    )  # fmt: skip
    assert "'regions': 12" in said, "the records that were written"
    assert "\n(400, 600)\n" in said, "the tower and the language model of the page"
    assert "\n400 600\n0\n" in said and "\n2\n" in said, "the command, and what it makes of a missing photo"


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/extending.md"])
def test_the_pages_are_read_as_they_stand(page: str) -> None:
    """No block is hidden from the program by another fence."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("```python\n") == len(re.findall(r"```python\n.*?```", text, re.DOTALL))
    compile(program(page), page, "exec")


# What README says


def test_the_figures_of_the_pages_are_those_of_the_benchmarks() -> None:
    script = str(ROOT / "benchmarks" / "shipped.py")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_conversation_of_the_readme_is_the_gallerys() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    gallery = (ROOT / "docs" / "gallery" / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]*\]\(docs/gallery/([\w-]+\.jpg)\)", readme)
    assert len(shown) == 2
    for name in shown:
        turn = gallery[: gallery.index(f"]({name})")].rpartition("**You:**")[2]
        asked, _, rest = turn.partition("\n")
        answered = rest.removeprefix("**miras:**").partition("\n")[0]
        assert f"**You:** {asked.strip()} |" in readme
        assert f"**miras:** {answered.strip()} |" in readme
