"""What do the readers make of files that are broken in every way? Small datasets of all formats, damaged at random.

Each case takes one dataset, damages a file of it (bytes, text, structure, encoding, a photo), perhaps another one too,
and reads it. It fails when

- anything but an InputError of one line comes out, or reading takes longer than SECONDS,
- a record cannot be checked, or its masks are not of its photo's size,
- a mask is on a photo that no annotation file names, or (where only photos or the end of a file were damaged) on
  another photo than before,
- what was read and what was left out are together not what the file holds.

Cases depend on the seed and their number alone. The last line is one JSON object; exit code 1 when a case failed.

python benchmarks/mutate_annotations.py [--cases 5000] [--seed 0] [--reader NAME] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import damage
import damaged_sets

from miras.core.errors import InputError
from miras.data.formats import annotated
from miras.data.formats.records import guess_format, read_records
from miras.data.inspect.validate import validate
from miras.data.io.left_out import LeftOut
from miras.data.record import Record, regions_of

SECONDS = 30
AGAIN = 0.3
"""How often a damaged dataset is damaged once more."""
SHOWN = 20


class Failed(Exception):
    """What a case did that no case may do."""


def case(seed: int, reader: str, number: int, folder: Path, original: Path) -> dict[str, Any]:
    """One damaged dataset, read. The result has "outcome": clean, faults, refused or failed."""
    draw = random.Random(f"{seed}/{reader}/{number}")
    shutil.copytree(original, folder)
    about = damaged_sets.SETS[reader]
    harm = damage.harm(draw, folder, about.annotations)
    while draw.random() < AGAIN:
        harm = harm.with_another(damage.harm(draw, folder, about.annotations))
    result: dict[str, Any] = {"reader": reader, "number": number, "harm": harm.what}
    faults: list[str] = []
    tally = LeftOut(faults.append)
    signal.alarm(SECONDS)
    try:
        try:
            records = _read(folder / about.path, about.format, tally)
        except InputError as error:
            _one_line(str(error))
            return result | {"outcome": "refused"}
        for line in faults:
            _one_line(line)
        _checked(records, folder, harm, about)
        held = damaged_sets.held(folder, about) if not harm.of_index else None
        if held is not None and held != tally.total(about.unit):
            raise Failed(f"{held} {about.unit} in the file, {tally.total(about.unit)} read and left out")
        left = Counter({entry["reason"]: entry["count"] for entry in tally.to_list()})
        outcome = "faults" if faults else "clean"
        return result | {"outcome": outcome, "records": len(records), "left_out": sum(left.values())}
    except Failed as error:
        return result | {"outcome": "failed", "why": str(error)}
    except BaseException as error:
        return result | {"outcome": "failed", "why": f"{type(error).__name__}: {error}"[:300]}
    finally:
        signal.alarm(0)


def _read(path: Path, format: str, tally: LeftOut) -> list[Record]:
    with suppress(InputError):
        guess_format(path)
    if format in annotated.FORMATS:
        with suppress(InputError):
            annotated.read(path, format, lambda line: None)
    return list(read_records(path, format, tally))


def _one_line(text: str) -> None:
    if "\n" in text or not text.strip():
        raise Failed(f"no line: {text!r:.200}")


def _checked(records: list[Record], folder: Path, harm: damage.Harm, about: damaged_sets.Set) -> None:
    """What must hold of every record, whatever was damaged."""
    list(validate(records, photos=True))
    named = damaged_sets.named(folder, about)
    for record in records:
        for _, region in regions_of(record):
            if list(region["rle"]["size"]) != [record["height"], record["width"]] and about.exact:
                raise Failed(f"a mask of {region['rle']['size']} on a photo of {record['height']}, {record['width']}")
        photo = Path(record["image"])
        if not any(regions_of(record)):
            continue
        if photo.stem not in named and not any(photo.stem in text for text in named):
            raise Failed(f"a mask on {photo.name}, which no file names")
        if "image_bytes" not in record and about.exact and not photo.is_relative_to(folder.resolve()):
            raise Failed(f"a photo from elsewhere: {photo}")
    if harm.names_stay and about.exact:
        _stay(records, folder, about)


def _stay(records: list[Record], folder: Path, about: damaged_sets.Set) -> None:
    """Each mask that was there before is on the photo that it was on before, by the bytes of that photo."""
    for record in records:
        for _, region in regions_of(record):
            before = about.photo_of.get(region["rle"]["counts"])
            if before is not None and before != _digest(record):
                raise Failed(f"a mask moved to {record['image']}")


def _digest(record: Record) -> str:
    content = record["image_bytes"] if "image_bytes" in record else Path(record["image"]).read_bytes()
    return hashlib.sha256(content).hexdigest()


def _timed_out(*_: object) -> None:
    raise Failed(f"longer than {SECONDS} s")


def cases(seed: int, reader: str, numbers: Iterable[int], keep: str = "") -> list[dict[str, Any]]:
    """The results of some cases of one reader. keep: a folder for the datasets of those that failed."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _timed_out)
    found = []
    with tempfile.TemporaryDirectory() as place:
        original = Path(place) / "original"
        about = damaged_sets.SETS[reader]
        about.make(original)
        records = list(read_records(original / about.path, about.format, lambda line: None))
        about.photo_of |= {
            region["rle"]["counts"]: _digest(record) for record in records for _, region in regions_of(record)
        }  # fmt: skip
        for number in numbers:
            folder = Path(place) / "damaged"
            found.append(case(seed, reader, number, folder, original))
            if found[-1]["outcome"] == "failed" and keep:
                shutil.copytree(folder, Path(keep) / f"{reader}-{number}", dirs_exist_ok=True)
            shutil.rmtree(folder)
    return found


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of one reader."""
    counts = Counter(result["outcome"] for result in found)
    return {
        "cases": len(found), **{name: counts[name] for name in ("clean", "faults", "refused", "failed")},
        "records": sum(result.get("records", 0) for result in found),
        "left_out": sum(result.get("left_out", 0) for result in found),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=damaged_sets.SETS, action="append")
    parser.add_argument("--number", type=int, help="this case alone")
    parser.add_argument("--keep", default="", help="a folder for the datasets of cases that failed")
    given = parser.parse_args()
    readers = given.reader or list(damaged_sets.SETS)
    share, more = divmod(given.cases, len(readers))
    started, result, failures = time.monotonic(), {}, []
    for place, reader in enumerate(readers):
        numbers = [given.number] if given.number is not None else list(range(share + (place < more)))
        try:
            # A process of its own: what a damaged file kills is named, and the rest goes on.
            with ProcessPoolExecutor(1) as pool:
                found = pool.submit(cases, given.seed, reader, numbers, given.keep).result()
        except BrokenProcessPool as error:
            found = [
                {"reader": reader, "number": -1, "harm": "?", "outcome": "failed", "why": f"process died: {error}"}
            ]
        result[reader] = summary(found)
        failures += [each for each in found if each["outcome"] == "failed"]
        print(reader, result[reader], file=sys.stderr)
    for each in failures[:SHOWN]:
        print(each, file=sys.stderr)
    total = {key: sum(each[key] for each in result.values()) for key in next(iter(result.values()))}
    seconds = round(time.monotonic() - started)
    told = {"seed": given.seed, "seconds": seconds, "total": total, "readers": result, "failures": failures[:SHOWN]}
    print(json.dumps(told))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
