"""What the plugin adds to interpreter start: ``python -X importtime`` with and without it.

Run: python benchmarks/startup.py [REPEATS]
"""

import os
import re
import statistics
import subprocess
import sys


def microseconds(enabled: bool) -> tuple[float, int]:
    """Return (time of our modules, number of modules loaded at start) of one interpreter."""
    environment = {**os.environ, "RM_VALUE_TASKS_AUTOLOAD": "1" if enabled else "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as for a user: compiled once, then read
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import sys; print(len(sys.modules))"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    # Columns: own time | cumulative time | module; the cumulative one holds the package's.
    found = re.search(r"(\d+) \|\s+rm_value_tasks\._autoload$", done.stderr, re.M)
    return float(found[1]) if found else 0.0, int(done.stdout)


def main(repeats: int) -> None:
    on = [microseconds(True) for _ in range(repeats + 1)][1:]
    off = [microseconds(False) for _ in range(repeats)]
    print("| autoload | median import time | worst | modules at start |")
    print("|---|---|---|---|")
    for name, runs in (("on", on), ("off (RM_VALUE_TASKS_AUTOLOAD=0)", off)):
        times = [time for time, _ in runs]
        median, worst = statistics.median(times) / 1000, max(times) / 1000
        print(f"| {name} | {median:.2f} ms | {worst:.2f} ms | {runs[0][1]} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
