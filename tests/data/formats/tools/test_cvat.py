"""CVAT: every kind of figure, groups, layers, tracks, projects, faults; and the example of its documentation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.tools import cvat
from miras.data.formats.tools.labelled import Labelled
from miras.data.io.left_out import LeftOut
from tests.data.made import drawn, photo

BLOCK = drawn("####", "####", at=(3, 2))
POLYGON = '<polygon label="lid" points="2.00,3.00;6.00,3.00;6.00,5.00;2.00,5.00"/>'
FIGURES: dict[str, tuple[str, np.ndarray[Any, Any]]] = {
    "polygon": (POLYGON, BLOCK),
    "box": ('<box label="lid" xtl="2" ytl="3" xbr="6" ybr="5"/>', BLOCK),
    "box, turned": ('<box label="lid" xtl="3" ytl="2" xbr="5" ybr="6" rotation="90.00"/>', BLOCK),
    "box over the border": ('<box label="lid" xtl="-4" ytl="-1.5" xbr="2" ybr="1"/>', drawn("##")),
    "ellipse": (
        '<ellipse label="lid" cx="5" cy="5" rx="1.6" ry="1.6"/>', drawn(".##.", "####", "####", ".##.", at=(3, 3)),
    ),
    "ellipse, turned": (
        '<ellipse label="lid" cx="5" cy="5" rx="3.2" ry="0.6" rotation="90"/>', drawn(*["##"] * 4, at=(3, 4)),
    ),
    "mask": (
        '<mask label="lid" rle="1, 2, 1, 1, 2, 1" left="20" top="9" width="4" height="2"/>',
        drawn(".##.", "#..#", at=(9, 20)),
    ),
    "mask that begins inside": (
        '<mask label="lid" rle="0, 3, 1" left="28" top="23" width="4" height="1"/>', drawn("###.", at=(23, 28)),
    ),
}  # fmt: skip
META = """<meta><task><id>7</id><name>kitchen</name><mode>annotation</mode><labels>
<label><name>lid</name><type>any</type></label><label><name>Big_Pot</name></label><label><name>road</name><type>polyline</type></label>
<label><name>s1</name><type>skeleton</type></label><label><name>1</name><type>points</type><parent>s1</parent></label>
</labels></task></meta>"""


def image(*figures: str, name: str = "a.jpg", more: str = 'width="32" height="24"') -> str:
    return f'<image id="0" name="{name}" {more}>{"".join(figures)}</image>'


def write(folder: Path, *elements: str, meta: str = META, name: str = "annotations.xml") -> Path:
    photo(folder / "images" / "a.jpg")
    body = f"<annotations><version>1.1</version>{meta}{''.join(elements)}</annotations>"
    (folder / name).write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{body}')
    return folder / name


def masks(photos: Iterable[Labelled]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    return [(note.label, decode_rle(note.rle)) for each in photos for note in each.notes]


@pytest.mark.parametrize(("figure", "expected"), FIGURES.values(), ids=FIGURES)
def test_figures(tmp_path: Path, figure: str, expected: np.ndarray[Any, Any]) -> None:
    file = write(tmp_path, image(figure))
    for path in (file, tmp_path):
        ((label, mask),) = masks(cvat.photos(path))
        assert label == "lid"
        assert np.array_equal(mask, expected)


def test_the_record(tmp_path: Path) -> None:
    figure = POLYGON.replace(
        "/>", ' z_order="3" occluded="1" group_id="4"><attribute name="material">tin</attribute></polygon>'
    )
    file = write(tmp_path, image(figure, more='width="32" height="24" subset="Validation"'))
    (record,) = cvat.read(file)
    assert (record["id"], record["image_id"], record["split"]) == (f"{tmp_path.name}/val/a-1", "a", "val")
    assert record["image"] == (tmp_path / "images" / "a.jpg").as_posix()
    assert record["turns"][0]["text"] == "Show me the lid."
    assert record["meta"] == {
        "label": "lid", "figure": "polygon", "z_order": "3", "occluded": "1", "group_id": "4",
        "attributes": {"material": "tin"},
    }  # fmt: skip


def test_what_is_absent_is_what_can_have_a_mask(tmp_path: Path) -> None:
    (one,) = cvat.photos(write(tmp_path, image(POLYGON)))
    assert one.vocabulary == {"lid", "big pot"}
    (other,) = cvat.photos(write(tmp_path, image('<polyline label="Big_Pot" points="1,1;2,2"/>')))
    assert other.unsure == {"Big_Pot"}


OTHERS = {
    '<polyline label="road" points="1,1;9,9"/>': "polylines (no masks)",
    '<points label="lid" points="1,1;2,2"/>': "figures of points (no masks)",
    '<tag label="good"/>': "tags (no masks)",
    '<cuboid label="lid" xtl1="1" ytl1="1"/>': "cuboids (no masks)",
    '<skeleton label="s1"><points label="1" points="1,1"/></skeleton>': "skeletons (no masks)",
    '<polygon label="background" points="1,1;9,1;9,9"/>': "figures whose label means no label",
}


@pytest.mark.parametrize(("figure", "reason"), OTHERS.items(), ids=OTHERS.values())
def test_what_is_no_mask_is_counted(tmp_path: Path, figure: str, reason: str) -> None:
    tally = LeftOut()
    assert len(masks(cvat.photos(write(tmp_path, image(figure, POLYGON, figure)), tally))) == 1
    assert [(each["unit"], each["reason"], each["count"]) for each in tally.to_list()] == [("figures", reason, 2)]
    assert (tally.faults, tally.read["figures"], tally.total("figures")) == (0, 1, 3)


def test_a_group_of_one_label_is_one_mask(tmp_path: Path) -> None:
    far = '<box label="lid" xtl="20" ytl="3" xbr="22" ybr="5"{}/>'
    grouped = POLYGON.replace("/>", ' group_id="1"/>')
    pot = far.replace("lid", "Big_Pot").format(' group_id="1"')
    found = masks(cvat.photos(write(tmp_path, image(grouped, far.format(""), far.format(' group_id="1"'), pot))))
    assert [(label, int(mask.sum())) for label, mask in found] == [("lid", 12), ("lid", 4), ("Big_Pot", 4)]


def test_a_group_with_a_faulty_figure_is_left_out_whole(tmp_path: Path) -> None:
    bad = '<polygon label="lid" points="1,1" group_id="1"/>'
    tally = LeftOut(lambda line: None)
    found = list(cvat.photos(write(tmp_path, image(POLYGON.replace("/>", ' group_id="1"/>'), bad)), tally))
    assert (masks(found), found[0].unsure) == ([], {"lid"})
    assert (tally.faults, tally.read["figures"], tally.total("figures")) == (1, 0, 2)


def test_what_is_nearer_comes_later(tmp_path: Path) -> None:
    figures = [
        POLYGON.replace("lid", name).replace("/>", f' z_order="{z}"/>') for name, z in (("a", 5), ("b", -1), ("c", 0))
    ]
    assert [label for label, _ in masks(cvat.photos(write(tmp_path, image(*figures))))] == ["b", "c", "a"]


# Photos


def test_places_of_photos(tmp_path: Path) -> None:
    for place in ("images/deep/b.png", "c.jpg", "images/Train/d.jpg", "kitchen/e.jpg"):
        photo(tmp_path / place)
    elements = [
        image(POLYGON, name="deep/b.png"), image(POLYGON, name="c.jpg"),
        image(POLYGON, name="d.jpg", more='subset="Train"'), image(POLYGON, name="e.jpg", more='task_id="7"'),
        image(POLYGON, name="deep\\b.png"),
    ]  # fmt: skip
    heard: list[str] = []
    found = list(cvat.photos(write(tmp_path, *elements), heard.append))
    assert [(each.id, each.split) for each in found] == [
        ("deep/b", ""), ("c", ""), ("Train/d", "train"), ("kitchen/e", ""),
    ]  # fmt: skip
    assert len(heard) == 1
    assert "each photo once, got b.png again" in heard[0]


def test_photos_that_differ_in_their_ending_stay_two(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.png")
    found = list(cvat.photos(write(tmp_path, image(POLYGON), image(POLYGON, name="a.png"))))
    assert len({each.id for each in found}) == 2
    assert [each.path.name for each in found] == ["a.jpg", "a.png"]


def test_several_tasks(tmp_path: Path) -> None:
    for task in ("task_1", "task_2"):
        write(tmp_path / task, image(POLYGON))
    found = list(cvat.photos(tmp_path))
    assert [each.path.parent.parent.name for each in found] == ["task_1", "task_2"]
    assert len({each.id for each in found}) == 2


# Tracks

TRACKS = """<track id="3" label="lid" task_id="7">
<polygon frame="1" keyframe="1" outside="0" points="2,3;6,3;6,5;2,5"/>
<polygon frame="2" keyframe="0" outside="0" points="3,3;7,3;7,5;3,5"/>
<polygon frame="3" keyframe="1" outside="1" points="3,3;7,3;7,5;3,5"/></track>
<track id="4" label="pot"><mask frame="2" outside="0" rle="0,2" left="9" top="9" width="2" height="1"/></track>
<track id="5" label="road"><polyline frame="2" outside="0" points="1,1;2,2"/></track>"""


def video(folder: Path, tracks: str, frames: Iterable[str], size: str = "<width>32</width><height>24</height>") -> Path:
    for frame in frames:
        photo(folder / "images" / frame)
    task = f"<meta><task><id>7</id><name>kitchen</name><original_size>{size}</original_size></task></meta>"
    return write(folder, tracks, meta=task)


def test_tracks_by_frame(tmp_path: Path) -> None:
    tracks = TRACKS.replace(' task_id="7"', "")
    tally = LeftOut()
    found = list(cvat.photos(video(tmp_path, tracks, ["frame_000001.PNG", "frame_000002.jpg"]), tally))
    assert [each.path.name for each in found] == ["frame_000001.PNG", "frame_000002.jpg"]
    (first,), second = masks(found[:1]), masks(found[1:])
    assert np.array_equal(first[1], BLOCK)
    assert [(label, int(mask.sum())) for label, mask in second] == [("lid", 8), ("pot", 2)]
    assert found[0].notes[0].meta == {"figure": "polygon", "track": "3", "frame": "1"}
    assert (tally.read["figures"], tally.total("figures")) == (3, 4)


def test_frames_of_two_tasks_need_a_folder_each(tmp_path: Path) -> None:
    tracks = (
        '<track id="1" label="lid" task_id="7" subset="{0}"><box frame="0" xtl="2" ytl="3" xbr="6" ybr="5"/></track>'
    )
    both = tracks.format("a") + tracks.format("b").replace("7", "8")
    heard: list[str] = []
    assert list(cvat.photos(video(tmp_path, both, ["frame_000000.PNG"]), heard.append)) == []
    assert [line.split(": ", 2)[2] for line in heard] == ["expected each photo once, got frame_000000.PNG again"] * 2
    apart = list(cvat.photos(video(tmp_path, both, ["a/frame_000000.PNG", "b/frame_000000.PNG"])))
    assert [each.id for each in apart] == ["a/frame_000000", "b/frame_000000"]


# Faults

FAULTS: dict[str, tuple[str, str]] = {
    "no photo": (image(POLYGON, name="gone.jpg"), r"image gone\.jpg: expected the photo, got no file"),
    "a name that leads outside": (image(POLYGON, name="../a.jpg"), "a file name inside"),
    "a subset that leads outside": (image(POLYGON, more='subset="../x"'), "a file name inside"),
    "no name": (image(POLYGON, name=""), "a file name inside"),
    "another size": (image(POLYGON, more='width="33" height="24"'), "33 x 24 pixels, got 32 x 24"),
    "two points": (image('<polygon label="lid" points="1,1;2,2"/>'), r"polygon 0 \(lid\): .*at least 3 points"),
    "a point of one number": (image('<polygon label="lid" points="1;2;3"/>'), "points"),
    "a point that is no number": (image(POLYGON.replace("6.00", "six")), "a number for x, got 'six'"),
    "NaN": (image(POLYGON.replace("6.00", "nan")), "a number for x"),
    "without end": (image('<box label="lid" xtl="1" ytl="1" xbr="1e309" ybr="5"/>'), "a number for xbr"),
    "half a box": (image('<box label="lid" xtl="1" ytl="1"/>'), "a number for xbr, got None"),
    "outside the photo": (image('<box label="lid" xtl="40" ytl="1" xbr="50" ybr="5"/>'), "with pixels of the photo"),
    "no radius": (image('<ellipse label="lid" cx="5" cy="5" rx="0" ry="2"/>'), "radii over 0"),
    "runs too short": (image(FIGURES["mask"][0].replace("2, 1\"", "2\"")), "fill 4 x 2 = 8 pixels, got runs of 7"),
    "a run below nothing": (image(FIGURES["mask"][0].replace("1, 2,", "-1, 4,")), "a whole number from 0"),
    "a mask too large": (image(FIGURES["mask"][0].replace('width="4"', 'width="400000"')), "inside 32 x 24 pixels"),
    "a mask over the border": (image(FIGURES["mask"][0].replace('left="20"', 'left="30"')), "inside 32 x 24 pixels"),
    "runs that are text": (image(FIGURES["mask"][0].replace("1, 2", "one, 2")), "a run of rle"),
    "a layer that is no number": (image(POLYGON.replace("/>", ' z_order="top"/>')), "z_order"),
    "no frame": (
        '<track id="1" label="lid"><box frame="9" xtl="2" ytl="3" xbr="6" ybr="5"/></track>', r"frame 9: .*no file",
    ),
    "a frame of text": ('<track id="1" label="lid"><box frame="x" xtl="2" ytl="3" xbr="6" ybr="5"/></track>', "frame"),
}  # fmt: skip


@pytest.mark.parametrize(("element", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_the_rest_goes_on(tmp_path: Path, element: str, said: str) -> None:
    photo(tmp_path / "images" / "b.jpg")
    file = write(tmp_path, element, image(POLYGON, name="b.jpg"))
    heard: list[str] = []
    tally = LeftOut(heard.append)
    found = list(cvat.photos(file, tally))
    assert [each.id for each in found if each.notes] == ["b"]
    assert len(heard) == 1
    assert "\n" not in heard[0]
    assert (tally.read["figures"], tally.total("figures")) == (1, 2)
    with pytest.raises(InputError, match=said):
        list(cvat.photos(file))


def test_nothing_of_cvat(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an XML of CVAT, got none"):
        list(cvat.photos(photo(tmp_path / "a.jpg").parent))
    (tmp_path / "a.xml").write_text("<annotation/>")
    with pytest.raises(InputError, match="<annotations> as the root"):
        list(cvat.photos(tmp_path / "a.xml"))


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """Its mask is a disc of 13 x 15 pixels; its lines, points, tag and skeleton have no mask."""
    rle = "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
    figures = f"""
    <box label="plate" xtl="797.33" ytl="870.92" xbr="965.52" ybr="928.94" occluded="0" z_order="4"></box>
    <polyline label="traffic_line" points="462.10,0.00;126.80,1200.00" occluded="0" z_order="3"></polyline>
    <points label="wheel" points="574.90,939.48;1170.16,907.90;1130.69,445.26" occluded="0" z_order="5"></points>
    <tag label="good_frame" source="manual"></tag>
    <skeleton label="s1" source="manual"><points label="1" outside="0" points="54.47,94.81"></points></skeleton>
    <mask label="car" source="manual" rle="{rle}" left="707" top="888" width="13" height="15" z_order="0"></mask>
    """
    Image.new("L", (1600, 1200)).save(tmp_path / "filename000.jpg")
    file = write(tmp_path, image(figures, name="filename000.jpg", more='width="1600" height="1200"'))
    tally = LeftOut()
    (car, car_mask), (plate, plate_mask) = masks(cvat.photos(file, tally))
    assert (car, plate) == ("car", "plate")
    assert int(car_mask.sum()) == sum(map(int, rle.split(", ")[1::2])) == 149
    assert car_mask[888, 707 + 3 : 707 + 8].all() and not car_mask[888, 707 : 707 + 3].any()
    assert car_mask[888:903, 707:720].sum() == 149
    expected = np.zeros((1200, 1600), np.bool_)
    expected[871:929, 797:966] = True  # the pixels whose centres lie inside: 965.5 < 965.52, 928.5 < 928.94
    assert np.array_equal(plate_mask, expected)
    assert sum(each["count"] for each in tally.to_list()) == 4
