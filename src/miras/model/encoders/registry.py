"""The image encoder of a configuration, by its `fusion`.

In: a configuration. Out: an image encoder with `forward(views) -> ImageFeatures`.
"""

from __future__ import annotations

from miras.model.config import MirasConfig
from miras.model.encoders.patches import PatchEncoder
from miras.model.visual_encoders import ImageEncoder


def build(config: MirasConfig, language_width: int) -> ImageEncoder | PatchEncoder:
    """With its towers."""
    made = PatchEncoder if config.fusion == "patches" else ImageEncoder
    return made(config, language_width)
