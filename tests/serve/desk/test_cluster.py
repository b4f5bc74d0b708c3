"""Workers are begun and ended in order, and what is in the way is told in one line. Ray is a stand-in here."""

from __future__ import annotations

import ast
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from miras.chat.load import Loaded
from miras.cli.main import call
from miras.core.errors import InputError, WeightsError
from miras.serve.desk import cluster
from miras.serve.desk.cluster import answers, available, room_for, workers
from miras.serve.desk.far import Replica
from miras.serve.settings import Settings
from tests.serve.desk.replicas import Handle

GB = 2**30
SOURCE = Path(cluster.__file__).parents[2]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in of Ray that notes what is asked of it; cpus: of the cluster."""
    noted = SimpleNamespace(begun=[], ended=[], started=[], cpus=2.0, options={})

    class Deployment:
        def options(self, **options: Any) -> Deployment:
            noted.options = options
            return self

        def bind(self, work: Any) -> Any:
            return lambda: Replica(work)

    def run(make: Callable[[], Replica], name: str, route_prefix: None) -> Handle:
        noted.begun.append(name)
        return Handle(make)

    ray, serve = ModuleType("ray"), ModuleType("ray.serve")
    vars(ray).update(
        is_initialized=lambda: False, init=lambda **plain: noted.started.append(plain),
        cluster_resources=lambda: {"CPU": noted.cpus}, shutdown=lambda: noted.ended.append("ray"), serve=serve,
    )  # fmt: skip
    vars(serve).update(
        start=lambda **options: noted.started.append(options), deployment=lambda kind: Deployment(), run=run,
        delete=noted.ended.append,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.serve", serve)
    monkeypatch.setattr(cluster, "find_spec", lambda name: name)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return noted


def test_they_are_begun_and_ended(ray: SimpleNamespace, loaded: Loaded, tmp_path: Path) -> None:
    with workers(2, lambda: loaded, Settings(tmp_path, session_bytes=0)) as desks:
        assert [desk.back() for desk in desks] == [True, True] and len(set(ray.begun)) == 2
    assert ray.started[0]["address"] == "local" and ray.started[1] == {"proxy_location": "Disabled"}
    assert ray.options["num_replicas"] == 1 and ray.options["ray_actor_options"]["num_cpus"] == 0
    assert ray.ended == ["ray"]  # with it all that it began


def test_a_cluster_is_joined_and_left_as_it_was(
    ray: SimpleNamespace, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        monkeypatch.setenv("RAY_ADDRESS", "{}:{}".format(*head.getsockname()))
        with workers(2, lambda: loaded, Settings(tmp_path)):
            assert "address" not in ray.started[0] and ray.options["ray_actor_options"]["num_cpus"] == 1
        assert ray.ended == [*ray.begun, "ray"]
        with pytest.raises(InputError, match="at most 2 workers, one for each CPU of the cluster, got 3"):
            workers(3, lambda: loaded, Settings(tmp_path)).__enter__()


def test_a_model_that_cannot_be_loaded_ends_it(ray: SimpleNamespace, tmp_path: Path) -> None:
    def load() -> Loaded:
        raise WeightsError("weights", "none", "fetch them")

    with pytest.raises(WeightsError, match="fetch them"):
        workers(2, load, Settings(tmp_path)).__enter__()
    assert len(ray.begun) == 1 and ray.ended == ["ray"]


def test_more_than_memory_has_room_for(
    ray: SimpleNamespace, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count, each, free in ((1, 9 * GB, 0), (3, GB, 3 * GB), (9, 0, 0), (9, GB, None)):
        room_for(count, each, free)
    with pytest.raises(InputError, match=r"at most 3 workers of 1.0 GB in the memory of this machine, got 4"):
        room_for(4, GB, int(2.5 * GB))
    assert (available() or GB) > 0
    monkeypatch.setattr(cluster, "available", lambda: 0)
    with pytest.raises(InputError, match="at most 1 workers"):
        workers(2, lambda: loaded, Settings(tmp_path)).__enter__()
    assert len(ray.begun) == 1 and ray.ended == ["ray"]


@pytest.mark.parametrize(
    ("arguments", "address", "told"),
    [
        (["--workers", "0"], "", "expected at least 1 worker, got 0"),
        (["--workers", "2"], "127.0.0.1:1", "expected a Ray cluster at RAY_ADDRESS, as HOST:PORT, got nobody at 127.0"),
        (["--workers", "2"], "somewhere", "got nobody at somewhere; begin it with ray start --head, or unset RAY_ADDR"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: list[str], address: str, told: str, ray: SimpleNamespace, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert call(["serve", "--port", "0", "--data", str(tmp_path / "data"), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0] and not ray.started


def test_ray_that_cannot_begin_or_is_not_there(
    ray: SimpleNamespace, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(**_: Any) -> None:
        raise Exception("The current node\n timed out")

    monkeypatch.setattr(sys.modules["ray"], "init", late)
    with pytest.raises(InputError, match="Ray to begin, got The current node timed out"):
        workers(1, lambda: loaded, Settings(tmp_path)).__enter__()
    monkeypatch.delattr(sys.modules["ray"], "serve")
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    with pytest.raises(InputError, match=r"got ray without ray.serve; pip install 'miras\[workers\]'"):
        cluster.ray_serve()
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Ray Serve for --workers, got no ray; pip install 'miras\[workers\]'"):
        cluster.ray_serve()
    assert not answers("127.0.0.1:1", 1.0) and not answers("nonsense") and not answers("::1:99999")


def test_without_workers_nothing_of_ray_is_loaded() -> None:
    """Only functions name Ray, and only one function names the module that begins it."""
    for file in [*(SOURCE / "serve").rglob("*.py"), SOURCE / "cli" / "serve.py"]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "ray" or name.endswith("desk.cluster") for name in names), file
