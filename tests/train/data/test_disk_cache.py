"""Tensors on disk: the same bits, a bound that holds for all processes, damage that is only a miss."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from miras.core.errors import InputError
from miras.train.data.disk_cache import SUFFIX, UNUSED, USED, DiskCache


def maps(seed: int = 0, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    first = torch.randn(1, 3, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
    return [first, torch.randn(1, 4, 5).to(dtype), torch.zeros(0, dtype=dtype)]


def on_disk(folder) -> int:
    return sum(file.stat().st_size for file in folder.rglob(f"*{SUFFIX}"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_comes_back_is_what_was_kept(tmp_path, dtype):
    cache = DiskCache(tmp_path, 1e6)
    assert cache.get("tower", "ab1") is None
    assert cache.put("tower", "ab1", maps(1, dtype))
    found = DiskCache(tmp_path, 1e6).get("tower", "ab1")
    for one, other in zip(maps(1, dtype), found, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other) and one.stride() == other.stride()
    assert cache.get("other", "ab1") is None and (cache.hits, cache.misses) == (0, 2)


def test_several_writers_stay_inside_the_bound(tmp_path):
    limit = 12_000
    caches = [DiskCache(tmp_path, limit) for _ in range(4)]

    def fill(number: int) -> None:
        for each in range(8):
            caches[number].put("tower", f"{number % 2}{each}", maps(each))

    workers = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    assert 0 < on_disk(tmp_path) <= limit and any(cache.is_full for cache in caches)
    assert caches[0].bytes == on_disk(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("harm", [b"", b"short", None])
def test_a_damaged_file_is_a_miss_and_goes(tmp_path, harm):
    cache = DiskCache(tmp_path, 1e6)
    cache.put("tower", "ab", maps())
    (file,) = tmp_path.rglob(f"*{SUFFIX}")
    file.write_bytes(file.read_bytes()[:-40] if harm is None else harm)
    assert cache.get("tower", "ab") is None and not file.exists()
    assert cache.put("tower", "ab", maps(2)) and torch.equal(cache.get("tower", "ab")[0], maps(2)[0])
    cache.put("tower", "cd", maps())
    assert DiskCache(tmp_path, 1e6).bytes == on_disk(tmp_path)


@pytest.mark.parametrize(("age", "gives_way"), [(2 * UNUSED, True), (UNUSED / 2, False)])
def test_other_scopes_give_way_when_nobody_uses_them(tmp_path, age, gives_way):
    old = DiskCache(tmp_path, 3000)
    while old.put("old", f"{old.bytes:05}", maps()):
        pass
    mark = tmp_path / "old" / USED
    then = mark.stat().st_mtime - age
    os.utime(mark, (then, then))
    assert DiskCache(tmp_path, 3000).put("new", "ab", maps()) is gives_way
    assert (tmp_path / "old").exists() is not gives_way
    assert on_disk(tmp_path) <= 3000


def test_half_written_files_of_a_killed_process_go(tmp_path):
    cache = DiskCache(tmp_path, 1e6)
    cache.put("tower", "ab", maps())
    part = tmp_path / "tower" / "ab" / ".abc.safetensors.77.part"
    part.write_bytes(b"1" * 500)
    assert DiskCache(tmp_path, 1e6).bytes == on_disk(tmp_path) and not part.exists()


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"a folder to keep features in at .*; give another features\.folder"):
        DiskCache(tmp_path / "file", 1e6)
