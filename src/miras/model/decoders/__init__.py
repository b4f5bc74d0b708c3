"""Mask decoders of the hub, each with its own image encoder: one module a family, named in `registry`."""
