"""The OpenAPI document is true: schemathesis sends what it allows, and what it does not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import BaseModel
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi import checks

from miras.chat.load import Loaded
from miras.serve import gestures, schemas
from miras.serve.app import create
from miras.serve.settings import Limits, Settings
from tests.serve.conftest import API, conversation

ROOT = Path(__file__).parents[2]
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance, checks.negative_data_rejection,
]  # fmt: skip


@pytest.fixture(scope="module")
def talk(loaded: Loaded, jpeg: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str, str]]:
    """The schema of an app that runs, a conversation and its photo; no rates."""
    many = 10**6
    limits = Limits(requests_per_minute=many, turns_per_minute=many, uploads_per_minute=many, logins_per_minute=many)
    app = create(loaded, Settings(tmp_path_factory.mktemp("fuzzed"), limits=limits))
    schema = schemathesis.openapi.from_asgi(f"{API}/openapi.json", app, headers={"Host": "localhost"})  # starts it
    client = TestClient(app, base_url="http://localhost")
    found = conversation(client, jpeg)
    client.post(f"{API}/conversations/{found}/refine", json={"points": [{"x": 20, "y": 20}]})
    yield schema, found, client.get(f"{API}/conversations/{found}").json()["photo"]["id"]
    asgi.shutdown_lifespans()


def test_nothing_breaks_and_the_schemas_are_true(talk: tuple[Any, str, str]) -> None:
    schema, conversation_id, photo = talk
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 25
    faults, statuses = [], Counter[int]()
    for operation in operations:
        known = {"conversation": conversation_id, "photo": photo}
        try:
            statuses += fuzz(operation, {} if operation.method == "delete" else known)
        except Exception as fault:
            faults.append(f"{operation.label}: {fault}")
    assert not faults, "\n\n".join(faults)
    assert statuses[403] == statuses[429] == 0, "its doors were tested, not its rooms"
    assert statuses[200] + statuses[201] + statuses[204] > 30 and statuses[422] > 30, statuses


def fuzz(operation: Any, known: dict[str, str]) -> Counter[int]:
    """Send what the document allows, and what it does not. known: parts of paths that are there."""
    seen = Counter[int]()

    @settings(
        max_examples=6, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        for name in set(known) & set(case.path_parameters or ()):
            case.path_parameters[name] = known[name]
        seen[case.call_and_validate(checks=CHECKS, headers={"Host": "localhost"}).status_code] += 1

    send()
    return seen


@pytest.mark.parametrize(
    ("mark", "model"),
    [
        ("signed_in", schemas.Session), ("thumbnail_url", schemas.Photo), ("credit", schemas.Sample),
        ("key", schemas.Turn), ("photo_bytes", schemas.LimitsAnswer), ("detail", schemas.ProblemBody),
        ("points", gestures.Refine), ("paint", gestures.Refine), ("parent", schemas.Summary),
    ],
)  # fmt: skip
def test_the_examples_of_the_document_are_true(mark: str, model: type[BaseModel]) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    found = [value for value in map(json.loads, blocks) if mark in value]
    assert found
    for value in found:
        if "history" not in value:  # its photo is cut short there
            model.model_validate(value)


def test_the_documents_name_every_route(talk: tuple[Any, str, str]) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for path, methods in talk[0].raw_schema["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path.replace('{conversation}', '{id}')}" in text, (method, path)
