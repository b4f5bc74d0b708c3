"""Draw the gallery: hold the conversations of docs/gallery/conversations.yaml and write a picture of each turn.

python benchmarks/gallery.py
"""

from __future__ import annotations

from pathlib import Path

import yaml
from PIL import Image

import miras
from miras.chat.render import overlay

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs" / "gallery"
ASSETS = ROOT / "src" / "miras" / "assets"
HEAD = """# Gallery

What `miras-mini` really answers about photographs that no part of it was trained on: nothing is chosen, nothing is left
out. `python benchmarks/gallery.py` makes this page and its pictures anew from `conversations.yaml`. The photographs are
public domain or CC0 ([list](../../src/miras/assets/LICENSES.md)). The remarks are a person's, written after looking.

"""


def main() -> None:
    """Write the pictures and the page."""
    loaded = miras.load()
    remarks_file = GALLERY / "remarks.yaml"
    remarks = yaml.safe_load(remarks_file.read_text()) if remarks_file.exists() else {}
    page = [HEAD]
    for name, conversations in yaml.safe_load((GALLERY / "conversations.yaml").read_text()).items():
        for number, texts in enumerate(conversations, 1):
            stem = f"{Path(name).stem}-{number}"
            page.append(f"## {stem}\n\n")
            session = loaded.chat(ASSETS / name)
            for turn, text in enumerate(texts, 1):
                reply = session.ask(text)
                shown = [region for region in session.regions if region in reply.regions]
                picture = Image.fromarray(overlay(session.photo, shown, reply.selection.mask))
                picture.thumbnail((480, 480))
                picture.save(GALLERY / f"{stem}-{turn}.jpg", quality=85)
                scores = ", ".join(f"{region.phrase} ({region.score:.2f})" for region in reply.regions) or "no region"
                page.append(f"**You:** {text}  \n**miras:** {reply.text}  \n{scores}; selected: ")
                page.append(f"{reply.selection.expression or 'nothing'}; certainty {reply.certainty:.2f}\n\n")
                remark = remarks.get(f"{stem}-{turn}")
                page.append(f"![{text}]({stem}-{turn}.jpg)\n\n" + (f"*{remark}*\n\n" if remark else ""))
    (GALLERY / "README.md").write_text("".join(page))


if __name__ == "__main__":
    main()
