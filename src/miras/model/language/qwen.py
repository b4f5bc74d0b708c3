"""The language model of Qwen3-VL (Bai et al. 2025), dense, of any size: `qwen3vl:REPO`.

In: a checkpoint as the hub has it (`Qwen/Qwen3-VL-4B-Instruct`: sharded, of the whole model), of which the language
model alone is read. Out: a `Language`. A visual token is a wide row (`towers.qwen`): what stands in its slot, what
DeepStack adds to the states after the first layers, and the token's row and column in the photo, from which the
positions of all tokens follow (interleaved M-RoPE). Where a photo ended is kept with the cache, not with the model, so
that conversations can take turns.
B batch, L new tokens, D width, S layers of DeepStack.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, Qwen3VLConfig, Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLPreTrainedModel, Qwen3VLTextModel

from miras.model.hub import checkpoint
from miras.model.language.base import PLACE, Language, Source, States
from miras.model.language.causal import CausalLanguage
from miras.model.language.llava import tokenizer_of
from miras.model.language.quantised import quantised
from miras.model.numeric.tree import tree_attention

KINDS = {"qwen3_vl": "a checkpoint of Qwen3-VL (dense)"}
TEXT = {r"^model\.language_model\.": "model."}
"""Where a checkpoint keeps the language model."""

SIDES = 1 << 16
"""More than the sides of any photo, in tokens."""


class QwenText(Qwen3VLPreTrainedModel):
    """Qwen3-VL without its vision tower, its weights named as those of any causal language model."""

    config: Any
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012 - as `transformers` wants it

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = Qwen3VLTextModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class PhotoCache(DynamicCache):
    """photos: for each photo that was read: where it begins and ends in the cache, and (B,) the positions of its first
    token and of what follows it. Never changed in place: forks share it."""

    photos: tuple[tuple[int, int, Tensor, Tensor], ...] = ()

    def begin(self, past: int, is_visual: bool) -> Tensor | int:
        """Position of the next token when `past` tokens are kept, of a visual token that goes on with a photo that of
        its first. What was cropped is forgotten. is_visual: whether it is one."""
        self.photos = tuple(photo for photo in self.photos if photo[0] < past)
        if not self.photos:
            return past
        _, end, first, after = self.photos[-1]
        return first if past < end or (past == end and is_visual) else after + (past - end)


class QwenLanguage(CausalLanguage):
    """`hidden` takes rows of width D (words), or wider ones as `InstructionComprehension.embed` makes them of visual
    tokens."""

    def hidden(
        self,
        embeds_BLD: Tensor,
        kept: Collection[int],
        cache: DynamicCache | None = None,
        padding_BL: Tensor | None = None,
        parents: Sequence[int] = (),
    ) -> tuple[Tensor, States]:
        """See `Language.hidden`."""
        words, place, _ = self._split(embeds_BLD)
        past, begin = self._past(cache, place is not None and bool(place[0, 0, 0] > 0))
        positions_3BL = positions(words.shape[:2], begin, place, words.device)
        mask = None if padding_BL is None else padding_BL.long()
        if parents:
            places, sees = tree_attention(past, words.shape[1], parents)
            chain = words.shape[1] - len(parents)
            deeper = torch.from_numpy(places[chain:] - past - chain).to(words.device)
            tree_3BL = positions_3BL[:, :, chain : chain + 1] + deeper
            positions_3BL = torch.cat([positions_3BL[:, :, :chain], tree_3BL], 2)
            mask = _added(torch.from_numpy(sees)).to(words.device)
        if place is not None:
            self._note(cache, past, place[..., 0] > 0, positions_3BL)
        return self._run(embeds_BLD, kept, positions_3BL, cache=cache, attention_mask=mask)

    def packed(self, embeds_BLD: Tensor, kept: Collection[int], positions_BL: Tensor) -> tuple[Tensor, States]:
        """As `hidden` without a cache, of rows in which several sequences stand. positions: of each token in its own,
        from 0: `transformers` lets none see another's."""
        words, place, _ = self._split(embeds_BLD)
        positions_3BL = positions(words.shape[:2], 0, place, words.device, positions_BL)
        return self._run(embeds_BLD, kept, torch.cat([positions_BL[None], positions_3BL]))

    def _split(self, embeds_BLD: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Embeddings (B, L, D), places (B, L, PLACE) or None, and what DeepStack adds (B, L, S * D)."""
        words, deep = embeds_BLD[..., : self.width], embeds_BLD[..., self.width : -PLACE]
        if embeds_BLD.shape[-1] == self.width:
            return words, None, deep
        return words, embeds_BLD[..., -PLACE:].round().long(), deep

    def _run(self, embeds_BLD: Tensor, kept: Collection[int], places: Tensor, **how: Any) -> tuple[Tensor, States]:
        words, place, deep = self._split(embeds_BLD)
        if place is not None and bool((photo_BL := place[..., 0] > 0).any()):
            rows = deep[photo_BL].split(self.width, -1)
            how |= {"visual_pos_masks": photo_BL, "deepstack_visual_embeds": list(rows)}
        if not torch.is_autocast_enabled(words.device.type):
            words = words.to(self.table.weight.dtype)
        output = self.module.base_model(
            inputs_embeds=words, use_cache=how.get("cache") is not None, position_ids=places,
            output_hidden_states=True, **how,
        )  # fmt: skip
        return output.last_hidden_state, {number: output.hidden_states[number] for number in kept}

    def cache(self) -> DynamicCache:
        """An empty one that knows where photos end."""
        return PhotoCache()

    def _past(self, cache: DynamicCache | None, is_visual: bool) -> tuple[int, Tensor | int]:
        if cache is None:
            return 0, 0
        past = int(cache.get_seq_length())
        return past, cache.begin(past, is_visual) if isinstance(cache, PhotoCache) else past

    def _note(self, cache: DynamicCache | None, past: int, photo_BL: Tensor, positions_3BL: Tensor) -> None:
        """What the cache has to know of a photo that is read now."""
        if not isinstance(cache, PhotoCache) or not bool(photo_BL.any()):
            return
        at = photo_BL[0].nonzero()[:, 0].tolist()
        start, first = past + at[0], positions_3BL[0, :, at[0]]
        if cache.photos and cache.photos[-1][1] >= start:
            start, _, first, _ = cache.photos[-1]
        after = positions_3BL[:, :, at[0] : at[-1] + 1].amax((0, 2)) + 1
        cache.photos = (
            *(photo for photo in cache.photos if photo[0] < start),
            (start, past + at[-1] + 1, first, after),
        )


def positions(
    size: Sequence[int], begin: Tensor | int, place_BL2: Tensor | None, device: torch.device,
    within_BL: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Positions (3, B, L) in time, height and width: words count on in all three, the tokens of a photo share the time
    of its first and have their row and column, and what follows goes on behind the larger of its sides
    (`Qwen3VLModel.get_rope_index`). place: row and column from 1; 0 for a word. within: places in their own sequences,
    from 0, where several stand in a row. One photo a sequence."""
    batch, length = size
    begin_B1 = torch.as_tensor(begin, device=device).reshape(-1, 1).expand(batch, 1)
    within_BL = torch.arange(length, device=device).expand(batch, -1) if within_BL is None else within_BL
    if place_BL2 is None:
        return (begin_B1 + within_BL).expand(3, -1, -1)
    photo_BL = place_BL2[..., 0] > 0
    first_BL = torch.arange(length, device=device) - within_BL  # where a token's own sequence begins
    words_BL = (~photo_BL).cumsum(1) - (~photo_BL).long()
    words_BL = words_BL - words_BL.gather(1, first_BL)
    side_BL = (place_BL2.amax(2) + first_BL * SIDES).cummax(1).values - first_BL * SIDES
    plain_BL = begin_B1 + words_BL + torch.where(photo_BL, 0, side_BL)
    inner_BL2 = (place_BL2 - 1) * photo_BL[..., None]
    return torch.stack([plain_BL, plain_BL + inner_BL2[..., 0], plain_BL + inner_BL2[..., 1]])


def _added(sees_LT: Tensor) -> Tensor:
    """What is visible as what is added to the fit, (1, 1, L, T)."""
    return torch.zeros(sees_LT.shape).masked_fill(~sees_LT, torch.finfo(torch.float32).min)[None, None]


class Qwen3VL(Source):
    """name: "qwen3vl:REPO"."""

    @property
    def repo(self) -> str:
        """What stands behind the colon."""
        return self.name.partition(":")[2]

    def load(self, dtype: torch.dtype = torch.float32) -> Language:
        """Its language model, frozen. Raises WeightsError, InputError with the cure."""
        config: Any = text_config(self.repo)
        module = checkpoint.made(QwenText, config, self.repo, dtype, renamed=TEXT)
        return QwenLanguage(quantised(module, checkpoint.now().bits), tokenizer_of(self.repo))


def text_config(repo: str) -> Qwen3VLTextConfig:
    """Of the language model of a checkpoint. Raises InputError for one of another family."""
    whole: Any = Qwen3VLConfig(**checkpoint.kind(repo, KINDS, "qwen3vl:REPO"))
    whole.text_config.tie_word_embeddings = whole.tie_word_embeddings
    found: Qwen3VLTextConfig = whole.text_config
    return found


def wide(tokens_BND: Tensor, deep_SBND: Sequence[Tensor], grids: Sequence[tuple[int, int]]) -> Tensor:
    """Visual tokens as `QwenLanguage.hidden` reads them, (B, N, (1 + S) * D + PLACE). grids: rows and columns of each
    photo, whose product is N."""
    device = tokens_BND.device
    places = [
        torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1).reshape(-1, 2)
        for h, w in grids
    ]
    place_BN2 = (torch.stack(places) + 1).to(device, tokens_BND.dtype)
    return torch.cat([tokens_BND, *deep_SBND, place_BN2], -1)
