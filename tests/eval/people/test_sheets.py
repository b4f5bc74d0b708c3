"""The pages: blinded, escaped, complete in themselves; and one clicked through in a real browser."""

from __future__ import annotations

import csv
import re
import shutil

import pytest

from miras.core.errors import InputError
from miras.eval.people.answers import read_answers, read_key
from miras.eval.people.design import design
from miras.eval.people.sheets import write_sheets
from tests.eval.judged import make_run

EVIL = '</script><img src=x onerror="alert(1)">&'


@pytest.fixture(params=["pairwise", "rating"])
def study(request, tmp_path):
    runs = [make_run(tmp_path / name, 6, f"secret-{name}", says=(EVIL, name), target_share=0.2)
            for name in ("first-run", "second-run")]  # fmt: skip
    plan = design(runs, request.param, items=4, raters=2, each=1)
    return plan, write_sheets(plan, tmp_path / "study")


def test_files(study, tmp_path):
    plan, written = study
    names = [str(file.relative_to(tmp_path / "study")) for file in written]
    assert names == ["key.json", *(f"sheets/rater_{n}.{end}" for n in ("01", "02") for end in ("html", "csv"))]
    key = read_key(written[0])
    assert tuple(key.cards.values()) == plan.cards
    rows = list(csv.DictReader(written[2].open(encoding="utf-8", newline="")))
    assert len(rows) == len(plan.raters["01"]) * len(key.questions)
    assert read_answers([written[2], written[4]], key) == ([], [])
    with pytest.raises(InputError, match="never written over"):
        write_sheets(plan, tmp_path / "study")


def test_a_page_tells_no_system_and_loads_nothing(study):
    _, written = study
    for file in (written[1], written[3]):
        page = file.read_text(encoding="utf-8")
        cut = page.replace("second-run</p>", "")  # what the second system says is its own name
        for secret in (
            "secret",
            "second-run",
            str(file.parent.parent),
            "photo0",
            "gold",
            'whole"',
            'repeat"',
            'check"',
        ):
            assert secret not in cut, secret
        assert not re.search(r"https?:|//\w|url\(|@import", re.sub(r"data:image/jpeg;base64,[^\"]+", "", page))
        assert EVIL not in page and "<img src=x" not in page and "&lt;/script&gt;&lt;img" in page
        assert page.count("</script>") == 2 and "@@" not in page
        assert len(re.findall("<fieldset", page)) == len(re.findall("<legend", page)) > 0
        assert re.search(r"script-src 'sha256-[\w+/=]{44}'", page)


def test_in_a_browser(study):
    api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    plan, written = study
    answer = "ArrowRight" if plan.kind == "pairwise" else "2"
    cards = plan.raters["01"]
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(accept_downloads=True)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto(written[1].as_uri())
        per_card = page.locator(".card >> nth=0").locator("fieldset").count()
        for _ in range(per_card):
            page.keyboard.press("y" if page.locator(":focus[value=yes]").count() else answer)
        page.reload()
        assert page.inner_text("#done") == f"1 of {len(cards)} finished"
        page.click("#save")
        assert f"{per_card * (len(cards) - 1)} questions" in page.inner_text("#unfinished-text")
        with page.expect_download() as saved:
            page.click("#save-partial")
        half = written[0].parent / "half.csv"
        saved.value.save_as(half)
        page.keyboard.press("PageDown")
        for card in page.locator(".card").all()[1:]:
            for field in card.locator("fieldset").all():
                field.locator("input").first.check()
            page.keyboard.press("PageDown")
        assert page.inner_text("#done") == f"{len(cards)} of {len(cards)} finished"
        assert page.locator(".card:visible img").first.evaluate("image => image.naturalWidth") > 0
        with page.expect_download() as saved:
            page.click("#save")
        assert saved.value.suggested_filename == "rater_01.csv"
        saved.value.save_as(written[0].parent / "whole.csv")
        browser.close()
    assert faults == []
    key = read_key(written[0])
    some, no_faults = read_answers([half], key)
    assert no_faults == [] and len(some) == per_card
    assert {one.given for one in some if one.question == "mask"} == {"right" if plan.kind == "pairwise" else "2"}
    every, no_faults = read_answers([written[0].parent / "whole.csv"], key)
    assert no_faults == [] and len(every) == per_card * len(cards)
