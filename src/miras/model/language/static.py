"""A key-value cache of fixed size, and passes of a few tokens that a GPU replays as they were recorded.

In: new keys and values. Out: all of them. The buffers are written in place, so that nothing is copied as a conversation
grows and a recorded pass (a CUDA graph) finds them where they were; conversations that fork share a buffer as long as
no other reads where one writes. A pass of at most `STEPS` tokens is padded to one of these sizes and sees the whole
buffer through a mask; on a processor it is run as it is, for there is nothing to record. Knows no conversation.
L new tokens, T tokens that there is room for, S tokens of a step, N key heads, d head width, D width.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from miras.core.errors import InputError
from miras.model.language.attention import Attend, Part, mask, seen
from miras.model.numeric.tree import tree_attention

STEPS = (1, 9, 16)
"""Tokens of a recorded pass: one, one with its guesses, mask slots with theirs."""
Layered = Callable[[Tensor, tuple[Tensor, Tensor], Attend, Collection[int]], dict[int, Tensor]]
"""`LlamaDecoder.layered`."""


@dataclass(frozen=True)
class Room:
    """Sizes of a buffer. length: T; one more row takes what is only padding."""

    layers: int
    keys: int
    width: int
    length: int
    dtype: torch.dtype
    device: torch.device


@dataclass(eq=False)
class Buffer:
    """Keys and values (layers, 1, N, T + 1, d). users: the caches that read it. steps: passes recorded over it, by
    their size and the states that they give."""

    keys: Tensor
    values: Tensor
    users: WeakSet[StaticCache] = field(default_factory=WeakSet)
    steps: dict[tuple[int, tuple[int, ...]], Step] = field(default_factory=dict)


class Buffers:
    """Buffers of one size. One that nobody reads any more is taken again, with what was recorded over it."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._all: list[Buffer] = []
        self._lock = threading.Lock()

    @property
    def made(self) -> int:
        """How many there are, free ones among them."""
        return len(self._all)

    def take(self, user: StaticCache) -> Buffer:
        """One that nobody else reads. Its rows are what they were."""
        with self._lock:
            free = next((one for one in self._all if not len(one.users)), None)
            if free is None:
                room = self.room
                shape = room.layers, 1, room.keys, room.length + 1, room.width
                with torch.inference_mode(False):  # written inside and outside of it
                    keys, values = (torch.zeros(shape, dtype=room.dtype, device=room.device) for _ in range(2))
                free = Buffer(keys, values)
                self._all.append(free)
            free.users.add(user)
            return free


class StaticCache:
    """What one conversation has read, of at most `Room.length` tokens. Answers as a `DynamicCache` does where a Llama
    that answers asks it, and as a `runtime.base.Cache` where a conversation does."""

    def __init__(self, buffers: Buffers) -> None:
        self.buffers, self.length = buffers, 0
        self.buffer = buffers.take(self)

    def __len__(self) -> int:
        return self.length

    def __bool__(self) -> bool:
        return True

    @property
    def tensors(self) -> StaticCache:
        """What the language model is given: itself."""
        return self

    def get_seq_length(self) -> int:
        """Tokens."""
        return self.length

    def update(self, keys_BNLd: Tensor, values_BNLd: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Write the rows of a layer; all of that layer's, new ones included. The last layer ends the pass."""
        end = self.length + keys_BNLd.shape[2]
        if layer == 0:
            self.own(end - self.length)
        buffer, start = self.buffer, self.length
        buffer.keys[layer, :, :, start:end], buffer.values[layer, :, :, start:end] = keys_BNLd, values_BNLd
        if layer == self.buffers.room.layers - 1:
            self.length = end
        return buffer.keys[layer, :, :, :end], buffer.values[layer, :, :, :end]

    @torch.inference_mode()
    def own(self, count: int) -> None:
        """Make room for so many more rows that nobody else reads. Raises InputError when there is none."""
        room = self.buffers.room
        if self.length + count > room.length:
            raise InputError(f"a conversation of at most {room.length} tokens", f"{self.length + count}", "shorten it")
        old, start = self.buffer, self.length
        if any(other is not self and other.length > start for other in list(old.users)):
            self.buffer = self.buffers.take(self)
            old.users.discard(self)
            self.buffer.keys[:, :, :, :start] = old.keys[:, :, :, :start]
            self.buffer.values[:, :, :, :start] = old.values[:, :, :, :start]

    def fork(self) -> StaticCache:
        """An independent one with the same content; the buffer is shared."""
        twin = StaticCache.__new__(StaticCache)
        twin.buffers, twin.buffer, twin.length = self.buffers, self.buffer, self.length
        self.buffer.users.add(twin)
        return twin

    def crop(self, length: int) -> None:
        """Keep the first tokens."""
        self.length = min(self.length, length)

    @torch.inference_mode()
    def keep(self, first: int, rows: Sequence[int]) -> None:
        """Keep the first tokens, and of those after them only `rows`, counted from `first`, in order."""
        kept = torch.tensor([first + row for row in rows], dtype=torch.long, device=self.buffer.keys.device)
        keys, values = (each.index_select(3, kept) for each in (self.buffer.keys, self.buffer.values))
        self.length = first
        self.own(len(rows))
        end = first + len(rows)
        self.buffer.keys[:, :, :, first:end], self.buffer.values[:, :, :, first:end] = keys, values
        self.length = end


class Step:
    """A pass of S tokens over one buffer. On a GPU it is recorded when it is made and then replayed.

    layered: what the layers do. turns: cosines and sines of all positions. kept: the states that are asked for.
    """

    def __init__(
        self, size: int, width: int, buffer: Buffer, layered: Layered, turns: tuple[Tensor, Tensor], groups: int,
        kept: Collection[int],
    ) -> None:  # fmt: skip
        device, room = buffer.keys.device, buffer.keys.shape[3]
        self.size, self.kept, self._buffer, self._layered, self._turns = size, tuple(kept), buffer, layered, turns
        self._x_SD = torch.zeros(size, width, device=device)
        self._positions = torch.zeros(size, dtype=torch.long, device=device)
        self._rows = torch.full((size,), room - 1, dtype=torch.long, device=device)
        self._mask = torch.zeros(groups * size, room, dtype=buffer.keys.dtype, device=device)
        self._states: dict[int, Tensor] = {}
        self._graph = self._recorded() if device.type == "cuda" else None

    def __call__(self, part: Part) -> dict[int, Tensor]:
        """States (L, D) by number of the part's rows; its cache is extended."""
        cache, count = part.cache, len(part.embeds_LD)
        assert isinstance(cache, StaticCache)
        start, room = cache.length, self._mask.shape[1]
        positions, visible = tree_attention(start, count, part.parents)
        sees = torch.zeros(self.size, room, dtype=torch.bool)
        sees[:count, : start + count] = torch.from_numpy(visible)
        sees[count:, room - 1] = True  # padding sees itself: a row that sees nothing is not a number
        rows = torch.full((self.size,), room - 1)
        rows[:count] = torch.arange(start, start + count)
        places = torch.zeros(self.size, dtype=torch.long)
        places[:count] = torch.from_numpy(positions)
        self._x_SD[:count].copy_(part.embeds_LD)
        self._positions.copy_(places)
        self._rows.copy_(rows)
        groups = self._mask.shape[0] // self.size
        self._mask.copy_(mask(sees, groups, self._mask.dtype))
        if self._graph is None:
            self._run()
        else:
            self._graph.replay()
        cache.length = start + count
        return {number: states[:count].clone() for number, states in self._states.items()}

    def _run(self) -> None:
        def attend(layer: int, query_SHd: Tensor, key_SNd: Tensor, value_SNd: Tensor) -> Tensor:
            keys, values = self._buffer.keys[layer], self._buffer.values[layer]
            keys.index_copy_(2, self._rows, key_SNd.transpose(0, 1)[None])
            values.index_copy_(2, self._rows, value_SNd.transpose(0, 1)[None])
            return seen(query_SHd, keys, values, self._mask)

        turns = self._turns[0][self._positions], self._turns[1][self._positions]
        self._states = self._layered(self._x_SD, turns, attend, self.kept)

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """All rows are padding while it is recorded: nothing of the buffer is lost."""
        self._mask[:, -1] = 0
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._run()
        return graph


class Held:
    """Caches of fixed size for a Llama that answers, and its passes over them. record: whether passes of few tokens are
    steps; None: on a GPU. decoder: a `LlamaDecoder`, where it is to stay."""

    def __init__(self, decoder: Any, record: bool | None = None) -> None:
        device = decoder.norm_D.device
        length = (len(decoder.cos_Ld) + 1) // 8 * 8 - 1  # with the row of padding a multiple of 8, as kernels like it
        room = Room(len(decoder.layers), decoder.keys, decoder.width, length, decoder.dtype, device)
        self.decoder, self.buffers = decoder, Buffers(room)
        self.record = device.type == "cuda" if record is None else record

    def cache(self) -> StaticCache:
        """An empty one."""
        return StaticCache(self.buffers)

    def __call__(self, part: Part, kept: Collection[int]) -> dict[int, Tensor]:
        """As `LlamaDecoder.together` of one part."""
        count = len(part.embeds_LD)
        size = next((size for size in STEPS if count <= size), None) if self.record else None
        if size is None:
            found: dict[int, Tensor] = self.decoder.together([part], kept)[0]
            return found
        cache = part.cache
        assert isinstance(cache, StaticCache)
        cache.own(count)
        steps, name = cache.buffer.steps, (size, tuple(sorted(kept)))
        if name not in steps:
            decoder = self.decoder
            turns, groups = (decoder.cos_Ld, decoder.sin_Ld), decoder.heads // decoder.keys
            steps[name] = Step(size, part.embeds_LD.shape[1], cache.buffer, decoder.layered, turns, groups, kept)
        return {number: states[None] for number, states in steps[name](part).items()}
