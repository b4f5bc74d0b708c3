"""Image towers: one module a family, named in `registry`."""
