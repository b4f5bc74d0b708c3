"""Photographs as files of a dataset: which is which, on which side of the split, copied without metadata."""
