"""`transformers`' own doors: after `import miras.model.auto`, `AutoConfig` and `AutoModel` know a saved model.

A module of its own, since it loads much of `transformers` that answering does without.
"""

from __future__ import annotations

from transformers import AutoConfig, AutoModel

from miras.model.config import MirasConfig
from miras.model.miras import Miras

AutoConfig.register(MirasConfig.model_type, MirasConfig, exist_ok=True)
AutoModel.register(MirasConfig, Miras, exist_ok=True)
