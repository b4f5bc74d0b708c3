"""From the name of a repository to its files: a local folder, the hub, or the hub's cache.

In: what a person wrote behind a colon (`clip:REPO`). Out: a folder. What cannot be fetched is one clear line. Knows no
model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

from miras.core.errors import InputError, WeightsError

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
"""What is fetched of a repository: never pickles, nor the same weights for other libraries."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def fetched(repo: str) -> Path:
    """The folder of a repository: itself where it is one, else its files from the hub, or from the hub's cache.

    Raises InputError for a name that is none and WeightsError for what cannot be fetched.
    """
    if not repo.strip():
        raise InputError("a repository: a local folder or a name on the hub", "nothing", "give it behind the colon")
    if (folder := Path(repo).expanduser()).is_dir():
        return folder
    return snapshot(repo, WANTED)


def snapshot(repo: str, wanted: Sequence[str], revision: str | None = None) -> Path:
    """The same for what is no folder here, perhaps mistyped: whatever the hub answers, it is said that there is none.
    wanted: names of files, or patterns."""
    told = f"{repo}: a folder, or a repository on the hub"
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(wanted)))
    except HFValidationError:
        cure = "give a folder that is there, or OWNER/NAME"
        raise InputError("a local folder or a name on the hub", repr(repo), cure) from None
    except GatedRepoError as error:
        cure = "accept its licence on its page, then log in: hf auth login"
        raise WeightsError(told, "no such folder; the hub's needs permission", cure) from error
    except RepositoryNotFoundError as error:
        got = "no such folder; if the hub's is meant, it answers that it knows none"
        raise WeightsError(told, got, "check the name; a private one needs: hf auth login") from error
    except (OSError, RuntimeError, ValueError) as error:
        cure = "give a folder, or connect once: its files stay in the hub's cache"
        raise WeightsError(told, f"no such folder, and the hub is not reached ({first_line(error)})", cure) from error


@contextmanager
def silent() -> Iterator[None]:
    """`transformers` keeps to itself what it thinks of a checkpoint that holds more than is loaded: faults are told by
    what loads."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
