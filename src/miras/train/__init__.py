"""Training: losses, augmentation, the two stages."""
