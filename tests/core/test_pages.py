from __future__ import annotations

import subprocess
import sys

import pytest

from miras.core.pages import template


def test_what_is_filled_in_is_escaped_and_nothing_may_be_missing():
    from jinja2 import UndefinedError

    page = template("miras.data.inspect", "plots.html")
    assert "&lt;b&gt;" in page.render(title="<b>", picture="", table="")
    with pytest.raises(UndefinedError, match="title"):
        page.render()


def test_jinja_is_imported_when_a_page_is_made():
    code = (
        "import sys, miras.core.pages, miras.predict.sheet, miras.eval.report.page, miras.data.inspect.plots;"
        "print([name for name in ('jinja2', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
