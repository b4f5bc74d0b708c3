"""Workers: desks in processes of Ray Serve, one replica each, begun and ended.

In: how many, how a model is loaded, settings. Out: `Far` desks, or InputError with the cure. With RAY_ADDRESS they are
on that cluster, else on this machine. Ray's own HTTP server is not started: the one that people reach is ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from miras.chat.load import Loaded
from miras.core.errors import InputError
from miras.serve.desk.far import Far, Replica, Work
from miras.serve.settings import Settings

INSTALL = "pip install 'miras[workers]'"
SPARE = 256 * 2**20
"""Bytes that are left free on this machine."""


def ray_serve() -> Any:
    """The module `ray.serve`. Raises InputError when it, or something that it needs, is not installed."""
    if find_spec("ray") is None:
        raise InputError("Ray Serve for --workers", "no ray", INSTALL)
    try:
        return import_module("ray.serve")
    except ImportError as error:
        got = f"ray without {error.name}" if error.name else "ray alone"
        raise InputError("Ray Serve for --workers", got, INSTALL) from error


def answers(address: str, seconds: float = 3.0) -> bool:
    """Whether somebody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), seconds):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def joined() -> bool:
    """Ray, ready. Returns whether it is a cluster that was there before. Raises InputError."""
    ray = import_module("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "")
    plain: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address in ("", "local"):
        plain |= {"address": "local", "include_dashboard": False, "object_store_memory": 256 * 2**20}
    elif address != "auto" and not answers(address):
        cure = "begin it with ray start --head, or unset RAY_ADDRESS to use this machine"
        raise InputError("a Ray cluster at RAY_ADDRESS, as HOST:PORT", f"nobody at {address}", cure)
    if not ray.is_initialized():
        try:
            ray.init(**plain)
        except Exception as error:  # Ray raises whatever it is, Exception itself when it takes too long
            got = " ".join(str(error).split(". ")[0].split())[:200]
            cure = "look at RAY_ADDRESS" if address else "try again: a busy machine may take longer than Ray waits"
            raise InputError("Ray to begin", got, cure) from error
    return "include_dashboard" not in plain


def is_fault(error: BaseException) -> bool:
    """Whether it was raised by the work, and not because a replica is gone."""
    from ray.exceptions import RayActorError, RayTaskError

    return isinstance(error, RayTaskError) and not isinstance(error, RayActorError)


@contextlib.contextmanager
def workers(count: int, load: Callable[[], Loaded], settings: Settings, gpus: bool = False) -> Iterator[list[Far]]:
    """Desks of workers, ended with the block. Raises InputError for more than memory or the cluster allow, and what a
    worker raises when it loads its model."""
    serve = ray_serve()
    elsewhere = joined()
    ray = import_module("ray")
    where = f"{socket.gethostname()} {settings.data.absolute()}"
    label = f"miras-{hashlib.sha256(where.encode()).hexdigest()[:8]}"
    names = [f"{label}-{place}" for place in range(count)]
    begun: list[Far] = []
    try:
        if elsewhere and count > (most := int(ray.cluster_resources().get("CPU", 0))):
            raise InputError(f"at most {most} workers, one for each CPU of the cluster", str(count), "add machines")
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(proxy_location="Disabled")
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        for place, name in enumerate(names):
            work = Work(load, settings.session_bytes, settings.data / "aside", settings.aside_bytes)
            needs = {"num_cpus": 1 if elsewhere else 0, "num_gpus": _share(count, elsewhere) if gpus else 0}
            deployment = serve.deployment(Replica).options(
                name="desk", num_replicas=1, max_ongoing_requests=64, ray_actor_options=needs,
                health_check_period_s=2, graceful_shutdown_timeout_s=2, graceful_shutdown_wait_loop_s=0.2,
            )  # fmt: skip
            handle = serve.run(deployment.bind(work), name=name, route_prefix=None)
            fault, _, size = handle.ready.remote().result()
            if fault is not None:
                raise fault
            begun.append(Far(f"worker {place}", handle, is_fault))
            if place == 0 and not elsewhere:
                room_for(count, size + settings.session_bytes, available())
        yield begun
    finally:
        with contextlib.suppress(Exception):
            for name in names if elsewhere else ():
                serve.delete(name)
        ray.shutdown()


def room_for(count: int, each: int, free: int | None) -> None:
    """Raises InputError when this machine has no memory for so many workers. each: bytes of one with its sessions.
    free: bytes that are free beside the first one; None: not known."""
    if free is None or not each:
        return
    most = 1 + max(0, free - SPARE) // each
    if count > most:
        expected = f"at most {most} workers of {each / 2**30:.1f} GB in the memory of this machine"
        raise InputError(expected, str(count), "ask for fewer, or give them less --memory")


def available() -> int | None:
    """Bytes that processes can still have on this machine; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None


def _share(count: int, elsewhere: bool) -> float:
    """GPUs of each worker: one on a cluster; on one machine they share what there is."""
    there = float(import_module("ray").cluster_resources().get("GPU", 0.0))
    return 1.0 if elsewhere or there >= count else there / count
