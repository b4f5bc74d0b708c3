"""A model on another device: nothing of a conversation is left on the CPU, and it says what it says here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miras.chat.load import load
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.grammar import ADD, CUT, NOT, OBJ, REF, SEG, SPECIAL_TOKENS
from miras.model import presets
from miras.model.config import MirasConfig
from miras.model.language import llama
from miras.model.loading import place
from miras.model.loading.place import device_of, dtype_of
from miras.model.miras import Miras
from miras.model.visual_parsing import Views
from tests.elsewhere import MIXED, elsewhere

TINY = presets.configuration("miras-tiny").to_diff_dict()
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all it can do": {"points": True, "complements": True, "tags": ["cup", "pan"], "semantic_head": True},
    "no alignment": {"use_alignment": False},
    "no detail tower": {"use_detail_tower": False},
    "no mask encoder": {"use_mask_encoder": False},
    "gated fusion": {"zero_fusion": True},
}


def talk(model: Miras, photo: NDArray[np.uint8], **options: Any) -> list[dict[str, Any]]:
    """A conversation that does everything a session can do. Returns its events, without how long they took."""

    def ids(*pieces: str) -> tuple[int, ...]:
        rows = [[model.grammar.id(p)] if p in SPECIAL_TOKENS else model.tokenizer.encode(p) for p in pieces]
        return tuple(token for row in rows for token in row)

    session = ChatSession(model, photo, max_new_tokens=24, **options)
    session.ask("Where is the cup?", forced=ids("The ", OBJ, " cup", SEG, " and ", OBJ, " pan", SEG))
    session.ask("What else?")
    session.ask("Also this", forced=ids(ADD, OBJ, " lid", SEG))
    session.refine(points=[(10, 12, 1), (50, 40, 0)])
    session.refine(box=(4, 4, 40, 30), region=1)
    session.refine(mask=session.regions[0].mask, region=2)
    session.undo()
    if model.config.points:
        session.ask("The cup again, and no pan", forced=ids(OBJ, " cup", REF, CUT, OBJ, " pan", REF))
        session.ask("All but the lid", forced=ids(NOT, OBJ, " lid", REF))
    twin = session.fork()
    twin.ask("And the rest?")
    restored = ChatSession.from_json(model, twin.to_json(), photo)
    restored.ask("Once more")
    pointing = ChatSession(model, photo, max_new_tokens=24)
    pointing.refine(points=[(20, 20, 1)])
    events = [event for one in (session, restored, pointing) for event in json.loads(one.to_json())["events"]]
    return [{key: value for key, value in event.items() if key != "seconds"} for event in events]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Miras]:
    """A random model on a device that need not be there: fast as `load` makes it, or as it is while it is trained."""
    monkeypatch.setattr(place, "device_of", torch.device)

    def build(device: str, changes: dict[str, Any], fast: bool = True) -> Miras:
        monkeypatch.setattr(presets, "configuration", lambda name: MirasConfig(**{**TINY, **changes}))
        if fast:
            return load("miras-tiny", device=device, dtype="float32").model
        return presets.build("miras-tiny").to(torch.device(device))  # type: ignore[arg-type]

    return build


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("fast", [True, False], ids=["loaded", "in training"])
def test_nothing_stays_on_the_cpu(
    tiny: Callable[..., Miras], photo: NDArray[np.uint8], changes: dict[str, Any], fast: bool
) -> None:
    wanted = talk(tiny("cpu", changes, fast), photo)
    with elsewhere() as there:
        model = tiny("cuda", changes, fast)
        assert model.device.type == "cuda"
        assert talk(model, photo) == wanted
    assert there.met > 1000


@pytest.mark.parametrize("options", [{"temperature": 0.8, "seed": 3}, {"recompute": "turn"}, {"recompute": "token"}])
def test_options(tiny: Callable[..., Miras], photo: NDArray[np.uint8], options: dict[str, Any]) -> None:
    wanted = talk(tiny("cpu", {}), photo, **options)
    with elsewhere():
        assert talk(tiny("cuda", {}), photo, **options) == wanted


def test_a_model_that_answers_fast_can_be_moved(tiny: Callable[..., Miras], photo: NDArray[np.uint8]) -> None:
    wanted = talk(tiny("cpu", {}), photo)
    with elsewhere():
        model = tiny("cpu", {}).to(torch.device("cuda"))  # type: ignore[arg-type]
        assert talk(model, photo) == wanted
        assert talk(model.to(torch.device("cpu")), photo) == wanted
    model = tiny("cpu", {})
    decoder, before = model.instruction.language_model.decoder, {*model.state_dict()}
    assert isinstance(decoder, llama.LlamaDecoder)
    decoder.to(torch.float64)  # its precision is its own
    assert {decoder.norm_D.dtype, decoder.cos_Ld.dtype, decoder.layers[0].qkv.dtype} == {torch.float32}
    assert not any("decoder.layers" in name and name.startswith("instruction") for name in before)


def left_on_cpu(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Take one thing's way to the device away."""
    if what == "views":
        monkeypatch.setattr(Views, "to", lambda self, device: self)
    elif what == "keys and values":
        monkeypatch.setattr(llama.LlamaDecoder, "_apply", lambda self, fn, recurse=True: self)
    else:
        monkeypatch.setattr(torch.nn.Embedding, "_apply", lambda self, fn, recurse=True: self)


@pytest.mark.parametrize("what", ["views", "keys and values", "embeddings"])
def test_one_tensor_left_behind_is_found(
    tiny: Callable[..., Miras], photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with elsewhere():
        model = tiny("cpu", {})
        left_on_cpu(monkeypatch, what)
        model.to(torch.device("cuda"))  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match=MIXED.split(",")[0]):
            talk(model, photo)


@pytest.mark.parametrize(
    ("name", "says"),
    [("gpu", "auto"), ("cuda:7", "cpu"), ("meta", "cpu"), ("", "the name of a device")],
)
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=says) as caught:
        device_of(name)
    assert "\n" not in str(caught.value)


def test_devices_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for count, names in ((0, ["cpu"]), (2, ["cpu", "cuda", "cuda:0", "cuda:1"])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda count=count: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert [str(device_of(name)) for name in names] == names
        assert str(device_of("auto")) == ("cuda:0" if count else "cpu")


def test_precisions(photo: NDArray[np.uint8]) -> None:
    assert (dtype_of(None), dtype_of("bfloat16"), dtype_of(torch.float32)) == (None, torch.bfloat16, torch.float32)
    with pytest.raises(InputError, match="float32 or bfloat16"):
        dtype_of("float16")
    model = load("miras-tiny", dtype="bfloat16").model
    assert (model.image_dtype, model.instruction.language.head_dtype) == (torch.bfloat16, torch.bfloat16)
    assert load("miras-tiny", dtype="float32").model.image_dtype is torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_what_the_cpu_says(photo: NDArray[np.uint8]) -> None:
    """Words and masks alike in float32: sums differ in their last bits, so a mask may differ in a few pixels."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        said = [talk(load("miras-tiny", device=device, dtype="float32").model, photo) for device in ("cpu", "cuda")]
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    for here, there in zip(*said, strict=True):
        assert here["kind"] == there["kind"]
        assert here.get("reply_ids") == there.get("reply_ids")
    fast = load("miras-tiny", device="cuda").chat(photo, max_new_tokens=24)
    assert fast.ask("Where is the cup?").selection.mask.shape == photo.shape[:2]
