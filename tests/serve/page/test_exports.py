"""What is taken away from the page: files, and copies on the clipboard."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
from PIL import Image

from miras.core.masks import decode_rle
from tests.serve.page.conftest import Visit


def test_every_export_comes_down(visit: Visit) -> None:
    here = visit()
    here.sample()
    here.say("Where is the cup?")
    here.say("Also the spoon.")
    selected = decode_rle(here.talk()["selection"]["rle"])
    for title in ("Mask", "Overlay", "Cut-out", "Outline", "COCO", "LabelMe", "Run lengths", "PRIST record", "Session"):
        name, content = here.download(title)
        if name.endswith(".zip"):
            assert "conversations.jsonl" in zipfile.ZipFile(io.BytesIO(content)).namelist()
        elif name.endswith(".png"):
            picture = np.asarray(Image.open(io.BytesIO(content)))
            assert picture.shape[:2] == selected.shape
            if title == "Mask":
                assert ((picture > 0) == selected).all()
        elif name.endswith(".svg"):
            assert b"<path" in content
        else:
            json.loads(content)


def test_corrections_come_down(visit: Visit) -> None:
    here = visit()
    here.sample()
    here.say("Where is the cup?")
    here.page.locator(".stage").focus()
    here.page.keyboard.press("b")
    here.page.mouse.move(*here.spot(180, 60))
    here.page.mouse.down()
    here.page.mouse.move(*here.spot(420, 300), steps=5)
    here.page.mouse.up()
    here.page.locator(".turn[data-turn='2']").wait_for()
    here.settle()
    for title in ("Corrections", "All corrections"):
        name, content = here.download(title)
        files = zipfile.ZipFile(io.BytesIO(content))
        ours = here.talk()["photo"]["id"].removeprefix("p_")
        document = json.loads(files.read(f"coffee-{ours}.json"))
        assert {shape["label"].strip() for shape in document["shapes"]} == {"cup"}
        assert name.endswith(".zip")


def test_the_mask_goes_to_the_clipboard(visit: Visit) -> None:
    here = visit(permissions=["clipboard-read", "clipboard-write"])
    here.sample()
    here.say("Where is the cup?")
    here.page.locator(".act", has_text="Export").click()
    here.page.get_by_text("Copy the mask").click()
    here.page.get_by_text("The mask is on the clipboard.").wait_for()
    pixels = here.page.evaluate(
        """async () => {
            const [item] = await navigator.clipboard.read();
            const picture = await createImageBitmap(await item.getType("image/png"));
            const canvas = new OffscreenCanvas(picture.width, picture.height);
            const pen = canvas.getContext("2d");
            pen.drawImage(picture, 0, 0);
            const { data } = pen.getImageData(0, 0, picture.width, picture.height);
            let white = 0;
            for (let at = 0; at < data.length; at += 4) white += data[at] > 127 ? 1 : 0;
            return [picture.width, picture.height, white];
        }"""
    )
    assert pixels == [600, 400, here.talk()["selection"]["area"]]
