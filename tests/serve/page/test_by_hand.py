"""Regions changed by hand, and the photo moved and zoomed under it."""

from __future__ import annotations

import pytest

from miras.core.masks import decode_rle
from tests.serve.page.conftest import Visit


def test_a_region_is_changed_by_hand(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    here.say("Where is the cup?")
    before = here.talk()["selection"]["rle"]["counts"]
    page.locator(".stage").focus()
    for count, (key, gesture) in enumerate({"p": "click", "b": "drag", "s": "drag", "d": "drag", "e": "drag"}.items()):
        page.keyboard.press(key)
        page.mouse.move(*here.spot(250, 150))
        if gesture == "click":
            page.mouse.click(*here.spot(250, 150))
        else:
            page.mouse.down()
            page.mouse.move(*here.spot(300, 180), steps=4)
            page.mouse.move(*here.spot(420, 260), steps=4)
            page.mouse.up()
        page.locator(f".turn[data-turn='{count + 2}']").wait_for()
        here.settle()
    talk = here.talk()
    assert [turn["kind"] for turn in talk["history"]] == ["exchange", *["refinement"] * 5]
    counts = [turn["selection"]["rle"]["counts"] for turn in talk["history"]]
    assert counts[-1] != before
    painted, wiped = (decode_rle(talk["history"][turn]["selection"]["rle"]) for turn in (4, 5))
    assert painted[180, 300]
    assert not wiped[180, 300]
    assert (painted & ~wiped).sum() == painted.sum() - wiped.sum()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    here.settle()
    assert here.turns() == 5
    page.locator(".tag").click()
    assert page.input_value("#message") == "the cup"


def test_pointing_where_nothing_is_selected_makes_a_region(visit: Visit) -> None:
    here = visit()
    here.sample()
    here.page.locator(".tool[data-tool=box]").click()
    here.page.mouse.move(*here.spot(180, 60))
    here.page.mouse.down()
    here.page.mouse.move(*here.spot(420, 300), steps=5)
    here.page.mouse.up()
    here.page.locator(".turn[data-turn='1']").wait_for()
    assert [turn["kind"] for turn in here.talk()["history"]] == ["pointing"]


def test_zoom_and_pan(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    x, y = here.spot(300, 200)
    page.mouse.move(x, y)
    width = here.spot(301, 200)[0] - x
    for _ in range(3):
        page.mouse.wheel(0, -100)
    page.wait_for_timeout(300)
    assert here.spot(301, 200)[0] - here.spot(300, 200)[0] > 1.2 * width
    assert here.spot(300, 200) == pytest.approx((x, y), abs=0.5)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30, steps=3)
    page.mouse.up()
    assert here.spot(300, 200) == pytest.approx((x + 40, y + 30), abs=0.5)
    page.keyboard.press("Escape")
    page.locator(".stage").focus()
    page.keyboard.press("0")
    assert here.spot(300, 200) == pytest.approx((x, y), abs=0.5)


def test_two_fingers_zoom(visit: Visit) -> None:
    here = visit(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    here.sample()
    width = here.spot(101, 100)[0] - here.spot(100, 100)[0]
    hand = here.context.new_cdp_session(here.page)
    fingers = [[{"x": 195 - gap, "y": 150}, {"x": 195 + gap, "y": 150}] for gap in (30, 45, 60)]
    hand.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": fingers[0]})
    for points in fingers[1:]:
        hand.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points})
    hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    here.page.wait_for_timeout(200)
    assert here.spot(101, 100)[0] - here.spot(100, 100)[0] == pytest.approx(2 * width, rel=0.1)
