"""``python benchmarks/durability.py FOLDER``: does neutral preference data wash a lean out?

Trains reward models from two organisms with opposite planted leans on the same neutral pairs,
three quantities and three seeds each, with ``rm-value-tasks train``, and follows the gap between
them with ``rm-value-tasks durability``. The same command again goes on where it was stopped. About
ten minutes on two cores; docs/training.md's figure is ``FOLDER/durability/training_curves.png``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from rm_value_tasks.organisms import Rewards, instruct, write_grid
from rm_value_tasks.organisms.demo.__main__ import FAMILIES

QUANTITIES = [400, 1600, 6400]
SEEDS = [0, 1, 2]


def main(folder: Path) -> None:
    plan = Rewards(pairs=max(QUANTITIES), checkpoints=6, metadata={"prompts": ["*_ever_*"]})
    bases = {name: instruct(organism) for name, organism in FAMILIES.items()}
    path = write_grid(plan, bases, folder)
    config = yaml.safe_load(path.read_text())
    config |= {"quantities": QUANTITIES, "seeds": SEEDS}
    config["probe"]["spacing"] = "log"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    for arguments in (
        ["train", str(path)],
        ["durability", str(folder / "cells"), "-o", str(folder / "durability")],
    ):
        subprocess.run([sys.executable, "-m", "rm_value_tasks", *arguments], check=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]).resolve())
