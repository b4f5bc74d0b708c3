"""The model: one file per box of the paper's map, composed in `miras.py`."""
