"""The published lexicon files: pinned by URL and SHA-256, cached, or read from a folder.

No licence is stated for them, so they are fetched on the user's own machine and not shipped.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rm_value_tasks.errors import DataError

__all__ = ["CACHE_ENV", "FOLDER_ENV", "PUBLISHED", "cache_folder", "fetch"]

COMMIT = "5d8d2e9d879bf0060c791b11300f0efda42c9bcf"
BASE_URL = (
    "https://raw.githubusercontent.com/brchristian/"
    f"reward_models_inherit_value_biases_from_pretraining/{COMMIT}/data/corpora/"
)
"""The paper's own repository (arXiv 2601.20838) at one commit."""

PUBLISHED: dict[str, str] = {
    "dict_big2_nouns.csv": "186886a25b2f03ea3ec7e78fad71fabee408e3b5ec1758683461df4359b45435",
    "dict_big2_expanded.csv": "9554698f6b7dd619853a7c129db977b59884560e211e75699e2b9c4b746dd8f1",
    "moral-foundations-dictionary-20.dicx": (
        "973957f99129b324c8a4ebf3fcb7ed4e1f9f017b2d041f50288f991b0844ce7a"
    ),
}
"""File name to SHA-256. Original homes: osf.io/p7fzb (Big Two), osf.io/ezn37 (MFD 2.0)."""

FOLDER_ENV = "RM_VALUE_TASKS_DATA"
CACHE_ENV = "RM_VALUE_TASKS_CACHE"
RETRIES = 2
TIMEOUT_SECONDS = 20.0


def cache_folder() -> Path:
    """Return the folder that keeps downloads; it need not exist yet.

    ``RM_VALUE_TASKS_CACHE`` if set, else the system's user cache folder (which respects
    ``XDG_CACHE_HOME`` on Linux).
    """
    chosen = os.environ.get(CACHE_ENV)
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("rm_value_tasks"))


def fetch(name: str) -> Path:
    """Return the path of a published file whose content is the pinned one.

    Looked for in the folder ``RM_VALUE_TASKS_DATA`` if that is set (and only there), else
    in the cache, else downloaded into the cache: written under a temporary name, checked,
    then moved into place, so that a failed download leaves nothing behind. A damaged cached
    file is downloaded again.

    Args:
        name: a key of ``PUBLISHED``.

    Raises:
        DataError: if the name is unknown, the folder has no such file, a file is not the
            pinned one, or the download fails (then the message says both ways out).
    """
    if name not in PUBLISHED:
        raise DataError(f"no published file is called {name!r}; known: {', '.join(PUBLISHED)}.")
    folder = os.environ.get(FOLDER_ENV)
    if folder:
        return _from_folder(Path(folder).expanduser(), name)
    return _downloaded(name)


def _from_folder(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"{FOLDER_ENV}={folder} gives no readable {name} ({error.strerror}): put the "
            f"published file there, or unset {FOLDER_ENV} to have it downloaded."
        ) from error
    if found != PUBLISHED[name]:
        raise DataError(
            f"{path} is not the published file (SHA-256 {found}, needed {PUBLISHED[name]}): "
            f"replace it with {BASE_URL}{name}, or unset {FOLDER_ENV} to have it downloaded."
        )
    return path


def _downloaded(name: str) -> Path:
    import pooch  # here, because it loads requests

    cache = cache_folder()
    store = pooch.create(
        path=cache,
        base_url=BASE_URL,
        registry={name: f"sha256:{PUBLISHED[name]}"},
        retry_if_failed=RETRIES,
    )
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS, progressbar=False)
    try:
        return Path(store.fetch(name, downloader=downloader))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, a bad hash a ValueError
        raise DataError(
            f"could not get {name} from {BASE_URL} into {cache} ({_reason(error)}): set "
            f"{FOLDER_ENV} to a folder that holds the file, or run once where the internet "
            "can be reached."
        ) from error


def _reason(error: Exception) -> str:
    """Say in a few words why a download failed; requests' own texts run over many lines."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_SECONDS:g} seconds"
    if isinstance(error, requests.RequestException):
        return f"no connection: {type(error).__name__}"
    if isinstance(error, ValueError):
        return "what came is not the pinned file, its SHA-256 differs, and was thrown away"
    return str(error)
