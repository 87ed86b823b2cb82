"""Does preference data wash an inherited lean out? Training runs in, gaps and half-lives out."""

from rm_value_tasks.analyses.durability.analysis import Curve, Durability, durability
from rm_value_tasks.analyses.durability.summary import render, write

__all__ = ["Curve", "Durability", "durability", "render", "write"]
