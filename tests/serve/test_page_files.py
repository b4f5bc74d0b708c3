"""The built files of the page are those of its sources: the stamp that the build writes, computed without Node."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEB, STATIC = ROOT / "web", ROOT / "src" / "miras" / "serve" / "static"
ALONE = ("index.html", "package-lock.json", "package.json", "rate.html", "stamp.mjs", "tsconfig.json", "vite.config.ts")

TOLD = ("https://web.dev/cross-origin-isolation-guide/", "https://rolldown.rs/in-depth/bundling-cjs")
"""In messages of onnxruntime-web and of what bundles it; nothing is loaded from there."""


def test_the_page_is_built_from_these_sources() -> None:
    names = [path.relative_to(WEB).as_posix() for folder in ("src", "public") for path in (WEB / folder).rglob("*")
             if path.is_file()]  # fmt: skip
    stamp = hashlib.sha256()
    for name in sorted([*names, *ALONE]):
        stamp.update(name.encode() + b"\0" + (WEB / name).read_bytes() + b"\0")
    built = (STATIC / "sources.sha256").read_text().strip()
    assert built == stamp.hexdigest(), "the page's sources changed: npm run build --prefix web, then commit both"


def test_nothing_inline_and_nothing_from_outside() -> None:
    for name in ("index.html", "rate.html"):
        page = (STATIC / name).read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    for path in STATIC.rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            found = set(re.findall(r"https?://[\w./-]+", path.read_text()))
            assert found <= {"http://www.w3.org/2000/svg", *TOLD}
