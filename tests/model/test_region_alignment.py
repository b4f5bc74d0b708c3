from __future__ import annotations

import pytest
import torch

from miras.model.region_alignment import RegionAlignment
from tests.model.test_visual_encoders import tiny


def parts(config, spans=(3, 5)):
    torch.manual_seed(0)
    longest = max(spans)
    span = torch.randn(len(spans), longest, 32 * len(config.alignment_layers))
    words = torch.arange(longest) < torch.tensor(spans)[:, None]
    return span, words


@pytest.mark.parametrize("aligned", [True, False])
def test_padding_does_not_matter(aligned):
    config = tiny(use_alignment=aligned)
    box = RegionAlignment(config, 32).eval()
    span, words = parts(config)
    together, _ = box(span, words)
    alone, _ = box(span[:1, :3], words[:1, :3])
    assert together.shape == (2, config.prompts, config.width)
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_absent_memory_does_not_matter_and_present_memory_does():
    config = tiny()
    box = RegionAlignment(config, 32).eval()
    span, words = parts(config)
    memory = torch.randn(2, 4, 32)
    none, _ = box(span, words)
    hidden, _ = box(span, words, memory, torch.zeros(2, 4, dtype=torch.bool))
    shown, _ = box(span, words, memory, torch.ones(2, 4, dtype=torch.bool))
    torch.testing.assert_close(none, hidden, atol=1e-5, rtol=1e-4)
    assert (none - shown).abs().max() > 1e-4


def test_its_parameters_are_trained():
    config = tiny()
    box = RegionAlignment(config, 32)
    span, words = parts(config)
    prompts, match = box(span, words, torch.randn(2, 2, 32), torch.ones(2, 2, dtype=torch.bool))
    (prompts.sum() + match[:, 0].sum()).backward()
    trained = [name for name, p in box.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    for name in ("queries", "words_in.weight", "memory_in.weight", "layer_weight", "blocks.0.cross.q.weight"):
        assert name in trained


def test_same_call_same_prompts():
    """The official code draws a new random layer at every call (field notes, D6)."""
    config = tiny()
    box = RegionAlignment(config, 32).eval()
    span, words = parts(config)
    assert torch.equal(box(span, words)[0], box(span, words)[0])


def test_prior_is_zero_without_words():
    config = tiny()
    box = RegionAlignment(config, 32).eval()
    span, words = parts(config)
    words[1] = False
    _, match = box(span, words)
    prior = box.prior(match, torch.randn(2, config.width, 8, 8), words.any(1))
    assert prior.shape == (2, 8, 8)
    assert prior[0].abs().max() > 0
    assert torch.all(prior[1] == 0)


def test_patches_follow_the_words():
    config = tiny()
    box = RegionAlignment(config, 32).eval()
    span, words = parts(config)
    assert box.match_patches(torch.randn(3, 4, 32), span, words).shape == (3, 2, 4)


def test_presence_of_many_is_that_of_each_alone():
    config = tiny()
    box = RegionAlignment(config, 32).eval()
    prompts, match = box(*parts(config, (4, 4)))
    pixels = torch.randn(3, config.width, 8, 8)
    rows, photos = torch.tensor([0, 1, 1, 0]), torch.tensor([2, 0, 2, 1])
    together = box.presence(prompts[rows], match[rows], pixels, photos)
    for n, (row, photo) in enumerate(zip(rows.tolist(), photos.tolist(), strict=True)):
        alone = box.presence(prompts[[row]], match[[row]], pixels[[photo]], torch.tensor([0]))
        torch.testing.assert_close(together[n], alone[0])


def test_presence_learns_which_photo_shows_the_words():
    config = tiny()
    box = RegionAlignment(config, 32)
    span, words = parts(config, (4, 4))
    pixels = torch.randn(2, config.width, 8, 8)
    there = torch.tensor([1.0, 1.0, 0.0, 0.0])
    adam = torch.optim.AdamW(box.parameters(), lr=3e-3)
    for _ in range(60):
        prompts, match = box(span, words)
        seen = box.presence(prompts[[0, 1, 0, 1]], match[[0, 1, 0, 1]], pixels, torch.tensor([0, 1, 1, 0]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(seen, there)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert ((seen > 0) == (there > 0.5)).all()
