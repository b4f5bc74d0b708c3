"""Tokenizers that never parse a special token out of text.

In: text. Out: ids, and back. Know no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miras.core.errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class HubTokenizer:
    """The tokenizer of a hub's model: what its `tokenizer.json` says (`backend_tokenizer` of one of `transformers`)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.tokenizer.encode_special_tokens = True
        self.vocab_size = tokenizer.get_vocab_size()
        self.reserved = frozenset(tokenizer.get_added_tokens_decoder())

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; "<|im_end|>" in it is seven ordinary tokens, not the control token."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def control(self, token: str) -> int:
        """Id of a control token. Raises WeightsError when the tokenizer has none of that name."""
        index = self.tokenizer.token_to_id(token)
        if index not in self.reserved:
            raise WeightsError(f"a tokenizer with {token}", "one without", "use the tokenizer of the preset")
        return int(index)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, nothing skipped or cleaned."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))


class ByteTokenizer:
    """UTF-8 bytes and two control tokens: for `miras-tiny`."""

    CONTROLS: tuple[str, ...] = ("<|im_start|>", "<|im_end|>")
    vocab_size = 256 + len(CONTROLS)
    reserved = frozenset(range(256, vocab_size))

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
        return list(text.encode("utf-8", "replace"))

    def control(self, token: str) -> int:
        """Id past the bytes."""
        return 256 + self.CONTROLS.index(token)

    def decode(self, ids: Sequence[int]) -> str:
        """Bytes to text; broken sequences become replacement characters, control tokens their names."""
        text = b"".join(bytes([i]) if i < 256 else self.CONTROLS[i - 256].encode() for i in ids)
        return text.decode("utf-8", "replace")


class StandInTokenizer(ByteTokenizer):
    """Bytes and the control tokens of every template: for a model with random weights, its own tokenizer not here."""

    CONTROLS = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|vision_start|>", "<|vision_end|>")
    vocab_size = 256 + len(CONTROLS)
    reserved = frozenset(range(256, vocab_size))
