"""Evaluation: figures on pixels and dialogues, always through `chat`, never through a path of its own."""
