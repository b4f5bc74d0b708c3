"""What a language model is: embeddings in, hidden states and logits out.

In: token ids and embeddings. Out: states by number, logits, a key-value cache. Knows nothing of photos, masks or
special tokens: those are embeddings past its rows, of `instruction`.
B batch, L new tokens, D width, V rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from miras.core.errors import WeightsError
from miras.core.grammar import TextTokenizer

if TYPE_CHECKING:
    from transformers import DynamicCache

States = dict[int, Tensor]
"""Number -> states (B, L, D): 0 the embeddings, i what layer i gives, the last one normed."""

PLACE = 2
"""Columns at the end of a wide row, of a language model whose visual tokens are more than embeddings: row and column of
the token in the photo, from 1; 0 for what is no visual token. Before them stands what only that model reads."""


class Language(Protocol):
    """A causal language model with its tokenizer.

    module: what is trained, moved and saved. rows: V of its table of embeddings, which may be more than the tokenizer
    has ids. layers: the number of the last states. lora_targets: names of the layers that LoRA is put on. head_dtype:
    what the last states are cast to before `logits`; None: they stay.
    """

    module: nn.Module
    tokenizer: TextTokenizer
    rows: int
    width: int
    layers: int
    lora_targets: Sequence[str]
    head_dtype: torch.dtype | None

    @property
    def table(self) -> nn.Embedding:
        """Its embeddings (V, D)."""
        raise NotImplementedError

    def embed(self, ids_BL: Tensor) -> Tensor:
        """(B, L, D)."""
        raise NotImplementedError

    def hidden(
        self,
        embeds_BLD: Tensor,
        kept: Collection[int],
        cache: DynamicCache | None = None,
        padding_BL: Tensor | None = None,
        parents: Sequence[int] = (),
    ) -> tuple[Tensor, States]:
        """The last states, normed, and those that are kept. The cache is extended in place, positions go on from its
        length. padding: True at real tokens. parents: the last tokens are a tree (`numeric.tree`). embeds: wider than
        D where visual tokens are (`PLACE`)."""
        raise NotImplementedError

    def logits(self, last_BLD: Tensor) -> Tensor:
        """(B, L, V) of the last states."""
        raise NotImplementedError

    def cache(self) -> DynamicCache:
        """An empty key-value cache."""
        raise NotImplementedError

    def add_lora(self, rank: int, alpha: int) -> None:
        """New LoRA layers on `lora_targets` (rank 0: none), all else frozen."""
        raise NotImplementedError

    def answering(self, length: int, dtype: torch.dtype | None) -> Language:
        """The same for inference, for good, of sequences of at most `length` tokens: LoRA merged, and whatever makes it
        faster. dtype: None for what the device is fastest in."""
        raise NotImplementedError


@runtime_checkable
class Packs(Protocol):
    """A language model that reads several sequences in one row."""

    def packed(self, embeds_BLD: Tensor, kept: Collection[int], positions_BL: Tensor) -> tuple[Tensor, States]:
        """As `Language.hidden` without a cache. positions: of each token in its sequence; where they do not go on by 1
        another sequence begins, which sees nothing of those before it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Tuned:
    """What was trained of a language model, as it is saved: LoRA, or all of it. weights: by their names in `module`."""

    weights: Mapping[str, Tensor]
    rank: int
    alpha: int


class Source:
    """Where a language model comes from, by its name in the registry. published: whether it has weights to load;
    otherwise they are random."""

    published: bool = True

    def __init__(self, name: str) -> None:
        self.name = name

    def ready(self) -> bool:
        """Whether it lies where it is loaded from, and nothing has to be made first."""
        return True

    def projector(self) -> Mapping[str, Tensor] | None:
        """Weights, published with it, that bring a vision tower's features to its width ("0.weight", "0.bias",
        "2.weight", "2.bias" of two linear layers); None for none."""
        return None

    def load(self, dtype: torch.dtype = torch.float32) -> Language:
        """The language model on the CPU, to be trained. Raises WeightsError with the cure."""
        raise NotImplementedError

    def answering(self, length: int, dtype: torch.dtype, tuned: Tuned) -> Language:
        """The tuned language model on the CPU for inference alone. A source may know a shorter way than this one.
        Raises WeightsError."""
        language = self.load(dtype)
        language.add_lora(tuned.rank, tuned.alpha)
        mine = language.module.state_dict()
        refuse(sorted(name for name, value in tuned.weights.items() if shape(mine.get(name)) != value.shape))
        language.module.load_state_dict({name: value.float() for name, value in tuned.weights.items()}, strict=False)
        return language.answering(length, dtype)


def widened(rows: Tensor, width: int) -> Tensor:
    """Rows (..., D) with zeros behind, as wide as a visual token."""
    return rows if rows.shape[-1] == width else pad(rows, (0, width - rows.shape[-1]))


def shape(value: Tensor | None) -> torch.Size | None:
    """Of a tensor that may not be there."""
    return None if value is None else value.shape


def refuse(faults: Sequence[str]) -> None:
    """Raises WeightsError where weights do not fit; faults: their names."""
    if faults:
        raise WeightsError(
            "weights that fit the configuration", f"{len(faults)} that do not ({', '.join(faults[:3])})",
            "use the config.json saved with the weights",
        )  # fmt: skip
