"""SAM and SAM 2 as decoders against `transformers`' own classes: equal masks and scores for the same prompts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from transformers import Sam2Model, SamModel

from miras.model.decoders import registry
from tests import checkpoints

SIDE = checkpoints.SIDE
FAMILIES = {"sam": (checkpoints.sam, SamModel), "sam2": (checkpoints.sam2, Sam2Model)}
TOLERANCE = 2e-5
"""The masks are one product here and several there: the same sums in another order."""


@pytest.fixture(params=FAMILIES)
def both(request, tmp_path):
    make, cls = FAMILIES[request.param]
    folder = make(tmp_path / request.param)
    return registry.build(f"{request.param}:{folder}"), cls.from_pretrained(folder).eval()


def drawn(decoder, pixels, points, shown=None):
    """Masks and scores of points alone; a prompt of no embeddings."""
    with torch.no_grad():
        maps = decoder.see(pixels)
        nothing = torch.zeros(1, 0, decoder.width)
        mask = torch.zeros(1, 1, SIDE // 4, SIDE // 4) if shown is None else shown
        return decoder(maps, nothing, mask, torch.tensor([shown is not None]), points)


def _at(maps, side):
    """On another grid; the tiny SAM has patches of 8 pixels and draws on a finer one."""
    return maps if maps.shape[-1] == side else F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def maps_side(decoder):
    return decoder.see(torch.zeros(1, 3, SIDE, SIDE))[-1].shape[-1]


@pytest.mark.parametrize("many", [False, True])
def test_clicks_draw_the_same(both, many):
    decoder, theirs = both
    pixels = torch.randn(1, 3, SIDE, SIDE)
    logits, iou = drawn(decoder, pixels, torch.tensor([[[0.25, 0.5, 1.0], [0.75, 0.125, 0.0], [0.0, 0.0, 4.0]]]))
    if hasattr(theirs.mask_decoder, "dynamic_multimask_via_stability"):  # it would choose among the masks by itself
        theirs.mask_decoder.dynamic_multimask_via_stability = False
    with torch.no_grad():
        out = theirs(
            pixel_values=pixels, multimask_output=many, input_points=torch.tensor([[[[16.0, 32.0], [48.0, 8.0]]]]),
            input_labels=torch.tensor([[[1, 0]]]),
        )  # fmt: skip
    mine = slice(1, None) if many else slice(0, 1)
    torch.testing.assert_close(logits[:, mine], _at(out.pred_masks[:, 0], SIDE // 4), atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(iou.sigmoid()[:, mine], out.iou_scores[:, 0].clamp(1e-4, 1 - 1e-4), atol=2e-5, rtol=0)


def test_the_mask_that_is_there_counts_the_same(both):
    decoder, theirs = both
    pixels, shown = torch.randn(1, 3, SIDE, SIDE), (torch.rand(1, 1, SIDE // 4, SIDE // 4) > 0.5).float()
    logits, _ = drawn(decoder, pixels, torch.tensor([[[0.5, 0.5, 1.0], [0.0, 0.0, 4.0]]]), shown)
    with torch.no_grad():
        out = theirs(
            pixel_values=pixels, multimask_output=True, input_points=torch.tensor([[[[32.0, 32.0]]]]),
            input_labels=torch.tensor([[[1]]]), input_masks=(2 * _at(shown, 4 * maps_side(decoder)) - 1) * 10,
        )  # fmt: skip
    torch.testing.assert_close(logits[:, 1:], _at(out.pred_masks[:, 0], SIDE // 4), atol=TOLERANCE, rtol=TOLERANCE)


def test_the_image_encoder_gets_no_gradient_and_the_rest_does(both):
    decoder, _ = both
    decoder.requires_grad_(True)
    with torch.no_grad():
        maps = decoder.see(torch.randn(1, 3, SIDE, SIDE))
    prompts = torch.randn(1, 2, decoder.width, requires_grad=True)
    logits, _ = decoder(maps, prompts, torch.zeros(1, 1, SIDE // 4, SIDE // 4), torch.tensor([False]))
    logits.sum().backward()
    assert prompts.grad is not None and bool(prompts.grad.abs().sum() > 0)
    assert decoder.model.mask_decoder.mask_tokens.weight.grad is not None
    assert all(p.grad is None for p in decoder.model.vision_encoder.parameters())
