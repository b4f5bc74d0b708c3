"""Segmenters: photo + prompt -> masks. Ours, and SAM, SAM 2, SAM 3, detector + SAM, CLIPSeg through `transformers`."""
