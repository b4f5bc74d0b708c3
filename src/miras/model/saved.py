"""The folder of a saved model: its files, its configuration, the precision of its weights; on the hub, too.

In: a folder, a repository's name, or tensors. Out: a folder, a configuration, or tensors as they are written.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from torch import Tensor

from miras.core.errors import InputError, WeightsError
from miras.model.config import MirasConfig

WEIGHTS = "model.safetensors"
CONTINUATIONS = "continuations.json"
FILES = ("config.json", WEIGHTS, CONTINUATIONS, "README.md")
"""What is fetched and pushed: never anything that runs."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def located(name: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of a saved model: itself, or a repository OWNER/NAME of the hub, fetched (or from the hub's cache).

    Raises WeightsError when it is neither; only what cannot be a folder's path is looked for on the hub.
    """
    folder = Path(name)
    if folder.is_dir() or not _REPOSITORY.fullmatch(text := os.fspath(name)) or folder.parent.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, revision=revision, allow_patterns=list(FILES)))
    except (OSError, RuntimeError, ValueError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        cure = "give the folder that training wrote, or connect once: its files stay in the hub's cache"
        expected = f"a folder of saved weights, or a repository on the hub: {text}"
        raise WeightsError(expected, f"no folder, and from the hub: {why}", cure) from error


def push_to_hub(
    folder: str | os.PathLike[str], repository: str, *, private: bool | None = None, token: str | None = None,
    message: str = "Weights of miras",
) -> str:  # fmt: skip
    """A folder that `save_pretrained` or training wrote, with its README.md, into OWNER/NAME on the hub, which is made
    if it is not there. Returns the address of the commit.

    Raises WeightsError for a folder that holds no saved model, before anything is sent.
    """
    place = Path(folder)
    read_config(place)
    if not (place / WEIGHTS).is_file():
        raise WeightsError(f"weights in {place / WEIGHTS}", "none", "give the folder of a saved model")
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repository, private=private, exist_ok=True)
    sent = api.upload_folder(
        repo_id=repository, folder_path=place, allow_patterns=list(FILES), commit_message=message
    )  # fmt: skip
    return str(sent.commit_url)


def read_config(folder: Path) -> MirasConfig:
    """`config.json` of a saved model. Raises WeightsError when it is none, or of another version."""
    try:
        values = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"config.json in {folder}", str(error), "give the folder of a saved model") from error
    if values.get("model_type") != MirasConfig.model_type:
        raise WeightsError("a miras model", f"model_type {values.get('model_type')!r}", "give another folder")
    version, own = values.get("weights_version"), MirasConfig().weights_version
    if version != own:
        raise WeightsError(f"weights version {own}", f"version {version}", "update miras, or train again: miras train")
    try:
        return MirasConfig.from_dict(values)
    except InputError as error:
        raise WeightsError(
            "a configuration that this version of miras knows", error.got, "update miras, or mend config.json"
        ) from error


def half(name: str, value: Tensor) -> Tensor:
    """Half precision where it is enough: batch-norm statistics stay as they are."""
    keep = not value.is_floating_point() or "running_" in name
    return value.detach().contiguous() if keep else value.detach().half().contiguous()
