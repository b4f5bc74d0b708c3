"""A small model that names regions, a server in this process, and one in a process of its own."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from miras.chat.load import Loaded
from miras.chat.session import ChatSession
from miras.core.grammar import SPECIAL_TOKENS
from miras.model import presets
from miras.model.miras import Miras
from miras.serve.app import create
from miras.serve.settings import Settings
from tests.centred import centred

API = "/api/v1"
Start = Callable[..., TestClient]


@dataclass(frozen=True)
class Chatty(Loaded):
    """A random model that draws its words, by a seed: the greedy one would say the same to everybody."""

    temperature: float = 1.0

    def chat(self, photo: Any, **options: Any) -> ChatSession:
        return super().chat(photo, max_new_tokens=16, temperature=self.temperature, seed=1, **options)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> Miras:
    """Random weights that like to name things and never refuse; masks are neither empty nor full."""
    tiny = presets.build("miras-tiny", seed=0)

    centred(tiny)
    with torch.no_grad():
        for token, bias in (("[OBJ]", 4.0), ("[SEG]", 4.0), ("[ADD]", 2.5), ("[CUT]", 2.0), ("[UNDO]", -4.0)):
            tiny.instruction.special_bias[SPECIAL_TOKENS.index(token)] = bias
        tiny.alignment.verdict[:] = torch.tensor([9.0, 0.0, 0.0])
    return tiny.requires_grad_(False)


@pytest.fixture(scope="session")
def loaded(model: Miras) -> Loaded:
    return Chatty(model, "small", 0.0)


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A photo of 64 x 48 pixels (W x H)."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 255, (6, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@pytest.fixture
def start(loaded: Loaded, tmp_path: Path) -> Iterator[Start]:
    """Starts servers in this process, by default in one folder, without a token. All are stopped in the end."""
    running: list[TestClient] = []

    def begin(static: Path | None = None, model: Loaded = loaded, **settings: Any) -> TestClient:
        desks = settings.pop("desks", ())
        chosen = Settings(settings.pop("data", tmp_path / "data"), **settings)
        app = create(model, chosen, static, desks)
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        client.__enter__()
        running.append(client)
        return client

    yield begin
    for client in running:
        stop(client)


def stop(client: TestClient) -> None:
    """Stop a server of `start`; twice is once."""
    if client.portal is not None:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start: Start) -> TestClient:
    return start()


def upload(client: TestClient, content: bytes, name: str = "cup.jpg", **headers: str) -> Any:
    """A photo."""
    answer = client.post(
        f"{API}/photos", params={"name": name}, content=content, headers={"Content-Type": "image/jpeg", **headers}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def conversation(client: TestClient, content: bytes, **headers: str) -> str:
    """A new conversation about a photo; its id."""
    photo = upload(client, content, **headers)
    answer = client.post(f"{API}/conversations", json={"photo": photo["id"]}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def events_of(text: str) -> list[tuple[str, Any]]:
    """Server-sent events as (name, data)."""
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    return [(name, json.loads(data)) for name, data in found]


def ask(client: TestClient, talk: str, text: str, **headers: str) -> Any:
    """The turn that answers a message."""
    answer = client.post(f"{API}/conversations/{talk}/ask", json={"text": text}, headers=headers)
    assert answer.status_code == 200, answer.text
    name, turn = events_of(answer.text)[-1]
    assert name == "reply", answer.text
    return turn


def whole(client: TestClient, talk: str) -> Any:
    """A conversation with its history."""
    answer = client.get(f"{API}/conversations/{talk}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(turn: Any) -> Any:
    """What of a turn does not depend on when and where it was said."""
    rows = [{key: value for key, value in region.items() if key != "mask_url"} for region in turn["regions"]]
    chosen = {key: value for key, value in turn["selection"].items() if not key.endswith("_url")}
    return {"text": turn["text"], "user": turn["user"], "turn": turn["turn"], "regions": rows, "selection": chosen}


class Process:
    """`miras serve` as a process of its own."""

    def __init__(self, model: Path, data: Path) -> None:
        command = [sys.executable, "-m", "miras", "serve", "--port", "0", "--threads", "1"]
        source = str(Path(__file__).parents[2] / "src")
        self.process = subprocess.Popen(
            [*command, "--model", str(model), "--data", str(data)], stderr=subprocess.PIPE, text=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPATH": source},
        )  # fmt: skip
        assert self.process.stderr is not None
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.address = address.group()
                break
        else:
            raise AssertionError("".join(self.lines))

    def end(self, number: int) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=300)
        self.lines += rest.splitlines(keepends=True)
        return self.process.returncode


@pytest.fixture
def process(model: Miras, tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Starts processes over one folder, with the small model; what still runs in the end is killed."""
    folder = tmp_path / "weights"
    model.save_pretrained(folder)
    running: list[Process] = []

    def begin() -> Process:
        running.append(Process(folder, tmp_path / "data"))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def greedy(model: Miras) -> Loaded:
    """The same model that takes the likeliest words, and weighs others."""
    return replace(Chatty(model, "greedy", 0.0), temperature=0.0)
