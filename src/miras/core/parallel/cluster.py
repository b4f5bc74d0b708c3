"""Ray, joined or begun: the cluster of RAY_ADDRESS where that is set, else one of this process's own.

In: how many cores are wanted. Out: the module `ray`, ready. Without an address Ray itself would join whatever cluster
was begun last on this machine, and end with it. Knows nothing of what runs there.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from miras.core.errors import InputError


def ray_module() -> Any:
    """The module `ray`. Raises InputError when it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray for --ray", "it is not installed", "pip install 'miras[scale]'") from error
    return ray


def ray_ready(cores: int | None = None) -> Any:
    """The module `ray`, initialised. cores: of a cluster that is begun here; None = all of the machine.

    Raises InputError when Ray is not installed or cannot begin.
    """
    ray = ray_module()
    if ray.is_initialized():
        return ray
    plain: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        plain |= {"address": "local", "include_dashboard": False, "num_cpus": cores}
    try:
        ray.init(**plain)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError("Ray to begin", " ".join(str(error).split()), "look at RAY_ADDRESS") from error
    return ray
