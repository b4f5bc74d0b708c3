"""Options that several commands share, as `cyclopts` reads them from a signature.

In: nothing. Out: annotated types, and which options were given. A command's own options stand with it.
"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

Model = Annotated[str, Parameter(help="A name (miras-mini) or the folder of a trained model.")]
Seed = Annotated[int, Parameter(help="Seed of everything random.")]
Url = Annotated[bool, Parameter(negative="", help="IMAGE is an address (http, https), which is fetched.")]
RefuseBelow = Annotated[
    float | None, Parameter(help="Refuse a thing that is less likely to be there, 0 to 1; by default as it was fitted.")
]
Json = Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]


def given(**options: Any) -> dict[str, Any]:
    """The options of a session that were given: those that are None keep their defaults."""
    return {name: value for name, value in options.items() if value is not None}
