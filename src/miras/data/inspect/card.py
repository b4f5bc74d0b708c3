"""The card of a dataset: the README.md that people and `datasets.load_dataset` read.

In: statistics (`stats.statistics`), a name, the licences of the sources. Out: Markdown with YAML front matter
that says which files hold which split. Knows nothing of where the dataset lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from miras.data.inspect.stats import table
from miras.data.record import SPLITS

Licences = Sequence[Mapping[str, str]]
"""One row a source: "source", "licence", and "where" it comes from (an address, or how to get it)."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_FORMAT = """\
## Format

Parquet, one row a conversation. Read it with `miras.data.parquet.read("{place}")`, or with `datasets`:

```python
from datasets import load_dataset

rows = load_dataset("{place}", streaming=True)
```

| column | what it holds |
|---|---|
| `id` | unique in the dataset |
| `image_id` | the photograph; splits are made by it |
| `image` | `path`, from this folder; `bytes`, the photo's file where it is embedded (`cast_column("image", Image())`) |
| `height`, `width` | of the photo as a person sees it (EXIF applied), in pixels |
| `split`, `source` | train, val or test; the dataset that the photo comes from |
| `kind`, `hops` | what the conversation does; its reasoning steps, from 1 |
| `focus` | the words for the final target, empty when there is none |
| `turns` | utterances: `role`, `text`, `content` (words, names of regions, operator marks), `regions` |
| `turns.regions` | `id`, `phrase`, `operator`, `rle`: the mask as COCO run lengths, `size` is [height, width] |
| `meta` | anything else, as JSON |
"""


def card(
    stats: Mapping[str, Any], *, name: str = "Conversations about photographs", licences: Licences = (),
    about: str = "", licence: str = "other", place: str = ".",
) -> str:  # fmt: skip
    """The text of README.md.

    about: paragraphs that stand under the title (what it is, how it was made, what it must not be used for).
    licence: of the whole, as the hub names it; "other" points to the table. place: what `load_dataset` is given.
    """
    parts = [
        front_matter(stats["splits"], licence=licence, name=name, size=stats["conversations"]),
        f"# {name}\n",
        about.strip() + "\n" if about.strip() else "",
        _counts(stats),
        _FORMAT.format(place=place),
        _licences(licences),
    ]
    return "\n".join(part for part in parts if part)


def front_matter(splits: Iterable[str], *, licence: str = "other", name: str = "", size: int | None = None) -> str:
    """The YAML block, with the files of each split; `splits`: names out of SPLITS, or "" for undivided."""
    import yaml

    present = set(splits)
    files = [{"split": shown(split, present), "path": f"data/{split or 'all'}-*"} for split in ordered(present)]
    block: dict[str, Any] = {"license": licence, "task_categories": ["image-segmentation"], "language": ["en"]}
    block["tags"] = ["reasoning-segmentation", "conversation", "masks"]
    if name:
        block["pretty_name"] = name
    if size is not None:
        block["size_categories"] = [next((label for most, label in _SIZES if size < most), "n>1M")]
    block["configs"] = [{"config_name": "default", "data_files": files}]
    text = yaml.safe_dump(block, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}---\n"


def ordered(splits: Iterable[str]) -> list[str]:
    """The splits in the order of SPLITS, undivided last."""
    return sorted(set(splits), key=lambda split: (*SPLITS, "").index(split))


def shown(split: str, present: Iterable[str]) -> str:
    """The name under which `datasets` shows a split: undivided data are "train", unless there is one."""
    return split or ("train" if "train" not in present else "undivided")


def _counts(stats: Mapping[str, Any]) -> str:
    return f"## Counts\n\n```\n{table(stats)}\n```\n"


def _licences(licences: Licences) -> str:
    if not licences:
        return ""
    rows = [f"| {row['source']} | {row['licence']} | {row.get('where', '')} |" for row in licences]
    head = ["## Licences", "", "| source | licence | where it comes from |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""])
