"""The pictures of docs/screenshots, made with `miras-mini` itself: set MIRAS_SCREENSHOTS=1."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miras.chat.load import load
from miras.serve.settings import Limits
from tests.serve.page.window import ROOT, Page
from tests.serve.site import Site

SCREENSHOTS = ROOT / "docs" / "screenshots"
MOST_PICTURE = 150_000


def picture(page: Any, name: str) -> None:
    """A screenshot of at most 150 kB, in fewer colours."""
    whole = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for share, colours in ((1.0, 256), (1.0, 128), (0.8, 192), (0.8, 96), (0.65, 96), (0.55, 64)):
        small = whole.resize((round(whole.width * share), round(whole.height * share)), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_PICTURE:
            break
    assert buffer.tell() <= MOST_PICTURE
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"{name}.png").write_bytes(buffer.getvalue())


@pytest.mark.skipif("MIRAS_SCREENSHOTS" not in os.environ, reason="makes docs/screenshots; set MIRAS_SCREENSHOTS=1")
def test_screenshots(browser: Any, tmp_path: Path) -> None:
    site = Site(load("miras-mini", threads=1), tmp_path, limits=Limits())
    try:
        here = Page(browser.new_context(viewport={"width": 1180, "height": 740}, color_scheme="light"), site.address)
        here.page.set_default_timeout(180_000)
        here.page.locator(".sample").first.wait_for()
        picture(here.page, "start")
        here.sample("Falcon")
        for text in ("Where is the sky?", "Now the rocket.", "Everything except the sky."):
            here.say(text)
        here.page.mouse.move(500, 25)
        here.page.wait_for_timeout(400)
        picture(here.page, "conversation")
        here.page.emulate_media(color_scheme="dark")
        here.page.locator(".stage").focus()
        here.page.keyboard.press("p")
        here.page.select_option("[aria-label='Region to change']", "1")
        here.page.mouse.click(*here.spot(302, 170))
        here.page.wait_for_timeout(300)
        here.settle()
        here.page.wait_for_timeout(400)
        picture(here.page, "points")
        here.page.keyboard.press("v")
        here.page.goto(f"{site.address}/#")
        here.page.set_viewport_size({"width": 390, "height": 844})
        here.sample("Eileen")
        here.say("Select her face.")
        here.page.wait_for_timeout(400)
        picture(here.page, "phone")
        assert here.faults == [] and here.outside == []
    finally:
        site.stop()
