"""In which manner dialogues are sampled, beyond the plain one: what a person may say who was not asked to be careful.

In: nothing. Out: the switches, each a share from 0; 0 draws nothing from the generator, so that dialogues are those of
before to the byte. Knows no wording.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from miras.core.errors import InputError


@dataclass(frozen=True)
class Manner:
    """referring: share of the named targets that are one of several ("the second cup from the left"), where the photo
    has such. chat: share of the turns before the last that are words alone (small talk, other languages, what cannot
    be answered). typos: share of the user's texts that are shouted, misspelt or padded. existence: share of
    "Is there a cup?" among the plain requests, present and absent things alike. bare: share of the plain requests that
    are a name and nothing else ("cup", "the shoes"), present and absent things alike.

    Raises InputError that names every value outside 0 to 1.
    """

    referring: float = 0.0
    chat: float = 0.0
    typos: float = 0.0
    existence: float = 0.0
    bare: float = 0.0

    def __post_init__(self) -> None:
        faults = [f"{f.name}: {getattr(self, f.name)!r}" for f in fields(self) if not 0 <= getattr(self, f.name) <= 1]
        if faults:
            raise InputError("shares from 0 to 1", ", ".join(faults))


PLAIN = Manner()
