"""What a run trains on: which photos, what is said about them, how they are changed, as tensors."""
