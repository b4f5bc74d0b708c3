"""The engine that draws masks in a browser: from the page's packages into the package.

    npm ci --prefix web && python deploy/engine.py           # after onnxruntime-web changed in web/package.json
    python deploy/engine.py --check                          # are the committed files those of the page's packages?

In: web/node_modules/onnxruntime-web. Out: src/miras/serve/device/engine, the WebAssembly packed by xz (2.2 MB, gzip
needs 3.7), and `engine.json` with the SHA-256 of each file as it is unpacked.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "web" / "node_modules" / "onnxruntime-web"
ENGINE = ROOT / "src" / "miras" / "serve" / "device" / "engine"
FILES = ("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""The smallest build with all operators: no WebGPU, no WebNN."""


def about() -> dict[str, object]:
    """Version and SHA-256 of each file in the page's packages. Raises SystemExit where they are not installed."""
    if not (PACKAGE / "package.json").is_file():
        raise SystemExit(f"expected {PACKAGE}, got nothing; npm ci --prefix web")
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    return {"version": version, "files": {name: hashlib.sha256(content(name)).hexdigest() for name in FILES}}


def content(name: str) -> bytes:
    """A file as it is in the page's packages."""
    return (PACKAGE / "dist" / name).read_bytes()


def write() -> None:
    """All files anew."""
    ENGINE.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if name.endswith(".wasm"):
            (ENGINE / f"{name}.xz").write_bytes(lzma.compress(content(name), preset=9 | lzma.PRESET_EXTREME))
        else:
            (ENGINE / name).write_bytes(content(name))
    (ENGINE / "engine.json").write_text(json.dumps(about(), indent=1) + "\n")


def kept() -> dict[str, object]:
    """The same of the committed files, unpacked."""
    files = {}
    for name in FILES:
        packed = ENGINE / f"{name}.xz"
        whole = lzma.decompress(packed.read_bytes()) if packed.is_file() else (ENGINE / name).read_bytes()
        files[name] = hashlib.sha256(whole).hexdigest()
    return {"version": json.loads((ENGINE / "engine.json").read_text())["version"], "files": files}


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        write()
    elif kept() != about():
        raise SystemExit("the engine's files are not those of web/package-lock.json; python deploy/engine.py")
