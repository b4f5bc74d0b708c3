"""Ray is joined where an address says so, else begun for this process alone."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.core.parallel.cluster import ray_ready


def fake(monkeypatch: pytest.MonkeyPatch, *, fails: str = "", begun: bool = False) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> None:
        calls.append(options)
        if fails:
            raise ConnectionError(fails)

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, is_initialized=lambda: begun))
    return calls


@pytest.mark.parametrize(("address", "cores", "given"), [
    ("", 3, {"address": "local", "num_cpus": 3, "include_dashboard": False}),
    ("", None, {"address": "local", "num_cpus": None, "include_dashboard": False}),
    ("10.0.0.1:6379", 3, {}),  # Ray takes no num_cpus for a cluster that is there
])  # fmt: skip
def test_where_it_runs(monkeypatch, address, cores, given):
    monkeypatch.setenv("RAY_ADDRESS", address)
    (call,) = [fake(monkeypatch), ray_ready(cores)][0]
    assert {name: value for name, value in call.items() if name not in ("log_to_driver", "logging_level")} == given


def test_a_cluster_that_is_joined_already_is_used(monkeypatch):
    calls = fake(monkeypatch, begun=True)
    ray_ready(2)
    assert calls == []


def test_what_goes_wrong_is_told_in_one_line(monkeypatch):
    fake(monkeypatch, fails="no route\n to it")
    with pytest.raises(InputError, match="no route to it"):
        ray_ready()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="pip install"):
        ray_ready()
