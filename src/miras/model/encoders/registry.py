"""The image encoder of a configuration, by its `fusion`.

In: a configuration. Out: an image encoder with `forward(views) -> ImageFeatures`. Imports its module when it is built.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from miras.model.config import MirasConfig

ENCODERS = {
    "patches": "miras.model.encoders.patches:PatchEncoder",
    "pyramid": "miras.model.visual_encoders:ImageEncoder",
    "tokens": "miras.model.encoders.tokens:TokenEncoder",
}


def build(config: MirasConfig, language_width: int) -> Any:
    """With its towers."""
    return resolve_name(ENCODERS[config.fusion])(config, language_width)
