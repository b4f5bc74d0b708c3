"""Options that several commands share, as `cyclopts` reads them from a signature.

In: nothing. Out: annotated types. A command's own options stand with it.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Model = Annotated[str, Parameter(help="A name (miras-mini) or the folder of a trained model.")]
Seed = Annotated[int, Parameter(help="Seed of everything random.")]
Url = Annotated[bool, Parameter(negative="", help="IMAGE is an address (http, https), which is fetched.")]
Json = Annotated[bool, Parameter(negative="", help="Print one JSON object as the last line of standard output.")]
