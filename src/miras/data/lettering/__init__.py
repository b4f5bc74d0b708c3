"""Text put onto photos: the one renderer, for datasets with written words and for training photos."""
