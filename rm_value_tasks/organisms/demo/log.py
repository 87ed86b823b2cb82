"""Where libraries speak while the demo runs: a file, of which a failure shows the end."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["run", "speak_into"]

_LAST = 20


def speak_into(log: Path) -> None:
    """Send all that this process prints, libraries' C code included, to a file."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def run(arguments: Sequence[str], log: Path) -> None:
    """Run one of our commands, its output in ``log``.

    Raises:
        SystemExit: if it fails, with the log's last lines.
    """
    print(f"\n$ rm-value-tasks {shlex.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "rm_value_tasks", *arguments]
    with log.open("ab") as file:
        done = subprocess.run(command, stdout=file, stderr=file, check=False)  # noqa: S603
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        sys.exit("\n".join([*said[-_LAST:], f"rm-value-tasks {arguments[0]} failed; see {log}."]))
