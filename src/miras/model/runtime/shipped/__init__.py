"""The graphs of `miras-mini` ship without weights; these are put beside them once, from the files they lie in."""
