"""Data sets in the layout their authors gave them, read and not written: PASCAL-Part, LLaVA's instructions."""
