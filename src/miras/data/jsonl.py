"""Records as JSON lines: the public path, as documents give it; the code is in `data.formats.jsonl`."""

from miras.data.formats.jsonl import read_jsonl, write_jsonl

__all__ = ["read_jsonl", "write_jsonl"]
