"""Semantic Region Alignment: the words of a region become the decoder's prompt.

In: the language model's hidden states over `[OBJ] ... [SEG]` and the tokens of earlier masks. Out:
prompt embeddings (R, P, C), and the two sides of the alignment loss. Source: paper, "semantic region
alignment"; trained here (the official code makes a new random layer at every call).
R regions, S span tokens, E = layers * D, M memory tokens, P prompts, A alignment width, C decoder width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miras.model.concepts import FACTS
from miras.model.config import MirasConfig
from miras.model.language.base import PLACE
from miras.model.layers import Attention, Mlp

MATCH = 128
"""Width of the space in which phrases and mask-pooled features meet."""
PRESENCE_TOP = 16
"""Pixels whose fit with the words counts as evidence that the thing is there."""
PRESENCE_DROP = 0.3
"""Dropout of the presence head in training: without it, it knows the training photos
(docs/decisions/0007-look-before-refusing.md)."""


class AlignmentBlock(nn.Module):
    """Cross-attention over the evidence, then self-attention among the queries, then MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_cross, self.norm_self, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.cross, self.own = Attention(width, heads), Attention(width, heads)
        self.mlp = Mlp(width, 2 * width, width)

    def forward(self, query_RPA: Tensor, evidence_RSA: Tensor, mask_RS: Tensor) -> Tensor:
        """Same shape as the queries."""
        query_RPA = query_RPA + self.cross(self.norm_cross(query_RPA), evidence_RSA, evidence_RSA, mask_RS)
        y = self.norm_self(query_RPA)
        query_RPA = query_RPA + self.own(y, y, y)
        return query_RPA + self.mlp(self.norm_mlp(query_RPA))


class RegionAlignment(nn.Module):
    """`[SEG]` attends over its span and over the mask memory.

    verdict: bias, weight of presence, weight of the language model's own refusal (`train.calibrate.refusal`).
    """

    verdict: Tensor

    def __init__(self, config: MirasConfig, language_width: int) -> None:
        super().__init__()
        width, layers = config.alignment_width, len(config.alignment_layers)
        self.config, self.language_width = config, language_width
        self.layer_norms = nn.ModuleList(nn.LayerNorm(language_width) for _ in range(layers))
        self.layer_weight = nn.Parameter(torch.zeros(layers))
        self.words_in = nn.Linear(language_width, width)
        self.memory_in = nn.Linear(language_width, width)
        self.kind = nn.Parameter(torch.randn(3, width) * 0.02)
        self.no_words = nn.Parameter(torch.randn(width) * 0.02)
        self.queries = nn.Parameter(torch.randn(config.prompts + config.dense_prompt, width) * 0.02)
        self.blocks = nn.ModuleList(AlignmentBlock(width, config.heads) for _ in range(config.alignment_blocks))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.width)
        if config.dense_prompt:  # from zero: training starts as if there were none
            self.dense_out = nn.Linear(width, config.width)
            nn.init.zeros_(self.dense_out.weight)
            nn.init.zeros_(self.dense_out.bias)
        self.match_words = nn.Linear(width, MATCH)
        self.match_pixels = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, MATCH))
        self.match_scale = nn.Parameter(torch.tensor(2.3))
        self.prior_scale = nn.Parameter(torch.tensor(2.3))
        self.prior_bias = nn.Parameter(torch.tensor(-2.5))
        self.patch_words = nn.Linear(language_width, language_width)
        self.patch_scale = nn.Parameter(torch.tensor(2.0))
        self.patch_bias = nn.Parameter(torch.tensor(-2.0))
        self.presence_in = nn.Linear(3 * config.width + 3 + FACTS * config.has_concepts, config.width)
        self.presence_out = nn.Linear(config.width, 1)
        self.register_buffer("verdict", torch.tensor([0.0, 1.0, 0.0]))
        if not config.use_alignment:
            self.single = Mlp(language_width, width, width)

    def mix(self, span_RSE: Tensor) -> Tensor:
        """Learned mixture of the hidden layers, (R, S, D)."""
        layers = span_RSE.unflatten(-1, (-1, self.language_width)).unbind(-2)
        weight = self.layer_weight.softmax(0)
        normed = [norm(layer) * weight[i] for i, (norm, layer) in enumerate(zip(self.layer_norms, layers, strict=True))]
        return torch.stack(normed).sum(0)

    def forward(
        self, span_RSE: Tensor, words_RS: Tensor, memory_RMD: Tensor | None = None, memory_RM: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Prompt embeddings (R, P, C) and the match embedding of the words (R, MATCH), unit length.

        span: right-padded, its last real token is `[SEG]`. words_RS: True at real tokens; a row
        without any is "no words" (a click alone). memory_RM: True at real memory tokens.
        """
        mixed = self.mix(span_RSE)
        rows = torch.arange(mixed.shape[0], device=mixed.device)
        last = words_RS.sum(1).sub(1).clamp_min(0)
        has_words = words_RS.any(1)
        if not self.config.use_alignment:
            seg = self.single(mixed[rows, last])
            seg = torch.where(has_words[:, None], seg, self.no_words.to(seg.dtype))
            prompts = self.norm(seg[:, None] + self.queries)
            return self._prompts(prompts), F.normalize(self.match_words(prompts.mean(1)).float(), dim=-1)
        words = self.words_in(mixed) + self.kind[0]
        seg = words[rows, last]
        seg = torch.where(has_words[:, None], seg, self.no_words.to(seg.dtype))
        anchor = (self.no_words + self.kind[2]).to(words.dtype).expand(mixed.shape[0], 1, -1)
        evidence, mask = [anchor, words], [torch.ones_like(words_RS[:, :1]), words_RS]
        if memory_RMD is not None and memory_RM is not None and memory_RMD.shape[1]:
            evidence.append(self.memory_in(memory_RMD.to(words.dtype)) + self.kind[1])
            mask.append(memory_RM)
        source, keep = torch.cat(evidence, 1), torch.cat(mask, 1)
        query = seg[:, None] + self.queries
        for block in self._fresh(query) if self.config.paper_bugs else self.blocks:
            query = block(query, source, keep)
        query = self.norm(query)
        return self._prompts(query), F.normalize(self.match_words(query.mean(1)).float(), dim=-1)

    def _prompts(self, query_RPA: Tensor) -> Tensor:
        """(R, P, C); with `dense_prompt` one more, the last, for the whole photo."""
        if not self.config.dense_prompt:
            return self.out(query_RPA)
        return torch.cat([self.out(query_RPA[:, :-1]), self.dense_out(query_RPA[:, -1:])], 1)

    def _fresh(self, query_RPA: Tensor) -> list[AlignmentBlock]:
        """Random blocks, for `paper_bugs`."""
        blocks = [AlignmentBlock(query_RPA.shape[-1], self.config.heads) for _ in self.blocks]
        return [block.to(query_RPA.device, query_RPA.dtype) for block in blocks]

    def match(self, features: Tensor) -> Tensor:
        """The pixels' side of the alignment loss, (..., C) -> (..., MATCH), unit length."""
        return F.normalize(self.match_pixels(features).float(), dim=-1)

    def prior(self, match_words_RE: Tensor, pixels_RChw: Tensor, words_R: Tensor) -> Tensor:
        """Logits (R, h, w) of where the words match the pixels, a spatial prior for the decoder.

        Zero where there are no words (words_R False). The idea is AnchorSeg's.
        """
        pixels = self.match(pixels_RChw.movedim(1, -1))
        cosine = torch.einsum("rhwe,re->rhw", pixels, match_words_RE)
        logits = self.prior_scale.exp() * cosine + self.prior_bias
        return logits * words_R[:, None, None]

    def presence(
        self,
        prompts_RPC: Tensor,
        match_words_RE: Tensor,
        pixels_BChw: Tensor,
        photo_R: Tensor,
        known_RK: Tensor | None = None,
    ) -> Tensor:
        """Logits (R,) that photo photo_R shows what the words name at all.

        The words look at the pixels that fit them best; what they find is compared with them. Prompts
        and match embedding are those of the words alone, without memory. known_RK: what ImageNet's classifier says
        (`Concepts.facts`), where there is one. The question is GRES's (Liu et al. 2023, "no target").
        """
        rows = torch.arange(len(photo_R), device=photo_R.device)
        pixels = self.match(pixels_BChw.movedim(1, -1)).flatten(1, 2)
        cosine = torch.einsum("ble,re->brl", pixels, match_words_RE)[photo_R, rows]
        weight = (self.prior_scale.exp() * cosine).softmax(-1).to(pixels_BChw.dtype)
        found = torch.einsum("bcl,rl->brc", pixels_BChw.flatten(2), weight)[photo_R, rows]
        asked = prompts_RPC.mean(1).to(found.dtype)
        best = cosine.topk(min(PRESENCE_TOP, cosine.shape[1]), -1).values
        facts = torch.stack([best[:, 0], best.mean(1), cosine.mean(1)], 1).to(found.dtype)
        if known_RK is not None:
            facts = torch.cat([facts, known_RK.to(found.dtype)], 1)
        facts = F.dropout(torch.cat([asked, found, asked * found, facts], 1), PRESENCE_DROP, self.training)
        hidden = F.dropout(F.gelu(self.presence_in(facts)), PRESENCE_DROP, self.training)
        return self.presence_out(hidden).float()[:, 0]

    def match_patches(self, visual_BND: Tensor, span_RSE: Tensor, words_RS: Tensor) -> Tensor:
        """Logits (B, R, N) that visual token n of photo b shows what phrase r names.

        Stage 1 trains the visual tokens with it, so that the language model can read them. Tokens in another grid than
        a square one are told by the square's cells: each has the nearest token's logit.
        """
        weight = words_RS[..., None].float()
        words = (self.mix(span_RSE).float() * weight).sum(1) / weight.sum(1).clamp_min(1.0)
        words_RD = F.normalize(self.patch_words(words), dim=-1)
        plain_BND = visual_BND[..., : self.language_width].float()
        logits = self.patch_scale.exp() * torch.einsum("bnd,rd->brn", F.normalize(plain_BND, dim=-1), words_RD)
        if visual_BND.shape[-1] > self.language_width:
            logits = as_square(logits, visual_BND[..., -PLACE:])
        return logits + self.patch_bias


def as_square(logits_BRN: Tensor, place_BN2: Tensor) -> Tensor:
    """What is said of the tokens of photos in grids of any shape, by the cells of a square one. place: `PLACE`."""
    side = round(logits_BRN.shape[-1] ** 0.5)
    height_B, width_B = place_BN2.round().long().amax(1).unbind(-1)
    middle = (torch.arange(side, device=logits_BRN.device) + 0.5) / side
    rows_BS, columns_BS = ((middle * count_B[:, None]).long() for count_B in (height_B, width_B))
    at_BN = (rows_BS[:, :, None] * width_B[:, None, None] + columns_BS[:, None]).flatten(1)
    return logits_BRN.gather(2, at_BN[:, None].expand(-1, logits_BRN.shape[1], -1))
