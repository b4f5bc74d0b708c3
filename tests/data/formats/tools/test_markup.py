"""XML without its dangers."""

from __future__ import annotations

from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.data.formats.tools import markup

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]><annotations>&j;</annotations>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations><image name="&x;"/></annotations>'
FAULTS: dict[str, tuple[bytes, str]] = {
    "a bomb of entities": (LAUGHS.encode(), "XML without a DOCTYPE, got .*lolz"),
    "a file from outside": (OUTSIDE.encode(), "XML without a DOCTYPE"),
    "another root": (b"<annotation><object/></annotation>", "<annotations> as the root"),
    "nothing": (b"", "valid XML"),
    "broken off": (b"<annotations><image>", "valid XML"),
    "no XML": (b"{}", "valid XML"),
    "an encoding that nobody knows": (b'<?xml version="1.0" encoding="klingon"?><annotations/>', "valid XML"),
    "bytes of another encoding": (b"<annotations a='\xe9'/>", "valid XML"),
    "too deep": (b"<annotations>" + b"<a>" * 100 + b"</a>" * 100 + b"</annotations>", "at most 64 elements"),
}


@pytest.mark.parametrize(("content", "said"), FAULTS.values(), ids=FAULTS)
def test_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(InputError, match=said):
        list(markup.children(tmp_path / "a.xml", "annotations"))


def test_children_come_one_by_one(tmp_path: Path) -> None:
    body = "".join(f'<image name="{n}"><box x="1">so <b/>many</box>{"&#228;" * 999}</image>' for n in range(50))
    (tmp_path / "a.xml").write_text(f"<?xml version='1.0'?>\n<annotations> <v>1.1</v>{body}</annotations>")
    found = list(markup.children(tmp_path / "a.xml", "annotations"))
    assert [element.tag for element in found] == ["v"] + ["image"] * 50
    assert [element.get("name") for element in found[1:]] == [str(n) for n in range(50)]
    box = found[1][0]
    assert (found[0].text, box.text, box[0].tail, len(box.tail or "")) == ("1.1", "so ", "many", 999)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.xml").write_bytes('<annotations><image name="café"/></annotations>'.encode(encoding))
    (image,) = markup.children(tmp_path / "a.xml", "annotations")
    assert image.get("name") == "café"


@pytest.mark.parametrize(
    ("content", "root"),
    [("<annotations><broken", "annotations"), ("<View/>", "View"), ("nothing", ""), (LAUGHS, ""), ("", "")],
)
def test_the_root(tmp_path: Path, content: str, root: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    assert markup.root_of(tmp_path / "a.xml") == root


def test_no_file(tmp_path: Path) -> None:
    assert markup.root_of(tmp_path / "a.xml") == ""
    with pytest.raises(InputError, match="an XML file"):
        list(markup.children(tmp_path / "a.xml", "annotations"))
