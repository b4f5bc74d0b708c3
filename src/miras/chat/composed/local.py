"""A vision-language model on this machine, through `transformers`, as a talker.

In: a folder or a name on the hub of whatever `AutoModelForImageTextToText` loads; questions with pictures. Out:
answers, one at a time. The model's own chat template writes the conversation, its processor sees the pictures; where
the processor wants a video processor that this machine lacks, it is made without one. Answers are held to their schema
(`held`) where llguidance is installed; else by the prompt alone, and what does not fit is sent back once by whoever
asks. Knows no session.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import LogitsProcessorList

from miras.chat.composed.asking import Question
from miras.chat.composed.held import Holder
from miras.core.errors import InputError, WeightsError
from miras.core.llm.answers import Answer, Estimate, NoAnswer, Usage
from miras.core.llm.completions import schema_in_words


class Local:
    """A model of the hub, loaded. repo: as it was asked for. Raises InputError, WeightsError."""

    def __init__(self, repo: str, device: torch.device, dtype: torch.dtype | None) -> None:
        self.name = f"hf:{repo}"
        self._lock = threading.Lock()
        self._model, self._processor = _loaded(repo, dtype)
        self._model.eval().requires_grad_(False)
        self._holder = _holder(self._model, self._tokenizer)
        try:
            self._model.to(device)
        except torch.cuda.OutOfMemoryError as error:
            raise _too_large(self._model, "its weights") from error

    async def answer(self, question: Question, /) -> Answer:
        """Greedy decoding. Raises NoAnswer when the memory does not suffice."""
        return await asyncio.to_thread(self._answer, question)

    def estimate(self, questions: Sequence[Question], /) -> Estimate:
        """Nothing is paid."""
        return Estimate(len(questions), 0, 0, 0.0)

    def stop(self) -> None:
        """Nothing waits."""

    async def close(self) -> None:
        """Nothing is open."""

    @torch.inference_mode()
    def _answer(self, question: Question) -> Answer:
        with self._lock:
            inputs = self._inputs(question).to(self._model.device)
            for name, value in inputs.items():
                if torch.is_tensor(value) and value.is_floating_point():
                    inputs[name] = value.to(self._model.dtype)
            read = int(inputs["input_ids"].shape[1])
            held = None if self._holder is None else self._holder.hold(question.schema)
            processors = LogitsProcessorList([] if held is None else [held])
            try:
                ids = self._model.generate(
                    **inputs, max_new_tokens=question.most, do_sample=False, logits_processor=processors
                )[0, read:].tolist()
            except torch.cuda.OutOfMemoryError as error:
                raise _too_large(self._model, f"an answer after {read} tokens", NoAnswer) from error
            whole = ids if held is None else [*ids, *held.ending(ids)]
            text = self._tokenizer.decode(whole, skip_special_tokens=True).strip()
        finish = "length" if len(ids) >= question.most else "stop"
        return Answer(text, Usage(read, len(ids)), finish=finish)

    @property
    def _tokenizer(self) -> Any:
        return getattr(self._processor, "tokenizer", self._processor)

    def _inputs(self, question: Question) -> Any:
        """Ids and pixels of a conversation."""
        told, pictures = _told(question)
        template = getattr(self._processor, "chat_template", None) or self._tokenizer.chat_template
        if template is None:
            raise InputError(f"a chat template in {self.name}", "none", "use an instruct model")
        text = self._tokenizer.apply_chat_template(
            told, chat_template=template, add_generation_prompt=True, tokenize=False
        )  # fmt: skip
        return self._processor(text=[text], images=pictures or None, return_tensors="pt")


def _holder(model: Any, tokenizer: Any) -> Holder | None:
    """What holds its answers to a schema; None without llguidance, or for a tokenizer that it cannot read."""
    ends = model.generation_config.eos_token_id
    ends = [tokenizer.eos_token_id] if ends is None else ends
    rows = model.get_output_embeddings().weight.shape[0]
    try:
        return Holder(tokenizer, rows, [ends] if isinstance(ends, int) else list(ends))
    except (ImportError, ValueError):
        return None


def _told(question: Question) -> tuple[list[dict[str, Any]], list[Image.Image]]:
    """The messages as chat templates want them, and their pictures in order."""
    schema = str(schema_in_words(question.schema)["content"])
    told: list[dict[str, Any]] = []
    pictures: list[Image.Image] = []
    for message in question.messages:
        content: list[dict[str, str]] = [{"type": "image"} for _ in message.pictures]
        text = f"{message.text}\n\n{schema}" if message.role == "system" else message.text
        told.append({"role": message.role, "content": [*content, {"type": "text", "text": text}]})
        pictures += [_opened(url) for url in message.pictures]
    return told, pictures


def _opened(url: str) -> Image.Image:
    data = base64.b64decode(url.partition(",")[2])
    return Image.open(io.BytesIO(data)).convert("RGB")


def _loaded(repo: str, dtype: torch.dtype | None) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText

    where: str | Path = Path(repo) if Path(repo).is_dir() else repo
    if not Path(repo).is_dir() and (repo.startswith((".", "/", "~")) or repo.count("/") != 1):
        raise InputError("a folder that is there, or a name on the hub (OWNER/NAME)", f"hf:{repo}")
    try:
        options: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
        model = AutoModelForImageTextToText.from_pretrained(where, **options)
        return model, _processor(where)
    except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
        told = " ".join(str(error).split())[:200]
        cure = "check the name, the network, and that it is a model that sees pictures and answers in text"
        raise WeightsError(f"a vision-language model at {repo}", told or type(error).__name__, cure) from error


def _processor(where: str | Path) -> Any:
    """The model's processor; without its video processor where that cannot be made here."""
    from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
    from transformers.models.auto import processing_auto
    from transformers.processing_utils import ProcessorMixin

    try:
        found = AutoProcessor.from_pretrained(where)
        if isinstance(found, ProcessorMixin):
            return found
    except (OSError, ValueError, ImportError, AttributeError, TypeError):
        pass
    import transformers

    kind = AutoConfig.from_pretrained(where).model_type
    known: Any = getattr(processing_auto, "PROCESSOR_MAPPING_NAMES", {}).get(kind)
    if known is None:
        raise ValueError(f"no processor for models of type {kind}")
    whole = getattr(transformers, known if isinstance(known, str) else known[0])

    class NoVideo(whole):  # type: ignore[misc, valid-type]
        """The processor but for videos, which nobody sends."""

        def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
            """A video processor may be absent."""
            if name == "video_processor":
                return type(None)
            return super().check_argument_for_proper_class(name, argument)

    NoVideo.__name__ = whole.__name__
    home = sys.modules[whole.__module__]
    if getattr(home, "num2words", str) is None:  # SmolVLM writes numbers out for videos alone
        home.num2words = str  # type: ignore[attr-defined]
    parts = {
        "image_processor": AutoImageProcessor.from_pretrained(where),
        "tokenizer": AutoTokenizer.from_pretrained(where), "video_processor": None,
    }  # fmt: skip
    told, _ = whole.get_processor_dict(str(where))
    takes = inspect.signature(whole.__init__).parameters
    options = {name: value for name, value in told.items() if name in takes and name not in parts}
    return NoVideo(**parts, **options)


def _too_large(model: Any, what: str, kind: type[Any] = WeightsError) -> Any:
    gigabytes = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**30
    return kind(
        f"memory for the talker ({gigabytes:.1f} GiB of weights) and {what}", "too little on this device",
        "take a smaller talker, --dtype bfloat16, or a server (openai:MODEL@URL)",
    )  # fmt: skip
