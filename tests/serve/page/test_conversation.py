"""A conversation on the page: asked, answered, taken back, forked, cut off, kept; titles, two people, keys alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.serve.page.conftest import Visit
from tests.serve.site import Site


def test_a_conversation_from_upload_to_reload(visit: Visit, photo_path: Path, tmp_path: Path) -> None:
    here = visit()
    page = here.page
    page.set_input_files("#photo-file", photo_path)
    page.locator(".welcome").wait_for()
    here.say("Where is the cup?")
    here.say("Also the spoon.")
    assert here.formula() == "1 + 2"
    assert page.locator(".tags .tag").count() == 2
    here.say("Without the handle.")
    assert (here.turns(), here.formula()) == (3, "( 1 + 2 ) \N{MINUS SIGN} 3")
    assert page.locator(".log .answer").all_inner_texts() == [
        "Here is the cup.", "Added the spoon.", "Took away the handle.",
    ]  # fmt: skip
    assert re.search(r"\d\.\d s", page.locator(".turn .time").last.inner_text())

    page.locator(".log .chip", has_text="spoon").hover()
    assert page.locator(".tag.lit").inner_text().startswith("2")
    page.locator(".tag", has_text="cup").hover()
    assert page.locator(".log .chip.lit").inner_text() == "cup"

    page.locator(".number", has_text="2").click()  # refer by click
    page.get_by_role("menuitem", name="Speak of it").click()
    assert page.input_value("#message") == "the spoon"
    page.fill("#message", "")

    page.locator(".step").first.click()  # what was selected then
    assert here.formula() == "1"
    page.get_by_text("Back to now").click()
    assert here.formula() == "( 1 + 2 ) \N{MINUS SIGN} 3"

    page.locator(".act", has_text="Undo").click()
    here.settle()
    assert (here.turns(), here.formula()) == (2, "1 + 2")

    first = page.url
    page.locator(".act", has_text="Fork").click()
    page.wait_for_url(lambda url: url != first)
    here.settle()
    assert (here.turns(), here.formula()) == (2, "1 + 2")
    here.say("Is there a zebra?")
    assert page.locator(".log .answer").last.inner_text() == "There is no zebra here."
    page.goto(first)  # the fork, of three turns, stands there until the first conversation has come
    page.locator(".turn[data-turn='3']").wait_for(state="detached")
    page.locator(".turn[data-turn='2']").wait_for()
    assert here.turns() == 2

    page.fill("#message", "half a thou")
    page.reload()
    page.locator(".turn[data-turn='2']").wait_for()
    assert (here.turns(), here.formula(), page.input_value("#message")) == (2, "1 + 2", "half a thou")


def test_words_never_go_to_the_conversation_that_is_being_left(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    here.say("Where is the cup?")
    first, held = page.url, list[Any]()
    page.route("**/api/v1/conversations/*", lambda route: held.append(route))  # what is opened comes late
    page.locator(".act", has_text="Fork").click()
    page.wait_for_url(lambda url: url != first)
    here.say("Also the spoon.")
    assert (here.turns(), here.formula()) == (2, "1 + 2")

    page.evaluate("url => { location.href = url; }", first)
    page.locator("html.busy").wait_for()
    page.fill("#message", "Without the handle.")
    page.keyboard.press("Enter")
    page.locator(".notice", has_text="One thing at a time").wait_for()
    assert page.input_value("#message") == "Without the handle."
    assert len(held) == 1, "a new conversation is shown at once, it is not asked for"
    held.pop().continue_()
    page.locator(".turn[data-turn='2']").wait_for(state="detached")
    here.settle()
    assert (here.turns(), here.formula(), page.input_value("#message")) == (1, "1", "")
    assert here.talk()["turns"] == 1


def test_another_name_is_one_click_away(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    for text in ("the thing", "what is it", "something", "the round one", "please"):
        here.say(text)
        if page.locator(".offer").count() > 0:
            break
    turns, offer = here.turns(), page.locator(".offer").first
    name = offer.inner_text().split("\n")[0].strip()
    offer.click()
    here.settle()
    page.wait_for_timeout(300)
    assert here.turns() == turns
    assert name in [region["phrase"].strip() for region in here.talk()["history"][-1]["regions"]]


def test_titles_and_deletion(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    here.say("Where is the cup?")
    page.locator(".title-button").click()
    page.locator(".top .rename").fill("My cup")
    page.keyboard.press("Enter")
    page.locator(".title-button", has_text="My cup").wait_for()
    page.get_by_label("Conversations", exact=True).first.click()
    row = page.locator(".drawer .row", has_text="My cup")
    row.get_by_label("Delete My cup").click()
    row.locator(".danger").click()
    page.locator("main.start").wait_for()
    page.locator(".sample").first.wait_for()
    assert page.locator(".row", has_text="My cup").count() == 0


def test_what_is_refused_says_what_to_do(visit: Visit, tmp_path: Path) -> None:
    here = visit()
    page = here.page
    (tmp_path / "no.jpg").write_bytes(b"this is no photo at all")
    page.set_input_files("#photo-file", tmp_path / "no.jpg")
    page.locator(".notice.bad").wait_for()
    assert "Expected" in page.locator(".notice.bad").inner_text()
    page.get_by_label("Close this note").click()
    here.sample()
    page.fill("#message", "word " * 100)  # more than this server takes
    page.keyboard.press("Enter")
    page.locator(".notice.bad").wait_for()
    assert page.input_value("#message").startswith("word word")
    assert here.turns() == 0


def test_a_question_that_was_cut_off_can_be_asked_again(visit: Visit, site: Site) -> None:
    here = visit()
    page = here.page
    here.sample()
    here.say("Where is the cup?")
    cut = {"body": 'event: queue\ndata: {"position": 3}\n\n', "content_type": "text/event-stream"}
    page.route("**/ask", lambda route: route.fulfill(**cut))
    here.say("Also the spoon.")
    page.locator(".turn.open").wait_for()
    assert "cut off" in page.locator(".turn.open").inner_text()
    page.unroute("**/ask")
    page.get_by_role("button", name="Ask again").click()
    page.locator(".turn[data-turn='2']").wait_for()
    assert here.formula() == "1 + 2"


def test_stop_keeps_the_question(visit: Visit) -> None:
    here = visit()
    page = here.page
    here.sample()
    page.route("**/ask", lambda route: None)  # nothing comes
    page.fill("#message", "Where is the cup?")
    page.keyboard.press("Enter")
    page.get_by_label("Stop").click()
    page.locator(".turn.open", has_text="Where is the cup?").wait_for()
    page.unroute("**/ask")
    page.get_by_role("button", name="Change it").click()
    page.locator(".turn.open").wait_for(state="detached")
    assert page.input_value("#message") == "Where is the cup?"


def test_two_people_at_once(visit: Visit) -> None:
    both = [visit(), visit()]
    for here in both:
        here.sample()
    for here, text in zip(both, ("Where is the cup?", "Is there a zebra?"), strict=True):
        here.page.fill("#message", text)
        here.page.keyboard.press("Enter")
    for here, said in zip(both, ("Here is the cup.", "There is no zebra here."), strict=True):
        here.page.locator(".turn[data-turn='1']").wait_for()
        assert here.page.locator(".answer").inner_text() == said


def test_by_keyboard_alone(visit: Visit) -> None:
    here = visit()
    page = here.page
    page.locator(".sample").first.wait_for()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
                return
        raise AssertionError(f"no way to {selector} by Tab")

    tab_to(".sample")
    page.keyboard.press("Enter")
    page.locator(".welcome").wait_for()
    page.locator("#message:focus").wait_for()
    page.keyboard.type("Where is the cup?")
    page.keyboard.press("Enter")
    page.locator(".turn[data-turn='1']").wait_for()
    here.settle()
    tab_to(".stage")
    page.keyboard.press("p")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.locator(".turn[data-turn='2']").wait_for()
    here.settle()
    page.keyboard.press("e")
    for key in ("Enter", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.locator(".turn[data-turn='3']").wait_for()
    here.settle()
    page.keyboard.press("Escape")
    page.keyboard.press(",")
    assert page.locator(".step[aria-current]").get_attribute("data-turn") == "2"
    page.keyboard.press(".")
    page.keyboard.press("Control+z")
    page.locator(".turn[data-turn='3']").wait_for(state="detached")
    here.settle()
    tab_to(".log .chip")
    page.keyboard.press("Enter")
    assert page.input_value("#message") == "the cup"
    tab_to("[popovertarget]")
    page.keyboard.press("Enter")
    page.locator("#export-menu").wait_for()
    with page.expect_download():
        for _ in range(4):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
