"""Old names go on working, and say so."""

import pytest

from miras.core.former import FormerNameWarning, former_names


@former_names(paint="draw", hue="colour")
class Pen:
    def __init__(self) -> None:
        self.lines: list[str] = []

    @property
    def colour(self) -> str:
        return "blue"

    def draw(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)


def test_old_names_do_what_the_new_ones_do_and_say_so() -> None:
    pen = Pen()
    with pytest.warns(FormerNameWarning, match=r"'Pen\.paint' is called 'Pen\.draw' now"):
        assert pen.paint("a") == 1  # type: ignore[attr-defined]
    with pytest.warns(FormerNameWarning, match=r"'Pen\.hue'"):
        assert pen.hue == "blue"  # type: ignore[attr-defined]
    assert pen.draw("b") == 2 and pen.lines == ["a", "b"]
    with pytest.raises(AttributeError):
        pen.hue = "red"  # type: ignore[attr-defined]
