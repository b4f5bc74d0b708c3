"""Caches of fixed size give what growing ones give, step by step, and forks do not see each other."""

from __future__ import annotations

import pytest
import torch

from miras.chat.load import Loaded
from miras.cli.benches.script import OPENING, PHOTO, SCRIPT
from miras.core.errors import InputError
from miras.model.language.static import STEPS, Held
from miras.model.presets import build


@pytest.fixture(scope="module")
def loaded():
    model = build("miras-tiny", seed=3).eval()
    model.instruction.answer_fast(512, torch.float32)
    return Loaded(model, "tiny", 0.0)


@pytest.fixture
def hold(loaded):
    """How caches are kept; as they were afterwards."""
    language = loaded.model.instruction.language

    def held(record):
        language.held = None if record is None else Held(language.module.decoder, record)
        return language.held

    yield held
    language.held = None


def talk(loaded):
    """What a conversation says and selects, with an undo and a fork on the way."""
    session = loaded.chat(PHOTO)
    replies = [session.ask(OPENING[0]), session.ask(SCRIPT[0][0])]
    aside = session.fork()
    replies.append(aside.ask(SCRIPT[1][0]))
    session.undo()
    replies += [session.ask(SCRIPT[2][0]), aside.ask(SCRIPT[3][0]), session.ask(SCRIPT[1][0])]
    return [(reply.ids, reply.text, reply.selection.mask.sum()) for reply in replies]


@pytest.mark.parametrize("record", [False, True])
def test_a_conversation_says_the_same(loaded, hold, record):
    wanted = talk(loaded)
    held = hold(record)
    assert talk(loaded) == wanted
    sizes = {size for buffer in held.buffers._all for size, _ in buffer.steps}
    assert bool(sizes) is record and sizes <= set(STEPS)


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(("steps", "parents"), [([12], ()), ([5, 1, 4], ()), ([7, 5], (-1, 0, 0)), ([1] * 4, ())])
def test_states_are_those_of_a_growing_cache(loaded, hold, record, steps, parents):
    torch.manual_seed(1)
    instruction = loaded.model.instruction
    pieces = torch.randn(1, sum(steps), instruction.width).split(steps, 1)
    found = []
    for held in (None, record):
        hold(held)
        cache = instruction.language.cache()
        with torch.inference_mode():
            rows = [instruction(one, cache, None, parents if one is pieces[-1] else ()) for one in pieces]
        found.append([torch.cat(each, 1) for each in zip(*rows, strict=True)])
        assert cache.get_seq_length() == sum(steps)
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


def test_forks_share_a_buffer_until_one_writes_where_another_reads(hold):
    held = hold(False)
    room = held.buffers.room

    def write(cache, value, count=2):
        rows = torch.full((1, room.keys, count, room.width), float(value))
        return [cache.update(rows, rows, layer)[0] for layer in range(room.layers)][-1][0, 0, :, 0].tolist()

    first = held.cache()
    write(first, 1)
    twin = first.fork()
    assert write(twin, 2) == [1, 1, 2, 2] and twin.buffer is first.buffer  # nobody else reads there
    assert write(first, 3) == [1, 1, 3, 3] and first.buffer is not twin.buffer
    assert write(twin, 4) == [1, 1, 2, 2, 4, 4]
    twin.keep(2, [1, 3])
    assert write(twin, 5, 1) == [1, 1, 2, 4, 5]
    twin.crop(3)
    assert write(twin, 6, 1) == [1, 1, 2, 6] and len(twin) == 4
    made = len(held.buffers._all)
    del first
    assert held.cache().buffer in held.buffers._all and len(held.buffers._all) == made  # a free one is taken again


def test_a_conversation_that_is_too_long_is_told_in_a_line(hold):
    held = hold(False)
    cache = held.cache()
    with pytest.raises(InputError, match="a conversation of at most"):
        cache.own(held.buffers.room.length + 1)
