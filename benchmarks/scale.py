"""Conversations drafted a second, here and over Ray with one and two workers, the same 400 photos.

python benchmarks/scale.py ../shared/data
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from miras.annotate.prist_open import Plan, draft
from miras.core.parallel.processes import mapped
from miras.data.dialogues.sampler import askable
from miras.data.formats.annotated import read_sources

PHOTOS = 400


def main() -> None:
    """One JSON object: way -> conversations a second."""
    import ray

    photos = [photo for photo in read_sources(sys.argv[1]) if askable(photo)]
    work = [(photo, "train") for photo in photos[:: len(photos) // PHOTOS]]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        function = partial(draft, plan=Plan(), folder=Path(folder))
        for way, options in {"here": {}, "ray 1": {"jobs": 1, "ray": True}, "ray 2": {"jobs": 2, "ray": True}}.items():
            if "ray" in options:
                ray.init(num_cpus=options["jobs"], include_dashboard=False, log_to_driver=False)
                list(mapped(function, work[:16], **options))  # workers start
            started = time.perf_counter()
            count = sum(len(records) for records in mapped(function, work, **options))
            found[way] = round(count / (time.perf_counter() - started), 1)
            if "ray" in options:
                ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
