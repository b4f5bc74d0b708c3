"""Rating in a real browser: by keys alone, saved at once, read by the tools of agreement."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from miras.annotate.audit.read import read_sheets
from miras.eval.people.answers import read_answers, read_key
from miras.serve.rating.app import create, open_sheets
from miras.serve.run import bound
from miras.serve.settings import Settings
from tests.serve.page.conftest import Visit
from tests.serve.rating.conftest import audit, study

__all__ = ["audit", "study"]  # fixtures


class Desk:
    """A server of sheets on a port of its own, in a thread."""

    def __init__(self, sheets: list[Path], data: Path) -> None:
        settings = Settings(data, port=0)
        listening = bound(settings)
        self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = create(open_sheets(sheets, settings), settings)
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Any]:
    running: list[Desk] = []

    def begin(*sheets: Path) -> str:
        running.append(Desk(list(sheets), tmp_path / "unused"))
        return running[-1].address

    yield begin
    for one in running:
        one.stop()


def test_a_study_by_keys(visit: Visit, desk: Any, study: Any) -> None:
    plan, folder = study
    here = visit(desk(folder / "sheets" / "rater_01.csv"))
    page = here.page
    cards = plan.raters["01"]
    page.locator("fieldset").first.wait_for()
    questions = page.locator("fieldset").count()
    key = "ArrowRight" if plan.kind == "pairwise" else "2"
    for _ in range(questions):
        page.keyboard.press("y" if page.locator(":focus[value=yes]").count() else key)
    page.get_by_text("All answers are saved.").wait_for()
    found, faults = read_answers([folder / "sheets" / "rater_01.csv"], read_key(folder / "key.json"))
    assert faults == [] and len(found) == questions
    assert {one.given for one in found if one.question == "mask"} == {"right" if plan.kind == "pairwise" else "2"}
    page.reload()
    page.locator(".count", has_text=f"1 of {len(cards)} finished").wait_for()
    while page.locator(".count", has_text=f"{len(cards)} of").count() == 0:
        page.keyboard.press("o")
        for _ in range(questions):
            page.keyboard.press("n" if page.locator(":focus[value=yes]").count() else key)
    page.get_by_text("All answers are saved.").wait_for()
    assert page.locator(".rate img").first.evaluate("image => image.naturalWidth") > 0
    assert page.locator("img[src=x]").count() == 0  # what a system says is text
    page.wait_for_function("!document.querySelector('.saved').textContent.includes('Saving')")
    found, faults = read_answers([folder / "sheets" / "rater_01.csv"], read_key(folder / "key.json"))
    assert faults == [] and len(found) == questions * len(cards)
    assert here.axe() == []


def test_an_audit_with_a_comment_and_a_fault_of_the_line(visit: Visit, desk: Any, audit: Path) -> None:
    here = visit(desk(audit / "rater-1.csv", audit / "rater-2.csv"))
    page = here.page
    assert here.axe() == []
    page.get_by_role("button", name="rater-2").click()
    page.locator("fieldset").first.wait_for()
    assert here.axe() == []
    item = page.evaluate("location.hash")
    page.keyboard.press("4")
    page.get_by_text("All answers are saved.").wait_for()  # else its own request is cut, and the next answer saves both
    page.route("**/items/*", lambda route: route.abort())
    with page.expect_console_message(lambda line: "ERR_FAILED" in line.text):  # the browser says that the line is cut
        page.keyboard.press("3")
    page.get_by_role("button", name="Save again").wait_for()
    here.faults.clear()
    page.unroute("**/items/*")
    page.get_by_role("button", name="Save again").click()
    page.get_by_text("All answers are saved.").wait_for()
    page.get_by_label("Comment").fill("the rim is cut")
    page.keyboard.press("Tab")
    page.get_by_text("All answers are saved.").wait_for()
    page.wait_for_function("!document.querySelector('.saved').textContent.includes('Saving')")
    page.reload()
    page.locator("fieldset").first.wait_for()
    assert page.evaluate("location.hash") == item
    assert page.get_by_label("Comment").input_value() == "the rim is cut"
    (rating,) = [one for one in read_sheets([audit / "rater-2.csv"]) if one.scores]
    assert (list(rating.scores.values()), rating.comment, rating.rater) == ([4, 3], "the rim is cut", "rater-2")
    page.keyboard.press("PageDown")
    assert page.evaluate("location.hash").endswith("/2")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
