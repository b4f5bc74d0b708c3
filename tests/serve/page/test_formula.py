"""The expression of the selection: regions and signs that are clicked, by mouse, by keys and on a phone."""

from __future__ import annotations

import numpy as np
import pytest

from miras.core.masks import decode_rle
from tests.serve.page.conftest import Visit
from tests.serve.page.window import Page

MINUS = "\N{MINUS SIGN}"


def talked(visit: Visit, **options: object) -> Page:
    """Three turns: (1 + 2) - 3."""
    here = visit(**options)
    here.sample()
    for text in ("Where is the cup?", "Also the spoon.", "Without the handle."):
        here.say(text)
    return here


def pick(here: Page, at: int, item: str) -> None:
    """Click a button of the expression, then an item of its menu; wait for the turn."""
    turns = here.turns()
    here.page.locator(".formula button").nth(at).click()
    here.page.locator(".formula-menu .item").get_by_text(item, exact=True).click()
    here.page.locator(f".turn[data-turn='{turns + 1}']").wait_for()
    here.settle()


def test_regions_and_signs_are_clicked(visit: Visit) -> None:
    here = talked(visit)
    page = here.page
    one, two, three = (decode_rle(region["rle"]) for region in here.talk()["regions"])
    # buttons: 1, +, 2, -, 3, more
    for at, item, formula, mask in (
        (1, "only where both are", f"( 1 \N{INTERSECTION} 2 ) {MINUS} 3", one & two & ~three),
        (3, "with", "( 1 \N{INTERSECTION} 2 ) + 3", (one & two) | three),
        (4, "Take it out", "1 \N{INTERSECTION} 2", one & two),
        (1, "without", f"1 {MINUS} 2", one & ~two),
        (2, "All but it", f"1 {MINUS} all but 2", one & two),
        (2, "Not all but", f"1 {MINUS} 2", one & ~two),
        (3, "All but this", f"all but ( 1 {MINUS} 2 )", ~(one & ~two)),
        (4, "3 handle", f"all but ( 1 {MINUS} 2 ) + 3", ~(one & ~two) | three),
        (1, "It alone", "1", one),
    ):
        pick(here, at, item)
        assert here.formula() == formula
        found = here.talk()["history"][-1]
        assert found["kind"] == "selection"
        np.testing.assert_array_equal(decode_rle(found["selection"]["rle"]), mask)
    assert page.locator(".turn .hand").last.inner_text() == "Selected by hand: cup"
    turns = here.turns()
    page.keyboard.press("Control+z")
    page.locator(f".turn[data-turn='{turns}']").wait_for(state="detached")
    here.settle()
    assert here.formula() == f"all but ( 1 {MINUS} 2 ) + 3"
    pick(here, 6, "Nothing")
    assert page.locator(".selection .none").inner_text() == "nothing"
    pick(here, 0, "2 spoon")
    assert here.formula() == "2"
    here.say("Without the handle.")  # words go on from it
    assert here.formula() == f"2 {MINUS} 4"


def test_what_is_clicked_is_lit_and_can_be_left(visit: Visit) -> None:
    here = talked(visit)
    page = here.page
    page.locator(".number").nth(1).click()
    assert page.locator(".edge.lit").count() == 1
    assert page.locator(".tag.lit").inner_text().startswith("2")
    assert here.axe() == []
    page.keyboard.press("Escape")
    page.locator(".formula-menu").wait_for(state="hidden")
    assert here.turns() == 3
    page.locator(".formula button").nth(1).click()
    page.get_by_role("menuitemradio", name="with", exact=True).click()  # as it is: no turn
    page.locator(".formula-menu").wait_for(state="hidden")
    assert (here.turns(), here.formula()) == (3, f"( 1 + 2 ) {MINUS} 3")
    page.locator(".step").first.click()  # what was selected then is looked at, not changed
    page.locator(".number").click()
    assert page.input_value("#message") == "the cup"


def test_by_keys_alone(visit: Visit) -> None:
    here = talked(visit)
    page = here.page
    page.locator(".formula button").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-checked')") == "true"
    page.keyboard.press("ArrowUp")  # round to the last one
    assert page.evaluate("document.activeElement.innerText").split() == [
        "\N{INTERSECTION}",
        "only",
        "where",
        "both",
        "are",
    ]
    page.keyboard.press("Enter")
    page.locator(".turn[data-turn='4']").wait_for()
    here.settle()
    assert here.formula() == f"( 1 \N{INTERSECTION} 2 ) {MINUS} 3"
    assert page.evaluate("document.activeElement.innerText") == "\N{INTERSECTION}"  # the focus is where it was
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(".turn[data-turn='5']").wait_for()
    here.settle()
    assert here.formula() == f"1 {MINUS} 3"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(visit: Visit, scheme: str) -> None:
    here = talked(visit, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = here.page
    page.locator(".formula button").nth(3).tap()
    box = page.locator(".formula-menu").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] >= 0
    assert here.axe() == []
    page.locator(".formula-menu .item", has_text="only where both are").tap()
    page.locator(".turn[data-turn='4']").wait_for()
    here.settle()
    assert here.formula() == "( 1 + 2 ) \N{INTERSECTION} 3"
