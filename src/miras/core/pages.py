"""The one way to make an HTML page: a template of Jinja in the folder `templates` of the package that fills it.

In: a package, the name of its template. Out: the template; whatever it is filled with is escaped, and a name that is
not given is an error, no empty space. Jinja is imported when a page is made. Knows no page.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


@lru_cache(maxsize=32)
def template(package: str, name: str) -> Template:
    """A template of `package` ("miras.eval.report"), which may include and import those beside it."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files(package) / "templates"
    loader = FunctionLoader(lambda other: (folder / other).read_text("utf-8"))
    environment = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    return environment.get_template(name)
