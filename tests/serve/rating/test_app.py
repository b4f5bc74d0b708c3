"""Rating over HTTP: who may open which sheet, what is refused, what is in the file when it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from miras.core.errors import InputError
from miras.serve.rating.app import create, open_sheets
from miras.serve.settings import Settings

API = "/api/v1/rating"
TOKENS = ("token-of-rater-one", "token-of-rater-two")
Open = Callable[..., TestClient]


@pytest.fixture
def opened(audit: Path, tmp_path: Path) -> Iterator[Open]:
    clients: list[TestClient] = []

    def begin(**settings: Any) -> TestClient:
        chosen = Settings(tmp_path / "unused", **settings)
        sheets = open_sheets([audit / "rater-1.csv", audit / "rater-2.csv"], chosen)
        clients.append(TestClient(create(sheets, chosen), base_url="http://localhost", raise_server_exceptions=False))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()


def test_an_answer_is_in_the_file_when_it_is_told(opened: Open, audit: Path, tmp_path: Path) -> None:
    client = opened()
    assert [one["done"] for one in client.get(API).json()["items"]] == [0, 0]
    sheet = client.get(f"{API}/rater-1").json()
    item = sheet["items"][0]
    answer = client.put(f"{API}/rater-1/items/{item['id']}", json={"answers": {"mask_fit": "5"}, "comment": "good"})
    assert answer.json() == {"answers": {"mask_fit": "5"}, "comment": "good"}
    assert "5,,,,good," in (audit / "rater-1.csv").read_text(encoding="utf-8-sig")
    assert client.get(f"{API}/rater-1/sheet.csv").content == (audit / "rater-1.csv").read_bytes()
    assert client.get(item["photo"]).headers["content-type"] == "image/jpeg"
    assert client.get(item["target"]["picture"]).content.startswith(b"\x89PNG")
    assert "rate" in client.get("/").text
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(
    ("path", "body", "status", "line"),
    [
        ("rater-1/items/i1", {"answers": {}}, 404, "an item of this sheet"),
        ("rater-9/items/i1", {"answers": {}}, 404, "a sheet"),
        ("rater-1/items/ITEM", {"answers": {"mask_fit": 5}}, 422, "valid string"),
        ("rater-1/items/ITEM", {"answers": {"mask_fit": "9"}}, 422, "mask_fit answered by"),
        ("rater-1/items/ITEM", {"comment": "x" * 2001}, 422, "comment"),
        ("rater-1/items/ITEM", {"rating": 1}, 422, "known fields only"),
    ],
)
def test_refusals(opened: Open, path: str, body: Any, status: int, line: str) -> None:
    client = opened()
    item = client.get(f"{API}/rater-1").json()["items"][0]["id"]
    answer = client.put(f"{API}/{path.replace('ITEM', item)}", json=body)
    assert answer.status_code == status and line in answer.json()["expected"], answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_only_pictures_of_the_sheet(opened: Open) -> None:
    client = opened()
    for name in ("README.md", "../rater-1.csv", "rater-2.csv", "pictures/../rater-2.csv", "pictures"):
        assert client.get(f"{API}/rater-1/pictures/{name}").status_code == 404
    evil = client.get(API, headers={"Host": "evil.example"})
    assert evil.status_code == 403


def test_each_token_opens_its_own_sheet(opened: Open) -> None:
    client = opened(tokens=TOKENS)
    assert client.get(API).status_code == 401
    for token, own, other in ((TOKENS[0], "rater-1", "rater-2"), (TOKENS[1], "rater-2", "rater-1")):
        head = {"Authorization": f"Bearer {token}"}
        assert [one["name"] for one in client.get(API, headers=head).json()["items"]] == [own]
        assert client.get(f"{API}/{own}", headers=head).status_code == 200
        assert client.get(f"{API}/{other}", headers=head).status_code == 404
        assert client.get(f"{API}/{other}/sheet.csv", headers=head).status_code == 404
    alone = opened(tokens=TOKENS[:1])
    assert len(alone.get(API, headers={"Authorization": f"Bearer {TOKENS[0]}"}).json()["items"]) == 2


def test_sheets_that_do_not_go_together(audit: Path, tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    file = audit / "rater-1.csv"
    with pytest.raises(InputError, match="two alike"):
        open_sheets([file, file], settings)
    with pytest.raises(InputError, match="3 tokens for 1 sheets"):
        open_sheets([file], Settings(tmp_path, tokens=(*TOKENS, "token-of-rater-three")))
    with pytest.raises(InputError, match="got a folder"):
        open_sheets([audit], settings)
    with pytest.raises(InputError, match="got none"):
        open_sheets([audit / "gone.csv"], settings)
