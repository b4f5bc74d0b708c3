"""The model's configuration: every fact once, unknown keys refused, all faults reported at once.

In: keyword values or a saved `config.json`. Out: `MirasConfig`. Knows no weights.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from miras.core.errors import InputError
from miras.core.grammar import TEMPLATES
from miras.model.decoders.registry import DECODERS
from miras.model.language.registry import LANGUAGES
from miras.model.towers.registry import TOWERS

FUSIONS = ("pyramid", "patches", "tokens")


class MirasConfig(PreTrainedConfig):
    """Sizes and switches of the five boxes.

    detail_size, semantic_size: side of the square views in pixels, the first a multiple of 32, the second of
    semantic_stride, pixels of the semantic view to a visual token; detail_size / 16 a multiple of the visual tokens of
    a row (each semantic patch owns a window). mask_decoder: "" for our own, which reads the towers; else one of the hub
    that looks at the photo itself, at decoder_size ("sam:REPO"). fusion: "pyramid", small and trained from nothing;
    "patches": each patch of the semantic tower attends over its window of all maps of the detail tower, at the tower's
    own width, and a projector brings it to the language model (`model.encoders`); "tokens": the visual tokens are the
    semantic tower's own, of one checkpoint with the language model, and the mask decoder's view is the detail.
    dense_prompt: the decoder gets one vector more from the words, which is added to every cell of the photo.
    width: decoder width C. prompts: P prompt embeddings per region. candidates: masks per region.
    mask_tokens: K slots after each `[SEG]`. alignment_layers: hidden states (0 = embeddings) that
    the alignment reads. language_tuned: the language model's own weights were trained too and are saved with the
    rest. score_calibration: slope and shift of the predicted IoU's logit, and the weight of the log chance of
    the name, fitted on photos that were not trained on. reads: the lines of text that are read in the photo stand
    in the opening of every conversation; for a language model that was trained with them. tags: the names that the
    tagger knows; those that a photo seems to show stand there too. points: what was named before and is meant again is
    pointed at (`[REF]`, `model.pointer`), not drawn anew; complements: `[NOT]`, all but. instances: one of several is
    told apart by the pieces of its mask (`model.instances`). least_score: a region without pixels, or whose score is
    less, is no answer; None: whatever is drawn is one. unsure_below: a reply says that it is
    unsure where a score is less; 0: it never does. The four `use_*` switches are the paper's ablations.
    semantic_head: the semantic tower is ImageNet's own, with its classifier: it is
    neither trained nor saved, words are mapped into its space, and what it sees is a prior of the masks and evidence of
    presence (`model.concepts`). zero_fusion: what the semantic tower adds to the detail tower's maps goes
    through layers that start at zero, so that training starts as if that tower were not there. `paper_bugs` does
    two things as the official code does: `[SEG]` is read 320 tokens too early, so at a visual token, which no word of
    the conversation has reached (`MGMSA_stage2.py:368` pads for 256 visual tokens where there are 576), and the
    alignment is a new random layer at every call (`MGMSA_v1.py:61`); replies are then not the same twice.
    """

    model_type = "miras"

    def __init__(
        self,
        language: str = "smollm2-135m-instruct",
        template: str = "chatml",
        semantic_tower: str = "efficientnet-lite0",
        detail_tower: str = "efficientnet-lite2",
        semantic_size: int = 256,
        detail_size: int = 512,
        semantic_stride: int = 32,
        fusion: str = "pyramid",
        mask_decoder: str = "",
        decoder_size: int = 0,
        width: int = 192,
        heads: int = 8,
        context_layers: int = 2,
        alignment_width: int = 256,
        alignment_blocks: int = 2,
        alignment_layers: tuple[int, ...] = (0, 10, 20, 30),
        decoder_layers: int = 3,
        prompts: int = 4,
        dense_prompt: bool = False,
        candidates: int = 3,
        mask_tokens: int = 2,
        lora_rank: int = 8,
        lora_alpha: int = 16,
        max_tokens: int = 2048,
        language_tuned: bool = False,
        reads: bool = False,
        tags: Sequence[str] = (),
        score_calibration: Sequence[float] = (1.0, 0.0, 0.0),
        points: bool = False,
        complements: bool = False,
        instances: bool = False,
        least_score: float | None = None,
        unsure_below: float = 0.0,
        use_semantic_tower: bool = True,
        use_detail_tower: bool = True,
        use_mask_encoder: bool = True,
        use_alignment: bool = True,
        semantic_head: bool = False,
        zero_fusion: bool = False,
        paper_bugs: bool = False,
        weights_version: int = 1,
        **kwargs: Any,
    ) -> None:
        self.language = language
        self.template = template
        self.semantic_tower = semantic_tower
        self.detail_tower = detail_tower
        self.semantic_size = semantic_size
        self.detail_size = detail_size
        self.semantic_stride = semantic_stride
        self.fusion = fusion
        self.mask_decoder = mask_decoder
        self.decoder_size = decoder_size
        self.width = width
        self.heads = heads
        self.context_layers = context_layers
        self.alignment_width = alignment_width
        self.alignment_blocks = alignment_blocks
        self.alignment_layers = list(alignment_layers)
        self.decoder_layers = decoder_layers
        self.prompts = prompts
        self.dense_prompt = dense_prompt
        self.candidates = candidates
        self.mask_tokens = mask_tokens
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.max_tokens = max_tokens
        self.language_tuned = language_tuned
        self.reads = reads
        self.tags = list(tags)
        self.score_calibration = [*score_calibration, 0.0][:3]
        self.points = points
        self.complements = complements
        self.instances = instances
        self.least_score = least_score
        self.unsure_below = unsure_below
        self.use_semantic_tower = use_semantic_tower
        self.use_detail_tower = use_detail_tower
        self.use_mask_encoder = use_mask_encoder
        self.use_alignment = use_alignment
        self.semantic_head = semantic_head
        self.zero_fusion = zero_fusion
        self.paper_bugs = paper_bugs
        self.weights_version = weights_version
        self._refuse_unknown(kwargs)
        super().__init__(**kwargs)
        faults = self.faults()
        if faults:
            raise InputError("a valid model configuration", "; ".join(faults), "mend these keys")

    @property
    def image_tokens(self) -> int:
        """N, the number of visual tokens: one per semantic patch."""
        return self.grid**2

    @property
    def grid(self) -> int:
        """Visual tokens of a row."""
        return self.semantic_size // self.semantic_stride

    @property
    def mask_side(self) -> int:
        """Side of the grid that masks are drawn on."""
        return (self.decoder_size or self.detail_size) // 4

    @property
    def has_concepts(self) -> bool:
        """Whether words are mapped into the space of ImageNet's classifier."""
        return self.semantic_head and self.use_semantic_tower

    def faults(self) -> list[str]:
        """Everything wrong with the values, in words."""
        faults = []
        for name, known in (("semantic_tower", TOWERS), ("detail_tower", TOWERS), ("language", LANGUAGES)):
            is_seen = name == "detail_tower" and self.fusion == "tokens"  # by the mask decoder's own encoder
            if not is_seen and getattr(self, name).partition(":")[0] not in known:
                faults.append(f"{name}={getattr(self, name)!r} is none of {', '.join(known)}")
        if self.template not in TEMPLATES:
            faults.append(f"template={self.template!r} is none of {', '.join(TEMPLATES)}")
        if self.fusion == "tokens":
            faults += self._token_faults()
        elif self.semantic_size % self.semantic_stride or self.detail_size % 32:
            faults.append(f"semantic_size must be a multiple of {self.semantic_stride}, detail_size a multiple of 32")
        elif (self.detail_size // 16) % self.grid:
            faults.append(f"detail_size / 16 must be a multiple of semantic_size / {self.semantic_stride}")
        if self.fusion not in FUSIONS:
            faults.append(f"fusion={self.fusion!r} is none of {', '.join(FUSIONS)}")
        if self.mask_decoder and self.mask_decoder.partition(":")[0] not in DECODERS:
            faults.append(f"mask_decoder={self.mask_decoder!r} is none of {', '.join(DECODERS)}")
        if bool(self.mask_decoder) != bool(self.decoder_size):
            faults.append("mask_decoder and decoder_size go together")
        if self.dense_prompt and not self.mask_decoder:
            faults.append("dense_prompt is for a mask_decoder of the hub")
        if self.width % self.heads or self.alignment_width % self.heads:
            faults.append("width and alignment_width must be multiples of heads")
        if not (self.use_semantic_tower or self.use_detail_tower):
            faults.append("at least one of use_semantic_tower, use_detail_tower must be true")
        for name in ("mask_tokens", "prompts", "candidates", "decoder_layers"):
            if getattr(self, name) < 1:
                faults.append(f"{name} must be at least 1")
        return faults

    def _token_faults(self) -> list[str]:
        """Of a model whose visual tokens are the tower's own."""
        faults = []
        if self.semantic_size % self.semantic_stride:
            faults.append(f"semantic_size must be a multiple of {self.semantic_stride}")
        kinds = {self.language.partition(":")[0], self.semantic_tower.partition(":")[0]}
        if kinds != {"qwen3vl"} or not self.mask_decoder or not self.use_semantic_tower or self.semantic_head:
            faults.append(
                "fusion='tokens' needs language and semantic_tower of qwen3vl:REPO and a mask_decoder, without "
                "semantic_head"
            )
        if self.paper_bugs:
            faults.append(
                "paper_bugs is the released code's, whose offset comes of LLaVA's 576 visual tokens: fusion='tokens' "
                "has no such count (miras-7b has)"
            )
        return faults

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        own = set(inspect.signature(MirasConfig.__init__).parameters) - {"self", "kwargs"}
        known = set(inspect.signature(PreTrainedConfig.__init__).parameters) | {
            "model_type", "transformers_version", "torch_dtype", "dtype", "architectures", "auto_map",
            "_name_or_path", "attn_implementation", "_attn_implementation_internal", "name_or_path",
            "_commit_hash", "output_hidden_states", "return_dict",
        }  # fmt: skip
        unknown = sorted(set(kwargs) - known)
        if unknown:
            named = [
                f"{key} (near: {', '.join(difflib.get_close_matches(key, own, 1)) or 'nothing'})" for key in unknown
            ]
            raise InputError("known configuration keys", ", ".join(named), "see MirasConfig for all keys")
