"""A browser window on the page, and what a person does there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
STATIC = ROOT / "src" / "miras" / "serve" / "static"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = os.environ.get("MIRAS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """A browser window on the page, and what a person does there."""

    def __init__(self, context: Any, address: str) -> None:
        self.context, self.address = context, address
        self.faults: list[str] = []
        self.outside: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda line: line.type == "error" and self.faults.append(line.text))
        self.page.on("request", self._watch)
        self.page.goto(address)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.outside.append(request.url)

    def sample(self, name: str = "espresso") -> None:
        self.page.locator(".sample", has_text=name).click()
        self.page.locator(".welcome").wait_for()

    def say(self, text: str) -> None:
        before = self.page.locator(".log .turn").count()
        self.page.fill("#message", text)
        self.page.keyboard.press("Enter")
        self.page.locator(".log .turn").nth(before).wait_for()  # asked, or answered already
        self.settle()

    def settle(self) -> None:
        """Wait for the turn that runs."""
        self.page.locator(".running").wait_for(state="detached")
        self.page.locator("html:not(.busy)").wait_for(state="attached")

    def turns(self) -> int:
        return int(self.page.locator(".log .turn[data-turn]").count())

    def formula(self) -> str:
        return " ".join(self.page.locator(".formula > :not(.hidden-text, .more)").all_inner_texts())

    def talk(self) -> Any:
        """The conversation that is open, as the API tells it."""
        name = self.page.url.split("#")[1]
        return self.page.request.get(f"{self.address}/api/v1/conversations/{name}").json()

    def spot(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the photo lies in the window."""
        at = self.page.evaluate(
            """([x, y]) => {
                const point = document.querySelector(".canvas").createSVGPoint();
                [point.x, point.y] = [x, y];
                const found = point.matrixTransform(document.querySelector(".canvas").getScreenCTM());
                return [found.x, found.y];
            }""",
            [x, y],
        )
        return at[0], at[1]

    def download(self, name: str) -> tuple[str, bytes]:
        self.page.locator(".act", has_text="Export").click()
        with self.page.expect_download() as waiting:
            self.page.locator("#export-menu .item", has_text=name).last.click()
        got = waiting.value
        return got.suggested_filename, Path(got.path()).read_bytes()

    def axe(self) -> list[str]:
        """Serious and critical findings of axe on what is shown."""
        if not AXE.is_file():
            pytest.skip("needs axe-core: npm ci --prefix web")
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))  # a script element would be stopped by the CSP
        found = self.page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
        return [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for one in found["violations"] if one["impact"] in ("serious", "critical") for node in one["nodes"]
        ]  # fmt: skip
