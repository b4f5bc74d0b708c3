"""RefCOCO and gRefCOCO, JSON and pickle; pickles that would run something are refused."""

from __future__ import annotations

import collections
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miras.core.errors import InputError
from miras.core.masks import decode_rle
from miras.data.formats.coco import refcoco
from miras.data.formats.records import read_records, write_records
from miras.data.io import stream
from miras.data.record import regions_of
from tests.data.made import MASKS, coco, masks_of, note


def ref(id: int = 1, **changes: Any) -> dict[str, Any]:
    said = [{"sent_id": 10 * id + n, "sent": f"dog {id}{n}", "raw": "Dog", "tokens": ["dog"]} for n in (0, 1)]
    plain = {"ref_id": id, "ann_id": id, "image_id": 7, "category_id": 3, "split": "testA", "file_name": "one_1.jpg"}
    return {**plain, "sentences": said, "sent_ids": [10 * id, 10 * id + 1], **changes}


def write(folder: Path, *refs: Any, name: str = "refs(unc).json") -> Path:
    coco(folder)
    if name.endswith(".p"):
        (folder / name).write_bytes(pickle.dumps(list(refs), protocol=2))
    else:
        (folder / name).write_text(json.dumps(list(refs)))
    return folder


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ["refs(unc).json", "refs(unc).p", "grefs(unc).json"])
def test_a_record_for_each_sentence(
    tmp_path: Path, name: str, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    if streamed:
        pytest.importorskip("ijson")
        monkeypatch.setattr(stream, "STREAM_FROM", 0)
    records = list(refcoco.read(write(tmp_path, ref(1), ref(2, split="val"), name=name)))
    assert [(r["focus"], r["split"]) for r in records] == [
        ("dog 10", "test"), ("dog 11", "test"), ("dog 20", "val"), ("dog 21", "val")
    ]  # fmt: skip
    assert records[0]["meta"] == {"sent_id": 10, "ref_id": 1, "ann_id": 1, "split": "testA", "category": "big dog"}
    assert records[0]["turns"][0]["text"] == "Show me the dog 10."
    ((_, region),) = regions_of(records[2])
    assert np.array_equal(decode_rle(dict(region["rle"])), MASKS["hole"])


def test_grefcoco_unites_and_refuses(tmp_path: Path) -> None:
    refs = (ref(1, ann_id=[1, 2]), ref(2, ann_id=[-1], no_target=True))
    records = list(refcoco.read(write(tmp_path, *refs, name="grefs(unc).json")))
    ((_, region),) = regions_of(records[0])
    whole = decode_rle(dict(region["rle"]))
    assert whole.sum() == MASKS["hole"].sum() + 64 and whole[MASKS["hole"]].all()
    assert [r["kind"] for r in records] == ["single", "single", "absent", "absent"]
    assert not masks_of(records[2:])


FAULTS: dict[str, tuple[Any, str]] = {
    "no such annotation": (ref(5), "ref 5: .*an ann_id that can be used, got 5"),
    "an annotation that is faulty": (ref(6), "annotation 6: .*3 points"),
    "another image": (ref(7), "an annotation of image 7, got one of image 8"),
    "no such image": (ref(5, image_id=9), "ref 5: .*an image_id"),
    "no annotation": (ref(5, ann_id=None), "ann_id"),
    "an unknown split": (ref(1, split="dev"), "'dev'"),
    "a sentence twice": (ref(1, sentences=[{"sent_id": 20, "sent": "x"}]), "each sent_id once, got 20 again"),
    "an empty sentence": (ref(1, sentences=[{"sent_id": 1, "sent": " "}]), "a sentence"),
    "a sentence that is a number": (ref(1, sentences=[{"sent_id": 1, "sent": 5}]), '"sent"'),
    "text": ("dog", "ref number 1"),
}


@pytest.mark.parametrize(("faulty", "said"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_ref_is_named_and_the_rest_goes_on(tmp_path: Path, faulty: Any, said: str) -> None:
    write(tmp_path, ref(2), faulty)
    images = [{"id": i, "file_name": "one.jpg", "height": 24, "width": 32} for i in (7, 8)]
    coco(tmp_path, images=images,
         annotations=[note(1), note(2), note(6, segmentation=[[1, 2, 3, 4]]), note(7, image_id=8)])  # fmt: skip
    with pytest.raises(InputError, match=said):
        list(refcoco.read(tmp_path))
    heard: list[str] = []
    assert len(list(refcoco.read(tmp_path, heard.append))) >= 2
    assert heard


class Trick:
    """Pickled, it is a call."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pickled-calls-run",)


@pytest.mark.parametrize(
    "value", [Trick(), [Trick()], collections.OrderedDict(a=1), np.zeros(2), Path("x")],
    ids=["call", "call inside", "OrderedDict", "array", "Path"],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_looks_up_a_name_is_refused(
    tmp_path: Path, value: Any, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "refs(x).p"
    file.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(InputError, match=r"plain lists.*got one that wants [\w.]+") as error:
        refcoco.load_pickle(file)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["refs(x).p"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_pickles_are_read(tmp_path: Path, protocol: int) -> None:
    value = [{"a": 1, "b": [1.5, True, None, "é"], "c": (2, 10**30)}]
    (tmp_path / "x.p").write_bytes(pickle.dumps(value, protocol))
    assert refcoco.load_pickle(tmp_path / "x.p") == value


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_of_numpy_are_numbers(tmp_path: Path, protocol: int) -> None:
    """Ids that were computed with numpy before they were saved."""
    value = [{"ann_id": np.int64(7), "score": np.float32(0.5), "seen": np.bool_(True), "far": np.array([3], ">i4")[0]}]
    (tmp_path / "x.p").write_bytes(pickle.dumps(value, protocol))
    (found,) = refcoco.load_pickle(tmp_path / "x.p")
    assert found == {"ann_id": 7, "score": 0.5, "seen": True, "far": 3}
    assert [type(one) for one in found.values()] == [int, float, bool, int]


@pytest.mark.parametrize("value", [np.array([1, 2]), np.str_("a"), np.datetime64("2020-01-01")])
def test_other_things_of_numpy_are_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "x.p").write_bytes(pickle.dumps([value], 2))
    with pytest.raises(InputError, match=r"plain lists|numbers"):
        refcoco.load_pickle(tmp_path / "x.p")


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    (tmp_path / "x.p").write_bytes(b"(lp0\nS'caf\\xc3\\xa9'\np1\naV\\u00e9\np2\na.")
    assert refcoco.load_pickle(tmp_path / "x.p") == ["café", "é"]


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"hello", b"(lp0\nI1\n", b"\x80\xffabc", b"\x82\x01."])
def test_a_damaged_pickle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.p").write_bytes(content)
    with pytest.raises(InputError, match="a pickle"):
        refcoco.load_pickle(tmp_path / "x.p")


def test_which_refs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got none"):
        refcoco.refs_file(tmp_path)
    write(tmp_path, ref(1))
    write(tmp_path, ref(1), name="refs(google).p")
    with pytest.raises(InputError, match=r"refs\(google\).p, refs\(unc\).json"):
        list(refcoco.read(tmp_path))
    assert len(list(refcoco.read(tmp_path / "refs(google).p"))) == 2
    (tmp_path / "refs(google).p").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="a list of refs"):
        list(refcoco.read(tmp_path / "refs(google).p"))


def test_refs_as_written(tmp_path: Path) -> None:
    records = list(refcoco.read(write(tmp_path / "in", ref(1), ref(2, split="val"))))
    write_records(records, tmp_path / "out", "refcoco")
    back = list(read_records(tmp_path / "out", "refcoco"))
    assert masks_of(back) == masks_of(records)
    kept = ("split", "category")
    assert [[r["meta"][key] for key in kept] for r in back] == [[r["meta"][key] for key in kept] for r in records]
    (one, two) = json.loads((tmp_path / "out" / "refs(miras).json").read_text())
    assert [s["sent"] for s in one["sentences"]] == ["dog 10", "dog 11"]
    assert (one["sent_ids"], two["sent_ids"], two["ann_id"]) == ([1, 2], [3, 4], 2)
