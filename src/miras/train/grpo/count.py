"""What sampling takes, for `miras train RECIPE --dry-run` of stage 3.

In: a recipe, what its model reads of a photo. Out: ids and seconds of a micro-batch. Every assumption is a constant
here; nothing was measured on a GPU. Knows no model.
"""

from __future__ import annotations

from miras.train.recipe.schema import Recipe

REPLY = 40
"""Ids of a reply, its mask slots apart."""
PASS = 0.03
"""Seconds that a pass for one id takes at least, whatever the weights: the layers' own overhead in `transformers`."""
BANDWIDTH = 2e12
"""Bytes a second that a device reads of its memory (A100 with 80 GB)."""


def exchanges(recipe: Recipe) -> float:
    """Messages of a micro-batch, each with a group of replies."""
    return recipe.batch.photos * recipe.batch.conversations * sum(recipe.data.turns) / 2


def replies(recipe: Recipe) -> float:
    """Of a micro-batch."""
    return exchanges(recipe) * recipe.reinforce.group


def tree(recipe: Recipe, image_tokens: int, mask_tokens: int, exchange: int) -> tuple[int, int]:
    """Conversations of a micro-batch, and ids of each with all replies. exchange: ids of a message and its reply."""
    turns, group = sum(recipe.data.turns) / 2, recipe.reinforce.group
    length = image_tokens + turns * (exchange + mask_tokens) + turns * group * (REPLY + mask_tokens)
    return recipe.batch.photos * recipe.batch.conversations, int(length)


def sampling(recipe: Recipe, weights: float) -> float:
    """Seconds of a step in which replies are written, one after the other. weights: bytes that a pass reads. A round of
    replies serves `updates` steps."""
    each = max(PASS, weights / BANDWIDTH)
    return replies(recipe) * recipe.batch.accumulate * REPLY * each / recipe.reinforce.updates


def passes(recipe: Recipe) -> float:
    """How often every id of the tree is read: forward and backward in each update, with checkpoints forward once more,
    and a share of the reading by the weights of the start and of the sampling."""
    each = 6 if recipe.gradient_checkpointing else 4
    return each + (2 * (recipe.reinforce.beta > 0) + 2) / recipe.reinforce.updates
