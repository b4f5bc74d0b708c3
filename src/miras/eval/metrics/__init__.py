"""Figures of masks and words, and how sure they are. No model, no file."""
