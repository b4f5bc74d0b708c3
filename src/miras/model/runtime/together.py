"""Several conversations on one model at once: what their language model has to read is read in one pass.

In and out: see `Runtime`. Each conversation runs in a thread of its own. Whoever comes to read waits until the others
that are about to read have come, too, and one of them runs the pass for all: every weight is read once for all of them,
each token stands at its own position and sees its own cache alone. A conversation joins or leaves between any two
passes (continuous batching, as in Orca, Yu et al. 2022). All else is done one at a time. Replies are those of a
conversation alone, up to the order of float sums.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from miras.core.types import Box, Mask
from miras.model.language.attention import Part
from miras.model.miras import Miras
from miras.model.numeric.prediction import MaskPrediction
from miras.model.numeric.views import Floats
from miras.model.runtime.base import Cache
from miras.model.runtime.networks import TorchRuntime
from miras.model.visual_encoders import ImageFeatures

MOST = 16
"""Conversations in a pass."""
PATIENCE = 0.02
"""Seconds that a pass waits at most for a conversation that thinks."""
Result = TypeVar("Result")


@dataclass(eq=False)
class Request:
    """What one conversation wants read. part: its rows. predicted: see `Runtime.read`."""

    part: Part
    predicted: int
    at: float = field(default_factory=time.monotonic)
    found: tuple[Floats, Floats] | None = None
    failed: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was read, or cannot be."""
        return self.found is not None or self.failed is not None


class Together(TorchRuntime):
    """model: a `Miras` that answers, whose language model can read for several (a Llama). passes: how many
    conversations each pass was for."""

    def __init__(self, model: Miras, most: int = MOST) -> None:
        super().__init__(model)
        self.passes: list[int] = []
        self._most, self._threads = most, torch.get_num_threads()
        self._changed = threading.Condition()
        self._device = threading.RLock()
        self._waiting: list[Request] = []
        self._talking = self._elsewhere = 0
        self._is_led = False

    def each(self, works: Sequence[Callable[[], Result]]) -> list[Result]:
        """What each of these gives, in a thread of its own: conversations, at most `most` at a time."""

        def work(one: Callable[[], Result]) -> Result:
            torch.set_num_threads(self._threads)  # a new thread has its own
            with self.talk():
                return one()

        with ThreadPoolExecutor(min(self._most, max(1, len(works)))) as pool:
            return list(pool.map(work, works))

    @contextmanager
    def talk(self) -> Iterator[None]:
        """Inside, a conversation is answered by this thread: the others may wait for it."""
        self._count(talking=1)
        try:
            yield
        finally:
            self._count(talking=-1)

    def read(
        self, ids: Sequence[int], cache: Cache, features: ImageFeatures | None = None, slots: Sequence[Floats] = (),
        predicted: int = 1, parents: Sequence[int] = (),
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """In one pass with what the others want read."""
        tensors: Any = cache.tensors  # type: ignore[attr-defined]
        with self._alone():
            embeds = self.embedded(ids, features, slots)
        request = Request(Part(embeds[0], tensors, parents), predicted)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
            while not request.is_done:
                if not self._is_due(request):
                    self._changed.wait(PATIENCE)
                    continue
                self._is_led = True
                self._changed.release()
                try:
                    self._lead()
                finally:
                    self._changed.acquire()
                    self._is_led = False
                    self._changed.notify_all()
        if request.failed is not None:
            raise request.failed
        assert request.found is not None
        return request.found

    def _is_due(self, request: Request) -> bool:
        """Whether this one runs the pass, and now: nobody else runs one, it waits longest, and everybody who is about
        to read has come, or it has waited enough."""
        if self._is_led or not self._waiting or self._waiting[0] is not request:
            return False
        expected = min(self._most, self._talking - self._elsewhere)
        return len(self._waiting) >= expected or time.monotonic() - request.at >= PATIENCE

    def _lead(self) -> None:
        """A pass for all who wait when the device is free."""
        with self._device:
            with self._changed:
                taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                self._pass(taken)
            except BaseException as error:
                for request in taken:
                    request.failed = error
            self.passes.append(len(taken))

    @torch.inference_mode()
    def _pass(self, requests: Sequence[Request]) -> None:
        instruction = self.model.instruction
        language: Any = instruction.language
        kept = instruction.states
        states = language.together([request.part for request in requests], kept)
        last = [rows[language.layers][0, -request.predicted :] for rows, request in zip(states, requests, strict=True)]
        logits = instruction.logits(torch.cat(last)[None])[0].float().cpu().split([len(rows) for rows in last])
        for request, rows, scores in zip(requests, states, logits, strict=True):
            hidden = torch.cat([rows[number] for number in kept], -1)[0]
            request.found = scores.numpy(), hidden.float().cpu().numpy()

    # All else, one at a time

    def encode(self, photo: NDArray[np.uint8]) -> ImageFeatures:
        """By both towers."""
        with self._alone():
            return super().encode(photo)

    def tags(self, features: ImageFeatures) -> tuple[str, ...]:
        """See `Miras.tags`."""
        with self._alone():
            return super().tags(features)

    def mask_tokens(self, features: ImageFeatures, masks_RHW: NDArray[np.bool_]) -> Floats:
        """By the mask encoder."""
        with self._alone():
            return super().mask_tokens(features, masks_RHW)

    def point(self, *given: Any, **named: Any) -> Floats:
        """By the pointer."""
        with self._alone():
            return super().point(*given, **named)

    def presence(self, features: ImageFeatures, span_SE: Floats) -> float:
        """See `Miras.presence`."""
        with self._alone():
            return super().presence(features, span_SE)

    def segment(
        self, features: ImageFeatures, span_SE: Floats | None, memory_MD: Floats | None = None,
        previous: Mask | None = None, points: Floats | None = None, box: Box | None = None, naming: float = 0.0,
    ) -> MaskPrediction:  # fmt: skip
        """See `Miras.segment`."""
        with self._alone():
            return super().segment(features, span_SE, memory_MD, previous, points, box, naming)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._count(elsewhere=1)
        try:
            with self._device:
                yield
        finally:
            self._count(elsewhere=-1)

    def _count(self, talking: int = 0, elsewhere: int = 0) -> None:
        with self._changed:
            self._talking += talking
            self._elsewhere += elsewhere
            self._changed.notify_all()
