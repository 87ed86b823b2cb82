"""Files that are written whole or not at all."""

from __future__ import annotations

import glob
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rm_value_tasks.errors import DataError

__all__ = ["whole", "write_whole"]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when all is written and on the disk, it becomes ``path``.

    A link is followed, and a file that is there already hands on its mode.
    """
    path = path.resolve()
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")
    try:
        yield temporary
        if path.exists():
            shutil.copymode(path, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what killed processes of this machine left of earlier tries."""
    own = f".{path.name}.{platform.node()}."
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        number = left.name.removeprefix(own)
        if number != left.name and number.isdecimal() and not _runs(int(number)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name != "posix":  # elsewhere a signal cannot just ask
        return True
    try:
        os.kill(process, 0)  # asks only
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that nobody ever sees half of it; text as UTF-8.

    What is no file (a pipe, a device, ``/dev/stdout``) is written to as it is.

    Raises:
        DataError: if it cannot be written; an older file of that name is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if _is_stream(path):
            path.write_bytes(data)
            return
        with whole(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}); choose another place.") from error


def _is_stream(path: Path) -> bool:
    # By these names a file is written to that is open already, perhaps at its end.
    named = str(path).startswith(("/dev/fd/", "/dev/std", "/proc/"))
    return path.exists() and not path.is_dir() and (named or not path.is_file())
