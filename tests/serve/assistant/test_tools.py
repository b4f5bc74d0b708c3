"""`miras mcp` as an assistant meets it: the official client, over standard input and output."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miras.model.miras import Miras

mcp = pytest.importorskip("mcp", reason="needs mcp: pip install 'miras[mcp]'")
SOURCE = Path(__file__).parents[3] / "src"


async def hold(parameters: Any, folder: Path) -> None:
    async with mcp.Client(parameters, read_timeout_seconds=300) as client:
        listed = await client.list_tools()
        assert {tool.name for tool in listed.tools} == {"select", "follow_up", "refine", "undo", "export_masks"}
        assert all(tool.description for tool in listed.tools)

        async def call(name: str, **given: Any) -> Any:
            return await client.call_tool(name, given)

        first = await call("select", photo="cup.jpg", request="Where is the cup?")
        assert not first.is_error, first.content
        words, picture = first.content
        facts = first.structured_content
        assert words.text.endswith(f"conversation: {facts['conversation']}")
        assert picture.mime_type == "image/jpeg"
        assert Image.open(io.BytesIO(base64.b64decode(picture.data))).size == (64, 48)
        talk = facts["conversation"]
        second = await call("follow_up", conversation=talk, request="Also the spoon.")
        assert len(second.structured_content["regions"]) >= len(facts["regions"])
        mended = await call("refine", conversation=talk, box=[8, 8, 40, 30])
        assert not mended.is_error, mended.content
        back = await call("undo", conversation=talk)
        assert back.structured_content["regions"] == second.structured_content["regions"]
        files = await call("export_masks", conversation=talk, formats=["png", "coco"], each=True)
        assert not files.is_error, files.content
        assert all(Path(name).is_file() for name in files.structured_content["files"])
        both = await asyncio.gather(*(call("select", photo="cup.jpg", request="Where is the cup?") for _ in range(3)))
        assert len({one.structured_content["conversation"] for one in both}) == 3
        assert all(one.structured_content["regions"] == facts["regions"] for one in both)
        for name, given, line in (
            ("select", {"photo": "../cup.jpg", "request": "a"}, "start miras mcp with another --folder"),
            ("select", {"photo": "gone.jpg", "request": "a"}, "gone.jpg"),
            ("follow_up", {"conversation": "no", "request": "a"}, "begin with select"),
            ("export_masks", {"conversation": talk, "formats": ["exe"]}, "png"),
        ):
            refused = await call(name, **given)
            assert refused.is_error and line in refused.content[0].text
            assert "Traceback" not in refused.content[0].text


def test_an_assistant_selects(model: Miras, jpeg: bytes, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "weights")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cup.jpg").write_bytes(jpeg)
    command = ["-m", "miras", "mcp", "--folder", str(photos), "--model", str(tmp_path / "weights"), "--threads", "1"]
    environment = {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "HOME": os.environ.get("HOME", "/")}
    parameters = mcp.StdioServerParameters(command=sys.executable, args=command, env=environment)
    asyncio.run(asyncio.wait_for(hold(parameters, photos), 550))
