"""What stands behind a session: one photo's dialogue, whatever model holds it.

In: the state of a session, a message, a gesture. Out: words, regions, and the event that a turn was. The session keeps
the state and carries the operators out; a backend keeps what it needs to go on talking (a cache, a connection) and
nothing of what was selected. Ours is `chat.native`; a vision-language model with a segmenter is `chat.composed`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from miras.chat.inputs import Gesture, Options
from miras.chat.state import Event, Exchange, State
from miras.core.text_regions import TextRegion
from miras.core.types import Mask, Region, Turn


class Backend(Protocol):
    """One photo's dialogue. The state that is handed in is always the one it was brought to.

    A turn is made on a fork (`begin`), which the session takes over when the turn is whole: a turn that fails leaves
    no trace. Everything raises errors of `core.errors`.
    """

    @property
    def model(self) -> Any:
        """What it was opened by."""
        ...

    @property
    def encode_seconds(self) -> float:
        """Seconds that the photo took to encode."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of what the photo seems to show, guessed before anything is asked; mostly none."""
        ...

    @property
    def text_regions(self) -> tuple[TextRegion, ...]:
        """The lines of text that are written in the photo."""
        ...

    @property
    def evidence(self) -> Any:
        """What the last reply was decided by; None where it cannot say."""
        ...

    @property
    def recalls(self) -> bool:
        """Whether a reply may name an earlier region again."""
        ...

    @property
    def unsure_below(self) -> float:
        """Score below which a region is told with a hedge; 0 = none is."""
        ...

    @property
    def opening(self) -> str:
        """Digest of what stands before every turn."""
        ...

    def begin(self) -> Backend:
        """An independent one for one turn, its clock and counter at zero."""
        ...

    def fork(self) -> Backend:
        """An independent one with the same past; the photo is not encoded again."""
        ...

    # A turn; all but `prepare` are asked of one that has begun

    def prepare(self, state: State, message: str, forced: Sequence[int] | None) -> Any:
        """What `reply` needs of a message; what cannot be answered raises InputError here. forced: see
        `ChatSession.ask`."""
        ...

    def reply(self, state: State, prepared: Any) -> Generator[str | Region, None, Event]:
        """A reply: text deltas and regions as they come (new ones numbered on from those of the state, and those that
        it names again), and the event at the end."""
        ...

    def append(self, state: State, user: str, reply: Turn, pointed: bool = False) -> Event:
        """An exchange whose reply is known; its regions are numbered on from those of the state. pointed: by a hand,
        so that its words are no one's."""
        ...

    def draw(self, state: State, gesture: Gesture) -> tuple[Mask, float | None]:
        """Mask (H, W) and score of what a hand points at, which has no name yet."""
        ...

    def refine(self, state: State, region: Region, gesture: Gesture) -> Event:
        """A region changed by hand."""
        ...

    def resume(self, state: State) -> None:
        """Be where a state is, as after these turns."""
        ...

    # As it is kept

    def spoken(self, exchange: Exchange) -> tuple[int, ...]:
        """Ids of what was generated; none for a backend that has no ids."""
        ...

    def write(self, exchange: Exchange) -> dict[str, Any]:
        """An exchange but for its user's words and its regions, as plain values."""
        ...

    def read(self, raw: Mapping[str, Any], user: str, regions: tuple[Region, ...], first_region: int) -> Exchange:
        """What `write` gave, and the regions that its reply draws, checked. first_region: the first free id. Raises
        InputError, and what reading plain values raises."""
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """A dialogue that can read what stands before every turn once, for all its forks."""

    def read_opening(self) -> None:
        """Before the first turn; what is said then is the same but for the order of float sums."""
        ...


class Opener(Protocol):
    """A model that holds dialogues about photos."""

    def facts(self) -> dict[str, Any]:
        """What the texts of its sessions depend on, as plain values."""
        ...

    def open(self, photo: NDArray[Any], options: Options) -> Backend:
        """A dialogue about a photo, (H, W, 3) uint8 RGB. Raises InputError."""
        ...
