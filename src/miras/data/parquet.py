"""The dataset on disk: the public path, as documents give it; the code is in `data.formats.parquet`."""

from miras.data.formats.parquet import read, write

__all__ = ["read", "write"]
