"""Masks drawn in the browser: as Python draws them, shown at once, kept while the server is away; errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from miras.core.masks import decode_rle
from miras.model.miras import Miras
from miras.serve.photos import sample
from tests.serve.page.conftest import Visit
from tests.serve.page.small_graphs import runtime
from tests.serve.page.window import Page
from tests.serve.site import Script, Site

pytest.importorskip("onnx")
WATCH = """() => {
    window.orders = [];
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (order) { orders.push(order); post.call(this, order); };
}"""


@pytest.fixture(scope="module")
def loaded(model: Miras, tmp_path_factory: pytest.TempPathFactory) -> Script:
    return Script(runtime(model, tmp_path_factory.mktemp("graphs")), "small", 0.0)


@pytest.fixture(scope="module")
def site(loaded: Script, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(loaded, tmp_path_factory.mktemp("device"))
    yield running
    running.stop()


def refining(here: Page) -> list[Any]:
    """The bodies of what is sent to be refined, as they come."""
    sent: list[Any] = []
    here.page.on("request", lambda one: one.url.endswith("/refine") and sent.append(json.loads(one.post_data)))
    return sent


def drag(here: Page, box: tuple[int, int, int, int]) -> None:
    here.page.mouse.move(*here.spot(*box[:2]))
    here.page.mouse.down()
    here.page.mouse.move(*here.spot(*box[2:]), steps=3)
    here.page.mouse.up()


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def answered(answer: dict[str, Any]) -> Callable[[Any], None]:
    return lambda route: route.fulfill(**answer)


def kept(here: Page, turns: int) -> Any:
    """The conversation, once the server has so many turns and nothing waits in the browser."""
    here.page.locator(f".turn[data-turn='{turns}']").wait_for()
    here.page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.startsWith('miras.waiting'))")
    return here.talk()


def test_masks_are_those_of_python(visit: Visit, loaded: Script) -> None:
    here = visit()
    page = here.page
    assert page.evaluate("crossOriginIsolated")
    page.evaluate(WATCH)
    sent = refining(here)
    for name, title in (("coffee", "espresso"), ("rocket", "Falcon")):
        page.goto(f"{here.address}/#")
        here.sample(title)
        page.locator(".stage").focus()
        page.keyboard.press("p")
        if name == "coffee":
            page.locator(".device").click()
        page.locator(".device[data-status=ready]").wait_for()
        gestures: list[tuple[str, Callable[[], object]]] = [
            ("", lambda: page.mouse.click(*here.spot(200, 150))),  # what is not there yet
            ("", lambda: page.mouse.click(*here.spot(260, 190))),
            ("", lambda: page.mouse.click(*here.spot(150, 250), button="right")),
            ("Where is the cup?", lambda: page.mouse.click(*here.spot(330, 210))),
            ("Also the spoon.", lambda: page.mouse.click(*here.spot(420, 110))),
            ("", lambda: (page.keyboard.press("b"), drag(here, (120, 90, 380, 300)))),
        ]
        for said, act in gestures if name == "coffee" else gestures[::5]:
            if said:
                here.say(said)
            turns = here.turns()
            act()
            talk = kept(here, turns + 1)
            click = page.evaluate("orders.at(-1).order.click")
            found = next(one for one in talk["history"][-1]["regions"] if one["id"] == click["region"])
            text = page.request.get(f"{here.address}/api/v1/conversations/{talk['id']}/export?format=session").text()
            twin = loaded.restore(text, sample(name))
            twin.undo()
            points = [(dot["x"], dot["y"], dot["label"]) for dot in click["dots"]] or None
            region = click["region"] if click["region"] <= len(twin.regions) else None
            expected = twin.refine(points, click["box"], region=region).regions[0].mask
            assert 100 < expected.sum() < 0.9 * expected.size
            assert iou(decode_rle(found["rle"]), expected) >= 0.99, (name, said, click["dots"], click["box"])
    assert len(sent) == 8 and all("mask" in body for body in sent)


def clicked_again(here: Page) -> str:
    """The edge after a second click."""
    first = here.page.locator(".edge.in").get_attribute("d")
    here.page.mouse.click(*here.spot(330, 250))
    here.page.wait_for_function("d => document.querySelector('.edge.in').getAttribute('d') !== d", arg=first)
    return str(here.page.locator(".edge.in").get_attribute("d"))


def test_a_mask_waits_for_the_server(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    page.locator(".stage").focus()
    page.keyboard.press("p")
    page.locator(".device").click()
    page.locator(".device[data-status=ready]").wait_for()
    page.route("**/refine", lambda route: route.abort())
    page.mouse.click(*here.spot(200, 150))
    page.locator(".notice", has_text="kept here and sent again").wait_for()
    shown = clicked_again(here)
    page.keyboard.press("Control+z")  # of what waits
    page.locator(".edge.in").wait_for(state="detached")
    page.mouse.click(*here.spot(200, 150))
    assert clicked_again(here) == shown
    assert here.turns() == 0
    page.unroute("**/refine")
    page.reload()
    talk = kept(here, 1)  # both clicks in one turn
    assert talk["history"][0]["regions"][0]["outline"] == shown
    here.faults.clear()  # the browser's own line for the answer that did not come


def test_what_cannot_be_drawn_here_is_drawn_by_the_server(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    page.locator(".stage").focus()
    page.keyboard.press("p")
    refusal = {
        "detail": "expected an exported model, got none; miras export onnx",
        "title": "",
        "status": 409,
        "type": "",
    }
    broken = "throw new RangeError('Array buffer allocation failed')"
    script = {
        "body": broken,
        "content_type": "text/javascript",
        "headers": {"Cross-Origin-Embedder-Policy": "require-corp"},
    }
    for address, answer, line in (
        ("**/api/v1/graphs", {"json": refusal, "status": 409}, "miras export onnx"),
        ("**/api/v1/graphs/*/*", {"status": 404}, "another version"),
        ("**/assets/worker-*.js", script, "not enough memory"),
    ):
        page.route(address, answered(answer))
        page.locator(".device").click()
        page.locator(".notice", has_text=line).wait_for()
        page.locator(".device[data-status=off]").wait_for()
        page.unroute(address)
    page.evaluate("delete window.WebAssembly")
    page.locator(".device").click()
    page.locator(".notice", has_text="no WebAssembly").wait_for()
    sent = refining(here)
    page.mouse.click(*here.spot(200, 150))
    kept(here, 1)
    assert "points" in sent[0]
