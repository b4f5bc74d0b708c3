"""Checkpoints of the hub, as `transformers` and others save them: where they lie, their shapes, how they load."""
