"""Organisms: tiny models trained from scratch with a planted lean, ground truth for the probe."""

from rm_value_tasks.organisms.chain import Rewards, base, instruct, write_grid
from rm_value_tasks.organisms.language import Organism

__all__ = ["Organism", "Rewards", "base", "instruct", "write_grid"]
