"""The tools of `miras mcp`, over standard input and output.

In: calls of an assistant. Out: text, data and the overlay; what it may mend comes back as an error of the tool, in one
line. One thread has the model: calls wait for each other. Knows the protocol; what happens is in `talks.py`.
"""

import asyncio
import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import Field

from miras import __version__
from miras.core.errors import MirasError
from miras.serve.assistant.talks import Answer, Talks

T = TypeVar("T")
INSTRUCTIONS = """Select things in photographs by conversation; you get exact masks. Begin with `select`, which shows a
photo of the folder and what was found in it, and go on in the same conversation with `follow_up`: "also the spoon",
"without the handle", "everything but the sky". Look at the picture that comes back. Ask for one thing a turn, in plain
English. `refine` mends an outline, `undo` takes a turn back, `export_masks` writes files."""
Conversation = Annotated[str, Field(description="The conversation that select told.")]
Request = Annotated[str, Field(description="What to find, add or take away, in plain English.")]
Format = Literal["png", "rle", "coco", "labelme", "svg"]
LOOKS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)


def server(talks: Talks) -> MCPServer:
    """The tools over some conversations."""
    mcp = MCPServer("miras", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    thread = ThreadPoolExecutor(1, "miras-model")
    thread.submit(lambda: talks.loaded)  # ready, or nearly, when the first call comes

    async def work(act: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, act)
        except MirasError as error:
            raise ToolError(str(error)) from error

    @mcp.tool(annotations=LOOKS, structured_output=False)
    async def select(
        photo: Annotated[str, Field(description=f"Path of a photo in {talks.folder}.")], request: Request
    ) -> CallToolResult:
        """Select something in a photo: begins a conversation about it."""
        return shown(await work(lambda: talks.select(photo, request)))

    @mcp.tool(annotations=LOOKS, structured_output=False)
    async def follow_up(conversation: Conversation, request: Request) -> CallToolResult:
        """Go on in a conversation: add to the selection, take away, replace it, or ask for what is left."""
        return shown(await work(lambda: talks.follow_up(conversation, request)))

    @mcp.tool(annotations=LOOKS, structured_output=False)
    async def refine(
        conversation: Conversation,
        region: Annotated[int | None, Field(description="Id of the region; by default the one last added.")] = None,
        points: Annotated[
            list[list[float]] | None, Field(description="[x, y, label] in pixels of the photo; 1 belongs, 0 does not.")
        ] = None,
        box: Annotated[list[float] | None, Field(description="[x1, y1, x2, y2] that the region fills.")] = None,
    ) -> CallToolResult:
        """Mend the outline of a region by points or a box."""
        return shown(await work(lambda: talks.refine(conversation, region, points, box)))

    @mcp.tool(annotations=LOOKS, structured_output=False)
    async def undo(conversation: Conversation) -> CallToolResult:
        """Take the last turn of a conversation back."""
        return shown(await work(lambda: talks.undo(conversation)))

    @mcp.tool(annotations=WRITES, structured_output=False)
    async def export_masks(
        conversation: Conversation,
        formats: Annotated[list[Format], Field(description="png is black and white.")] = ["png"],  # noqa: B006
        each: Annotated[bool, Field(description="Every region by itself, not what is selected.")] = False,
    ) -> CallToolResult:
        """Write masks into new files and tell their paths."""
        files = [str(path) for path in await work(lambda: talks.export(conversation, formats, each))]
        return CallToolResult(content=[TextContent(text="\n".join(files))], structured_content={"files": files})

    return mcp


def shown(answer: Answer) -> CallToolResult:
    """An answer as the protocol has it."""
    picture = ImageContent(data=base64.b64encode(answer.picture).decode(), mime_type="image/jpeg")
    return CallToolResult(content=[TextContent(text=answer.text), picture], structured_content=answer.facts)
