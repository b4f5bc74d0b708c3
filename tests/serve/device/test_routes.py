"""Graphs, words and the engine over HTTP: who gets them, and how long a browser may keep them."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from miras.chat.native.backend import Native
from miras.model.miras import Miras
from miras.model.runtime import manifest
from tests.serve.conftest import API, Start, ask, conversation
from tests.serve.device.test_graphs import exported

TOKEN = "a-token-of-some-length"


def test_graphs_are_kept_under_their_digest(
    start: Start, model: Miras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRAS_CACHE", str(tmp_path / "cache"))
    client = start(tokens=(TOKEN,))
    mine = {"Authorization": f"Bearer {TOKEN}"}
    answer = client.get(f"{API}/graphs", headers=mine)
    assert answer.status_code == 409 and "miras export onnx --model small" in answer.json()["cure"]
    exported(manifest.default_folder("small"), Native(model).facts()["weights"])
    told = client.get(f"{API}/graphs", headers=mine).json()  # exported while the server runs
    assert told["parts"]["image"] == [{"name": "image.onnx", "bytes": 15}, {"name": "image.bin", "bytes": 7}]
    address = f"{API}/graphs/{told['weights']}"
    file = client.get(f"{address}/image.bin", headers=mine)
    assert file.content == b"weights"
    assert file.headers["cache-control"] == "private, max-age=31536000, immutable"
    for other, status in (("language.bin", 404), ("../graphs", 404)):
        assert client.get(f"{address}/{other}", headers=mine).status_code == status
    assert client.get(f"{API}/graphs/0000/image.bin", headers=mine).status_code == 404
    for path in ("graphs", f"graphs/{told['weights']}/image.bin", "conversations/c/words"):
        assert client.get(f"{API}/{path}").status_code == 401


def test_words_are_those_that_a_refinement_takes(client: TestClient, jpeg: bytes) -> None:
    talk = conversation(client, jpeg)
    for text in ("the thing", "what is it", "something"):
        ask(client, talk, text)
    session = client.app.state.service.desks[0].sessions.get(talk)  # type: ignore[attr-defined]
    past = session.backend.engine.past
    last = session.regions[-1].id
    told = client.get(f"{API}/conversations/{talk}/words", params={"region": last}).json()
    span = np.frombuffer(base64.b64decode(told["span"]["data"]), "<f4").reshape(told["span"]["shape"])
    assert (span == past.span(last)).all()
    assert told["memory"] == [one.id for one in session.regions[:-1]] and len(told["memory"]) > 0
    tokens = past.memory(last)
    assert len(tokens) == len(told["memory"]) * session.backend.runtime.config.mask_tokens
    new = client.get(f"{API}/conversations/{talk}/words").json()
    assert new["span"] is None and new["memory"] == [one.id for one in session.regions]
    assert client.get(f"{API}/conversations/{talk}/words", params={"region": 99}).status_code == 404
    client.app.state.service.desks[0].drop(talk)  # type: ignore[attr-defined]
    answer = client.get(f"{API}/conversations/{talk}/words")
    assert answer.status_code == 409 and answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("squeezed", ["gzip", "identity"])
def test_the_engine_needs_no_token(start: Start, squeezed: str) -> None:
    client = start(tokens=(TOKEN,))
    page = client.get("/")
    assert page.headers["cross-origin-embedder-policy"] == "require-corp"
    assert "script-src 'self';" in page.headers["content-security-policy"]
    file = client.get("/engine/1.30.0/ort-wasm-simd-threaded.wasm", headers={"Accept-Encoding": squeezed})
    assert file.content[:4] == b"\0asm" and file.headers["content-type"] == "application/wasm"
    assert "script-src 'self' 'wasm-unsafe-eval';" in file.headers["content-security-policy"]
    assert file.headers.get("content-encoding", "identity") == squeezed
    assert client.get("/engine/1.29.0/ort-wasm-simd-threaded.wasm").status_code == 404
    assert client.get("/engine/1.30.0/engine.json").status_code == 404
