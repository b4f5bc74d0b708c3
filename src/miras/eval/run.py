"""A run: the public path, as documents give it; the code is in `eval.runs.run`."""

from miras.eval.runs.run import evaluate

__all__ = ["evaluate"]
