"""`miras collect`: what people corrected on the page, as training data.

In: the folder of a server that does not run, or the address of one that does. Out: a folder that `miras train own`
takes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from miras.cli.options import Json
from miras.cli.output import emit, say, write
from miras.core.errors import InputError, MirasError
from miras.core.files import folder


def collect(
    out: Path, /, *, data: Path | None = None, server: str | None = None, token_file: Path | None = None,
    json: Json = False,
) -> int:  # fmt: skip
    """What people corrected on the page of miras serve, as training data in the new folder OUT, for miras train own.

    --data: the folder of a server that does not run now, ~/.local/share/miras by default, everybody's corrections.
    --server: the address of one that runs, with --token-file (or MIRAS_TOKEN) the corrections of that person.
    """
    return run(out, data=data, server=server, token_file=token_file, as_json=json)


def run(out: Path, *, data: Path | None, server: str | None, token_file: Path | None, as_json: bool) -> int:
    """Exit code 0."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("a new or empty folder", str(out), "give another one")
    if find_spec("fastapi") is None:
        raise InputError("the packages of the server", "no fastapi", "pip install 'miras[serve]'")
    photos = masks = 0
    for name, content in _kept(data) if server is None else _told(server, token_file):
        write(folder(out) / name, content)
        photos += not name.endswith(".json")
        masks += content.count(b'"group_id"') if name.endswith(".json") else 0
    if as_json:
        emit({"photos": photos, "shapes": masks, "out": str(out)})
    else:
        say(f"{photos} photos in {out}; look at them: miras data validate {out} --format labelme, then train: "
            f"miras train own --data {out}")  # fmt: skip
    return 0


def _kept(data: Path | None) -> Iterator[tuple[str, bytes]]:
    """From the folder itself, of all people. Raises InputError while a server has it."""
    from miras.serve import corrections
    from miras.serve.database import FILE, Database
    from miras.serve.photos import PhotoFiles
    from miras.serve.problems import Problem
    from miras.serve.records import Records
    from miras.serve.settings import default_data

    place = data or default_data()
    if not (place / FILE).is_file():
        raise InputError("the folder of a server", f"no {FILE} in {place}", "name it with --data, or give --server")
    database = Database(place)
    try:
        records, photos = Records(database), PhotoFiles(place / "photos")
        talks = [(records.about(name), records.turns(name)) for _, name in records.expired(float("inf"))]
        yield from corrections.files(talks, lambda row: photos.read(row["id"], "full", row["suffix"]))
    except Problem as problem:
        raise InputError(problem.body["expected"], problem.body["got"], problem.body["cure"]) from problem
    finally:
        database.close()


def _told(server: str, token_file: Path | None) -> Iterator[tuple[str, bytes]]:
    """From a server that runs, of whoever has the token."""
    from miras.client import Client
    from miras.serve.settings import read_tokens

    tokens = read_tokens(token_file)
    with Client(server, tokens[0] if tokens else None) as client:
        content = client.corrections().content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                if PurePosixPath(name).name != name or "\\" in name:
                    raise InputError("plain names in the archive", repr(name))
                yield name, archive.read(name)
    except zipfile.BadZipFile as error:
        raise MirasError("an archive of corrections", str(error), "look at the address") from error
