"""MIRAS: parse, encode, comprehend, align, segment; nothing else.

In: photos, token ids, masks. Out: logits, hidden states, mask predictions. Knows no conversation
(that is `chat`) and no path. Works on the device that its weights lie on: photos, masks and points come in as numpy,
masks go out on the CPU. B photos, L length, D language width, R regions, M candidates.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import DynamicCache

from miras.core.errors import WeightsError
from miras.core.grammar import IMAGE, NOT, REF, SPECIAL_TOKENS, Encoder, TextTokenizer
from miras.core.types import Box, Mask
from miras.model import saved
from miras.model.concepts import Concepts
from miras.model.config import MirasConfig
from miras.model.decoders import registry as decoders
from miras.model.encoders import registry as encoders
from miras.model.instances import InstanceSelector
from miras.model.instruction import GUESSES, Comprehension, InstructionComprehension
from miras.model.language import registry
from miras.model.language.base import Language, refuse
from miras.model.language.precision import fastest_dtype
from miras.model.numeric.chances import verdict
from miras.model.numeric.drawn import drawn
from miras.model.numeric.prediction import MaskPrediction, prompt_points
from miras.model.pointer import Pointer
from miras.model.region_alignment import RegionAlignment
from miras.model.segmentation import MaskDecoder, draw
from miras.model.tagging import Tagger, tags
from miras.model.visual_encoders import ImageFeatures, MaskEncoder
from miras.model.visual_parsing import Views, VisualParsing, as_trained, mask_to_view

MEANING = {REF: " same", NOT: " except"}
"""Words that later special tokens begin as."""


class Miras(nn.Module):
    """The five boxes. `encoded_photos` counts the photos that ever went through the towers.

    language: the configuration's, frozen and with LoRA; None: a new one, in language_dtype. blank: all weights of the
    other boxes are to be filled, they begin anyhow. continuations: what follows what in its replies, with shares; it
    makes guesses ahead good and decides nothing. weights: digest of what it was loaded with (`chat.load`); "" while
    they may change. No `PreTrainedModel`, which takes seconds to import: `model.auto` tells `AutoModel` of it.
    """

    image_encoder: Any
    decoder: Any
    config_class = MirasConfig
    main_input_name = "ids_BL"

    def __init__(
        self, config: MirasConfig, language_dtype: torch.dtype = torch.float32, *, language: Language | None = None,
        blank: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config = config
        if language is None:
            language = registry.source(config.language).load(language_dtype)
            language.add_lora(config.lora_rank, config.lora_alpha)
        self.tokenizer: TextTokenizer = language.tokenizer
        self.parsing = VisualParsing(config.detail_size, config.semantic_size, config.decoder_size)
        self.instruction = InstructionComprehension(config, language, blank)
        if self.instruction.vocab_size < self.tokenizer.vocab_size:
            rows, ids = self.instruction.vocab_size, self.tokenizer.vocab_size
            raise WeightsError(
                f"embeddings of all {ids} ids of the tokenizer", f"{rows}", "use the tokenizer they came with"
            )
        width = self.instruction.width
        self.image_encoder = encoders.build(config, width)
        self.mask_encoder = MaskEncoder(config, width)
        self.alignment = RegionAlignment(config, width)
        hub = (config.mask_decoder, config.width, config.decoder_size, config.dense_prompt)
        self.decoder = decoders.fitting(*hub) if config.mask_decoder else MaskDecoder(config)
        self.concepts: Concepts | None = None
        if config.has_concepts:
            layers = len(config.alignment_layers)
            self.concepts = Concepts(width * layers, layers, self.image_encoder.semantic_head.features)
            if self.image_encoder.semantic_tower.published:
                self.image_encoder.semantic_tower.load_published(self.image_encoder.semantic_head)
        self.tagger: Tagger | None = None
        if config.tags:
            self.learn_tags(config.tags)
        self.pointer = self._new_pointer(blank) if config.points else None
        self.instances = InstanceSelector(torch.zeros(width)) if config.instances else None
        self.encoded_photos = 0
        self.image_dtype = torch.float32
        self.weights = ""
        self.continuations: dict[tuple[int, ...], tuple[tuple[int, float], ...]] = {}
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return self.instruction.special.device

    @property
    def grammar(self) -> Encoder:
        """Writes conversations as this model's ids."""
        config = self.config
        return Encoder(
            self.tokenizer, config.image_tokens, config.mask_tokens, config.points, config.complements,
            self.instruction.vocab_size,
        )  # fmt: skip

    def encode_image(self, photos: Sequence[NDArray[np.uint8]]) -> ImageFeatures:
        """Features of photos (H, W, 3) uint8 RGB, each of its own size; float32, whatever they were computed in."""
        self.encoded_photos += len(photos)
        views, device = self.parsing(photos).to(self.device), self.device.type
        with torch.autocast(device, self.image_dtype, enabled=self.image_dtype is not torch.float32):
            features = self.look(views)
        return features.float32()

    def look(self, views: Views) -> ImageFeatures:
        """Features of photos from their views, in whatever they are computed in."""
        seen: tuple[Tensor, ...] = ()
        if views.decoder_B3SS is not None:
            with torch.no_grad():
                seen = self.decoder.see(as_trained(views.decoder_B3SS, self.decoder.mean, self.decoder.std))
        return replace(self.image_encoder(replace(views, drawn_from=seen)), drawn_from=seen)

    def learn_tags(self, names: Sequence[str]) -> Tagger:
        """A tagger for these names from now on; its weights are to be filled."""
        self.config.tags = list(names)
        self.tagger = Tagger(names, self.image_encoder.pooled_width).to(self.device)
        return self.tagger

    def learn_to_talk(self, points: bool = False, complements: bool = False) -> None:
        """From now on it may point at what was named before (points), and know all but (complements); what it could do
        it can still do. Their tokens begin as the words of `MEANING`, a new pointer as the likeness of words alone."""
        instruction, config = self.instruction, self.config
        new = SPECIAL_TOKENS[len(instruction.special) :] if points or complements else ()
        rows = [instruction.table.weight[self.tokenizer.encode(MEANING[token])].mean(0) for token in new]
        if rows:
            instruction.extend(torch.stack(rows).detach())
        if points and self.pointer is None:
            self.pointer = self._new_pointer()
        config.points, config.complements = config.points or points, config.complements or complements

    def _new_pointer(self, blank: bool = False) -> Pointer:
        table = self.instruction.table.weight.detach()
        usual = table[0].float() if blank else table.float().mean(0)
        return Pointer(self.instruction.width, len(self.config.alignment_layers), usual).to(usual.device)

    def tags(self, features: ImageFeatures, index: int) -> tuple[str, ...]:
        """What photo `index` seems to show, by name, the likeliest first; nothing without a tagger."""
        return tags(features.pooled_BF[index], features.seen.chance_BK[index], self.tagger)

    def encode_fast(self, dtype: torch.dtype | None = None) -> None:
        """From now on photos are encoded channels last, in `dtype` (None: what the model's device is fastest in): on a
        CPU a 768-pixel view takes a third of the time and half the memory
        (docs/decisions/0004-number-formats-on-the-cpu.md)."""
        self.image_dtype = fastest_dtype(self.device) if dtype is None else dtype
        self.image_encoder.to(memory_format=torch.channels_last)

    def embed(self, ids_BL: Tensor, visual_BND: Tensor | None = None, mask_slots_MD: Tensor | None = None) -> Tensor:
        """Embeddings (B, L, D), slots filled in reading order; counts are checked."""
        return self.instruction.embed(ids_BL, visual_BND, mask_slots_MD)

    def misread(self, ids_L: Sequence[int]) -> int | None:
        """Where the states of every region are read when the configuration asks for `paper_bugs`: a position within
        the photo, or the first token where there is none; None: at the region's own words, as they should be.

        The official code reads `[SEG]` at about 440 of a conversation whose photo lies at 36 to 612.
        """
        if not self.config.paper_bugs:
            return None
        image = self.grammar.id(IMAGE)
        return ids_L.index(image) + round((440 - 36) / 576 * self.config.image_tokens) if image in ids_L else 0

    def mask_tokens(self, features: ImageFeatures, index: int, masks_RHW: NDArray[np.bool_]) -> Tensor:
        """(R, K, D) tokens of masks of photo `index`."""
        masks = mask_to_view(masks_RHW, self.config.mask_side).to(features.pixels_BChw.device)
        pixels = features.pixels_BChw[index : index + 1].expand(len(masks_RHW), -1, -1, -1)
        return self.mask_encoder.tokens(pixels, masks)

    def comprehend(
        self,
        embeds_BLD: Tensor,
        cache: DynamicCache | None = None,
        *,
        predicted: int | None = 1,
        parents: Sequence[int] = (),
    ) -> Comprehension:
        """Run the language model over new embeddings; the cache is extended in place.

        predicted: how many of the last positions get logits; None for all. parents: of the last positions,
        when they are a tree of guesses (`InstructionComprehension.forward`).
        """
        last, states = self.instruction(embeds_BLD, cache, parents=parents)
        read = last if predicted is None else last[:, -predicted:]
        return Comprehension(self.instruction.logits(read), states, cache)

    def presence(self, features: ImageFeatures, index: int, span_SE: Tensor) -> float:
        """Logit that photo `index` shows what a span names, seen by the words and pixels alone."""
        photo = torch.tensor([index], device=span_SE.device)
        return float(self.presence_logits(features, photo, span_SE[None]))

    def presence_logits(self, features: ImageFeatures, photo_R: Tensor, span_RSE: Tensor) -> Tensor:
        """Logits (R,) that photo photo_R shows what span r names; spans of one length."""
        words = torch.ones(span_RSE.shape[:2], dtype=torch.bool, device=span_RSE.device)
        prompts, match = self.alignment(span_RSE, words)
        known = self.known(features, photo_R, span_RSE, words)
        return self.alignment.presence(prompts, match, features.pixels_BChw, photo_R, known)

    def heat(self, chosen: ImageFeatures, span_RSE: Tensor, words_RS: Tensor) -> Tensor | None:
        """Logits (R, h, w) of where ImageNet's classifier sees what phrase r names on photo r of `chosen`, zero where
        there are no words; None without a classifier."""
        if self.concepts is None:
            return None
        vector = self.concepts(span_RSE, words_RS)
        logits = self.concepts.logits(vector, chosen.seen.cells_BFhw, chosen.seen.rivals_BN)
        return logits * words_RS.any(1)[:, None, None]

    def known(self, features: ImageFeatures, photo_R: Tensor, span_RSE: Tensor, words_RS: Tensor) -> Tensor | None:
        """What the classifier says of phrase r on photo photo_R (R, FACTS); None without one."""
        if self.concepts is None:
            return None
        seen = features.seen
        return self.concepts.facts(self.concepts(span_RSE, words_RS), seen.cells_BFhw, seen.rivals_BN, photo_R)

    def verdict(self, presence: float, refusal: float) -> float:
        """Probability that a thing is to be selected, not refused.

        presence: its logit. refusal: log odds of `[REJ]` where the reply begins, by the language model.
        """
        return verdict(self.alignment.verdict.tolist(), presence, refusal)

    def draw(self, prompts_RPC: Tensor, chosen: ImageFeatures, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mask logits (R, M, h, w) and IoU logits (R, M) of regions; the rest is as `segmentation.draw` takes it."""
        return draw(self.decoder, self.mask_encoder, prompts_RPC, chosen, *given)

    def segment(
        self,
        features: ImageFeatures,
        index: int,
        span_SE: Tensor | None,
        memory_MD: Tensor | None = None,
        previous: Mask | None = None,
        points: NDArray[np.float32] | None = None,
        box: Box | None = None,
        naming: float = 0.0,
    ) -> MaskPrediction:
        """The mask of one region of photo `index`.

        span_SE: hidden states from `[OBJ]` to `[SEG]`; None: no words, the clicks alone.
        memory_MD: mask tokens of earlier regions. previous: what is selected now (H, W).
        points: (P, 3) x, y in photo pixels, label 1 inside, 0 outside. box: XYXY in photo pixels.
        naming: log probability that its name is the right one; it counts for the score alone. Where nothing is
        pointed at, specks are taken out of the masks.
        """
        device, side = features.pixels_BChw.device, self.config.mask_side
        width = self.instruction.width * len(self.config.alignment_layers)
        span = torch.zeros(1, width, device=device) if span_SE is None else span_SE
        words = torch.full((1, span.shape[0]), span_SE is not None, device=device)
        memory = None if memory_MD is None or not len(memory_MD) else memory_MD[None]
        shown = torch.zeros(1, 1, side, side) if previous is None else mask_to_view(previous[None], side)
        has_mask = torch.tensor([previous is not None and bool(previous.any())], device=device)
        pointed = torch.from_numpy(prompt_points(points, box, features.sizes[index]))[None].to(device)
        logits, iou = self.region(
            features.select(torch.tensor([index], device=device)), span[None], words, memory, shown.to(device),
            has_mask, pointed,
        )  # fmt: skip
        selector = None if span_SE is None else self.instances
        meant = None if selector is None else partial(selector.meant, span_SE=span)
        return drawn(
            logits[0].float().cpu().numpy(), iou[0].float().cpu().numpy(), self.config.score_calibration, naming,
            points, box, meant,
        )  # fmt: skip

    def region(
        self, chosen: ImageFeatures, span_RSE: Tensor, words_RS: Tensor, memory_RMD: Tensor | None,
        shown_R1ss: Tensor, has_mask_R: Tensor, points_RQ3: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Mask logits (R, M, s, s) and IoU logits (R, M) of region r on photo r of `chosen`. shown: what is selected
        now, by the share of each cell, where has_mask says so."""
        present = None if memory_RMD is None else torch.ones_like(memory_RMD[..., 0], dtype=torch.bool)
        prompts, match = self.alignment(span_RSE, words_RS, memory_RMD, present)
        prior = self.alignment.prior(match, chosen.pixels_BChw, words_RS.any(1))
        heat = self.heat(chosen, span_RSE, words_RS)
        return self.draw(prompts, chosen, shown_R1ss, has_mask_R, prior, points_RQ3, heat)

    def own_state_dict(self) -> dict[str, Tensor]:
        """Everything but published weights that stay as they are: ImageNet's semantic tower with its classifier, and
        the language model; its own too when they were tuned (a head that is the embeddings once more is left out)."""
        head = getattr(self.instruction.language_model, "lm_head", None)
        is_twin = head is not None and head.weight is self.instruction.table.weight
        return saved.own_weights(self.state_dict(), self.still, self.config.language_tuned, is_twin)

    @property
    def still(self) -> tuple[str, ...]:
        """How the names of weights begin that are neither trained nor saved, the language model apart."""
        return saved.still_parts(self.config, self.image_encoder)

    def saved_state(self) -> dict[str, Tensor]:
        """What `save_pretrained` writes: `own_state_dict` in half precision."""
        return {name: saved.half(name, value) for name, value in self.own_state_dict().items()}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write `config.json` and `model.safetensors` (half precision, without the language model)."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.config.architectures = [type(self).__name__]
        self.config.save_pretrained(folder)
        saved.write_continuations(folder, self.continuations)
        staging = folder / (saved.WEIGHTS + ".part")
        save_file(self.saved_state(), staging, metadata={"format": "pt", "version": str(self.config.weights_version)})
        staging.replace(folder / saved.WEIGHTS)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Self:
        """A model from a folder of `save_pretrained`, or OWNER/NAME of the hub. Raises WeightsError with a cure.

        language_dtype: keyword; of the language model's published weights (default float32). answers: keyword; it is to
        answer alone, as after `answer_fast` in that precision: it is loaded the shortest way.
        """
        folder = saved.located(pretrained_model_name_or_path, kwargs.get("revision"))
        config = kwargs.get("config") or saved.read_config(folder)
        try:
            state = load_file(folder / saved.WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise WeightsError(
                f"weights in {folder / saved.WEIGHTS}", str(error), "train or copy them there"
            ) from error
        dtype, language = kwargs.get("language_dtype", torch.float32), None
        if kwargs.get("answers", False):
            language = saved.answering(config, state, config.max_tokens + GUESSES, dtype)
            state = {name: value for name, value in state.items() if not name.startswith(saved.LANGUAGE_PREFIX)}
        model = cls(config, dtype, language=language, blank=True)
        own = model.own_state_dict()
        if language is not None:
            own = {name: value for name, value in own.items() if not name.startswith(saved.LANGUAGE_PREFIX)}
        refuse(saved.unlike(own, state))
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=False)
        model.continuations = saved.read_continuations(folder)
        return model.eval()
