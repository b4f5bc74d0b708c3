"""Errors that say what was expected, what was got, and the cure; warnings. Only the CLI prints them."""

from __future__ import annotations


class MirasError(Exception):
    """Base of all errors a person can mend. `str()` is one line."""

    def __init__(self, expected: str, got: str, cure: str = "") -> None:
        self.expected, self.got, self.cure = expected, got, cure
        line = f"expected {expected}, got {got}" + (f"; {cure}" if cure else "")
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[type[MirasError], tuple[str, ...]]:
        """Errors cross process borders (workers of a data loader)."""
        return type(self), (self.expected, self.got, self.cure)


class InputError(MirasError):
    """What a person or a file gave cannot be used."""


class WeightsError(MirasError):
    """Weights are missing, or of another version or architecture."""


class NothingToUndo(MirasError):
    """`undo` before anything was selected."""

    def __init__(self) -> None:
        super().__init__("an earlier turn", "none", "ask for something first")

    def __reduce__(self) -> tuple[type[MirasError], tuple[str, ...]]:
        """Takes no arguments."""
        return type(self), ()


class MirasWarning(UserWarning):
    """What a person should know of, though the work goes on. One line."""


class PhotoWarning(MirasWarning):
    """A photo was read in a way that its file does not ask for."""


class DataWarning(MirasWarning):
    """Some of the data cannot be used."""
