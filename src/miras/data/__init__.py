"""Data: readers of public annotation formats, splits, and the dialogues made from annotations.

In: files as their users already have them. Out: `core.types` records. Knows no model and no torch.
"""
