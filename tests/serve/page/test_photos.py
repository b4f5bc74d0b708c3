"""How photos come to the page: paste, drop, camera, many at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.page.conftest import Visit


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_photo_comes_by_paste_and_drop(visit: Visit, photo_path: Path, way: str) -> None:
    here = visit()
    here.page.locator(".sample").first.wait_for()
    here.page.evaluate(
        """([way, bytes]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], "cup.jpg", { type: "image/jpeg" }));
            const event = way === "paste"
                ? new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true })
                : new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
        }""",
        [way, list(photo_path.read_bytes())],
    )
    here.page.locator(".welcome").wait_for()
    assert here.talk()["photo"]["name"] == "cup.jpg"


def test_a_photo_comes_from_the_camera(visit: Visit) -> None:
    here = visit()
    here.page.get_by_role("button", name="Camera", exact=True).click()
    here.page.wait_for_timeout(500)
    here.page.get_by_text("Take the photo").click()
    here.page.locator(".welcome").wait_for()
    assert here.talk()["photo"]["name"] == "camera.jpg"


def test_many_photos_get_the_same_words(visit: Visit, photo_path: Path) -> None:
    here = visit()
    page = here.page
    page.goto(f"{here.address}/#batch")
    page.set_input_files("[aria-label='Photo files']", [photo_path, photo_path.with_name("rocket.jpg")])
    page.fill(".batch-text", "Where is the cup?")
    page.keyboard.press("Enter")
    page.locator(".batch .note", has_text="2 of 2 photos").wait_for()
    assert page.locator(".card p:first-of-type").all_inner_texts() == ["Here is the cup."] * 2
    page.locator(".card a").first.click()
    page.locator(".turn[data-turn='1']").wait_for()
