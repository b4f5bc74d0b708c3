"""The container file and the systemd unit under `deploy/`: read, checked, and what they start is started."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from miras.cli.serve import serve as command

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE, UNIT = ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "miras.service"
ALL = frozenset({
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "SHELL",
    "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
})  # fmt: skip
MOST_EXPOSED = 2.5
"""What `systemd-analyze security` gives at most, of 10."""


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the container file, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines())]


def of(name: str) -> list[str]:
    """The arguments of an instruction in the last stage, which is what is run."""
    found = instructions()
    last = max(at for at, (one, _) in enumerate(found) if one == "FROM")
    return [rest for one, rest in found[last:] if one == name]


def options_of(words: list[str]) -> set[str]:
    return {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}


def known_options() -> set[str]:
    return set(command.__kwdefaults__ or {})


def test_every_line_is_an_instruction() -> None:
    assert {name for name, _ in instructions()} <= ALL
    assert len(of("ENTRYPOINT")) == len(of("CMD")) == len(of("HEALTHCHECK")) == 1


def test_the_base_is_pinned_and_one() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(bases) == 2 and len(set(bases)) == 1  # a virtual environment goes to the Python that it was made with
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, bases[0].split(":")[1].split("-")[0].split(".")[:2])) >= tuple(map(int, wanted.split(".")))


def test_it_runs_as_nobody_special_and_listens_where_it_says() -> None:
    (user,) = of("USER")
    assert user.isdecimal() and int(user) >= 1000
    assert any(f"--uid {user}" in run and f"install -d -o {user}" in run for run in of("RUN"))
    started = json.loads(of("ENTRYPOINT")[0]) + json.loads(of("CMD")[0])
    assert started[:2] == ["miras", "serve"] and options_of(started) <= known_options()
    value = dict(pairwise(started))
    assert of("EXPOSE") == [value["--port"]] and value["--data"] in json.loads(of("VOLUME")[0])
    assert "--token-file" in started  # 0.0.0.0 refuses to start without
    assert of("STOPSIGNAL") == ["SIGTERM"]


def test_no_secret_goes_into_the_image() -> None:
    copied = [rest.split() for name, rest in instructions() if name in ("COPY", "ADD")]
    sources = {word for words in copied for word in words[:-1] if not word.startswith("--")}
    assert sources == {"pyproject.toml", "README.md", "LICENSE", "src", "/opt/miras"}
    assert not [
        rest for name, rest in instructions() if re.search("TOKEN|PASSWORD|SECRET", rest) and name in ("ARG", "ENV")
    ]
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored  # and only then what is taken in again
    assert {line[1:] for line in ignored if line.startswith("!")} == sources - {"/opt/miras"}
    assert all((ROOT / name).exists() for name in sources - {"/opt/miras"})


def test_what_is_installed_is_what_the_checkout_installs() -> None:
    runs = " ".join(rest for name, rest in instructions() if name == "RUN")
    makefile = (ROOT / "Makefile").read_text()
    assert f"--no-deps {re.search(r'^LANGUAGE := (.*)$', makefile, re.MULTILINE)[1]}" in runs  # type: ignore[index]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = [
        found[1]
        for name, rest in instructions()
        if name == "ARG" and (found := re.search(r'^EXTRAS="([\w,]+)"$', rest)) is not None
    ]
    assert '".[${EXTRAS}]"' in runs and set(extras.split(",")) <= set(project["optional-dependencies"])
    assert extras == "serve,ocr,heif" and "torch" not in runs


def test_the_health_check_finds_a_server(tmp_path: Path) -> None:
    """The command of HEALTHCHECK, as it stands, against a server with a token: 0 while it answers, else not 0."""
    from miras.chat.load import Loaded
    from miras.model import presets
    from tests.serve.site import Site

    check = json.loads(of("HEALTHCHECK")[0].split("CMD", 1)[1])
    running = Site(
        Loaded(presets.build("miras-tiny", seed=0), "small", 0.0), tmp_path, tokens=("a-token-of-some-length",)
    )
    script = check[2].replace("http://127.0.0.1:8000", running.address)
    assert script != check[2] and check[:2] == ["python", "-c"]
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
    running.stop()
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False, stderr=subprocess.DEVNULL).returncode


def unit() -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=True, interpolation=None)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read_string(UNIT.read_text())
    return found


def test_the_unit_starts_a_server_for_this_machine_as_nobody_special() -> None:
    found = unit()
    service = found["Service"]
    words = service["ExecStart"].split()
    assert words[1] == "serve" and options_of(words) <= known_options()
    value = dict(pairwise(words))
    assert value["--host"] == "127.0.0.1" and value["--token-file"] == "%d/tokens"
    assert service["LoadCredential"].startswith("tokens:/etc/")
    assert value["--data"] == f"%S/{service['StateDirectory']}" and service["DynamicUser"] == "yes"
    assert int(service["TimeoutStopSec"]) >= 2 * 20  # `service.PATIENCE`, twice at most
    assert found["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    here = tmp_path / "miras.service"
    here.write_text(UNIT.read_text().replace("/opt/miras/bin/miras", "/bin/true"))
    for words in (["verify"], ["security", "--offline=true", f"--threshold={round(MOST_EXPOSED * 10)}"]):
        done = subprocess.run(["systemd-analyze", *words, str(here)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout[-300:]
        assert words != ["verify"] or done.stderr.strip() == ""
