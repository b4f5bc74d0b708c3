"""Log probabilities of what was sampled, by the weights as they are.

In: a model, a rollout. Out: one number for each id that was drawn, with a gradient. The whole conversation with all
replies to each of its messages is read in one pass: a reply sees its own history and none of the others.
T drawn ids, V vocabulary plus special tokens, L ids.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from miras.model.miras import Miras
from miras.train.grpo.rollout import Rollout


def log_chances(model: Miras, made: Rollout, temperature: float, half: bool = False) -> Tensor:
    """(T,) float32, of the distribution that the replies were drawn from: what the grammar allows, at the temperature.

    half: products in bfloat16 but for the last one.
    """
    device = model.device
    slots = torch.from_numpy(np.concatenate(made.slots)).to(device) if made.slots else None
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        embeds = model.embed(torch.tensor([made.ids], device=device), made.visual.to(device), slots)
        last_1LD, _ = model.instruction(embeds, parents=made.parents)
    last_1TD = last_1LD[:, torch.tensor(made.after, device=device)].float()
    with torch.autocast(device.type, torch.bfloat16, enabled=model.instruction.table.weight.dtype is torch.bfloat16):
        logits_TV = model.instruction.logits(last_1TD)[0].float()
    return _chosen(_allowed(logits_TV, made) / temperature, made)


def _allowed(logits_TV: Tensor, made: Rollout) -> Tensor:
    """As the grammar leaves them: -inf where nothing could come; one end of a name has the chances of both."""
    width, device = logits_TV.shape[1], logits_TV.device
    open_TV = np.stack([np.unpackbits(choice.allowed, count=width) for choice in made.choices]).astype(np.bool_)
    row = [t for t, choice in enumerate(made.choices) if choice.merged >= 0]
    if row:
        ends = torch.tensor([list(made.choices[t].ends) for t in row], device=device)
        both = logits_TV[torch.tensor(row, device=device)[:, None], ends].logsumexp(1)
        column = torch.tensor([made.choices[t].merged for t in row], device=device)
        logits_TV = logits_TV.index_put((torch.tensor(row, device=device), column), both)
    return logits_TV.masked_fill(~torch.from_numpy(open_TV).to(device), -torch.inf)


def _chosen(logits_TV: Tensor, made: Rollout) -> Tensor:
    drawn_T = torch.tensor([choice.token_id for choice in made.choices], device=logits_TV.device)
    return logits_TV.log_softmax(1).gather(1, drawn_T[:, None])[:, 0]
