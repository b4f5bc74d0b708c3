"""Causal language models: one module a family, named in `registry`."""
