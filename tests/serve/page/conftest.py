"""A browser, a server with a small model, and windows on its page.

Needs Chromium (Debian: `apt-get install chromium fonts-dejavu-core`) and playwright; skips with the reason without
them. The model is small and random: what it says stands in a table, its masks are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from miras.model.miras import Miras
from miras.serve.settings import Limits
from tests.serve.page.window import CHROMIUM, Page
from tests.serve.site import Script, Site

ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium fonts-dejavu-core")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def site(model: Miras, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    limits = Limits(text_characters=400)
    running = Site(Script(model, "small", 0.0), tmp_path_factory.mktemp("page"), limits=limits)
    yield running
    running.stop()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Visit]:
    """Opens windows, each a person of their own. No fault may be left in a console, nothing come from outside."""
    open_now: list[Page] = []

    def come(address: str | None = None, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        open_now.append(Page(context, address or site.address))
        return open_now[-1]

    yield come
    for one in open_now:
        one.context.close()
    assert [fault for one in open_now for fault in one.faults if "status of 4" not in fault] == []
    assert [url for one in open_now for url in one.outside] == []
