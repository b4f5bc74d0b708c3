"""Files that are written whole or not at all: what lies there after the writing went well, or did not."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from miras.core.errors import InputError
from miras.core.files import staged, whole, write_whole


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def broken(staging: Path, fault: BaseException) -> None:
    staging.write_bytes(b"ha")
    raise fault


@pytest.mark.parametrize("name", ["a.txt", "new/folder/a.txt", ".hidden"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_what_is_written_replaces_what_was_there(tmp_path: Path, name: str, before: bytes | None) -> None:
    path = tmp_path / name
    if before is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(before)
    with whole(path) as staging:
        staging.write_bytes(b"new")
        assert path.exists() == (before is not None), "nothing is in place before the end"
    assert held(tmp_path) == {name: b"new"}
    assert write_whole(path, b"newer") == path
    assert held(tmp_path) == {name: b"newer"}


@pytest.mark.parametrize("block", [staged, whole])
@pytest.mark.parametrize("before", [{}, {"a.txt": b"old"}])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ValueError("half"), InputError("x", "y")])
def test_a_fault_leaves_what_was_there(tmp_path: Path, block, before: dict[str, bytes], fault: BaseException) -> None:
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(type(fault)), block(tmp_path / "a.txt") as staging:
        broken(staging, fault)
    assert held(tmp_path) == before


def full(staging: Path) -> None:
    broken(staging, OSError(errno.ENOSPC, "No space left on device"))


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"), staged(tmp_path / "a") as staging:
        full(staging)
    with pytest.raises(InputError) as told, whole(tmp_path / "a") as staging:
        full(staging)
    assert (told.value.expected, told.value.got) == (f"to write {tmp_path / 'a'}", "No space left on device")
    assert told.value.cure == "free room or give another place"
    with (
        pytest.raises(InputError, match="expected plots, got No space left on device; take another disk"),
        whole(tmp_path / "a", "take another disk", "plots") as staging,
    ):
        full(staging)
    assert held(tmp_path) == {}


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected room to write .*; give another folder"):
        write_whole(tmp_path / "file" / "a", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="expected to write"), whole(tmp_path / "folder") as staging:
        staging.write_bytes(b"")
    assert held(tmp_path) == {"file": b""}
