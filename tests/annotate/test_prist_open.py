"""The builder, on a small set of real files made here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miras.annotate import prist_open
from miras.annotate.prist_open import Plan, _names, build, draft
from miras.core.errors import InputError
from miras.data.formats import parquet
from miras.data.formats.annotated import read_sources
from miras.data.inspect.validate import validate


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight outfits as indexed PNG: hair above a shirt above pants above shoes."""
    root = tmp_path_factory.mktemp("source")
    folder = root / "ccp"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "labels.txt").write_text("null\nhair\nshirt\npants\nshoes\nhat\nscarf\n")
    rng = np.random.default_rng(0)
    for number in range(8):
        labels = np.zeros((160, 120), np.uint8)
        for index, (top, bottom) in enumerate(((5, 30), (32, 80), (82, 130), (132, 155)), 1):
            labels[top:bottom, 30 + number : 90] = index
        Image.fromarray(rng.integers(0, 255, (160, 120, 3), np.uint8)).save(folder / "images" / f"{number:04d}.jpg")
        Image.fromarray(labels).save(folder / "masks" / f"{number:04d}.png")
    return root


PLAN = Plan(kinds={"progressive": 1.0, "shift": 0.5, "edit": 0.5, "absent": 0.3}, per_photo={"ccp": 8})


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_source_and_seed_same_bytes_and_another_seed_others(source: Path, tmp_path: Path) -> None:
    built = [build(source, tmp_path / str(n), PLAN, jobs=jobs) for n, jobs in enumerate((1, 2))]
    first, second = files(tmp_path / "0"), files(tmp_path / "1")
    assert first == second
    assert built[0].statistics == built[1].statistics
    build(source, tmp_path / "2", Plan(1, PLAN.kinds, PLAN.hops, PLAN.per_photo), jobs=1)
    assert files(tmp_path / "2") != first
    assert {"README.md", "statistics.html", "rejected.md"} <= set(first)
    assert not list(tmp_path.glob(".build-*"))


def test_what_is_built_is_valid_divided_by_photo_and_of_the_kinds_asked_for(source: Path, tmp_path: Path) -> None:
    built = build(source, tmp_path / "out", PLAN, jobs=1)
    records = list(parquet.read(tmp_path / "out"))
    assert list(validate(records)) == []
    assert built.statistics["conversations"] == len(records) > 30
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(record["image_id"], set()).add(record["split"])
        assert record["kind"] in PLAN.kinds
        if record["kind"] == "progressive":
            assert record["hops"] == len(record["turns"]) // 2 - 1
            assert record["turns"][-1]["regions"][0]["phrase"] == record["focus"]
    assert all(len(of_photo) == 1 for of_photo in splits.values())
    assert {record["hops"] for record in records if record["kind"] == "progressive"} >= {1, 2, 3, 4}


def test_two_photos_of_one_plain_name_are_two(source: Path, tmp_path: Path) -> None:
    """ "a/b" and "a-b" are both called "a-b": their records, and so the files with text on them, stay apart."""
    (photo,) = [photo for photo in read_sources(source) if photo.id == "0001"]
    work = [(replace(photo, id=id), "train") for id in ("a-b", "a/b", "c")]
    drafts = [draft(item, plan=PLAN, folder=tmp_path, names=_names(work)) for item in work]
    ids = [record["id"] for records in drafts for record in records]
    assert len(ids) == len(set(ids)) > 10
    assert drafts[0] == draft(work[0], plan=PLAN, folder=tmp_path)


def test_hops_on_request(source: Path, tmp_path: Path) -> None:
    plan = Plan(kinds={"progressive": 1.0}, hops={2: 1.0}, per_photo={"ccp": 3})
    build(source, tmp_path / "out", plan, jobs=1, limit=3)
    records = list(parquet.read(tmp_path / "out"))
    assert {record["hops"] for record in records} == {2}
    assert len({record["image_id"] for record in records}) == 3


def test_a_faulty_photo_is_named_and_the_rest_goes_on(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "source"
    for name, content in files(source).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    (copy / "ccp" / "images" / "0003.jpg").unlink()
    built = build(copy, tmp_path / "out", PLAN, jobs=1)
    assert len(built.faults) == 1
    assert "0003" in built.faults[0]
    assert built.statistics["images"] == 7


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Plan(kinds={"rude": 1.0}), "kinds of progressive, .*rude"),
        (lambda: Plan(hops={9: 1.0}), "hops from 1 to 6, got 9"),
        (lambda: Plan(kinds={"edit": 0.0}), "not all 0"),
    ],
)
def test_a_plan_that_cannot_be(make: object, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        make()  # type: ignore[operator]


def test_a_folder_with_files_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(InputError, match="a new or empty folder"):
        build(source, tmp_path, PLAN)
    assert (tmp_path / "mine").read_text() == "precious"


def test_over_ray_the_same_bytes(source: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra scale")
    build(source, tmp_path / "here", PLAN, jobs=1, limit=4)
    try:
        build(source, tmp_path / "ray", PLAN, jobs=2, ray=True, limit=4)
    finally:
        ray.shutdown()
    assert files(tmp_path / "ray") == files(tmp_path / "here")


def test_written_text_lies_beside_the_photos(shared_data: Path, tmp_path: Path) -> None:
    plan = Plan(kinds={"text": 1.0}, per_photo=dict.fromkeys(prist_open.PER_PHOTO, 1))
    built = build(shared_data, tmp_path / "out", plan, jobs=1, limit=2)
    records = list(parquet.read(tmp_path / "out"))
    assert built.statistics["kinds"].keys() == {"text"}
    assert all(Path(record["image"]).is_file() and "written" in record["image"] for record in records)
    assert json.loads(json.dumps(built.statistics)) == built.statistics
