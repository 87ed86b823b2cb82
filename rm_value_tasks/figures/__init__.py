"""Figures: one function each, table in, matplotlib figure out; readable in grey.

Colours are of Okabe and Ito's palette, and every colour comes with a marker, hatch or number
that says the same. Text from models is drawn as it is, never read as mathematics.
"""

from rm_value_tasks.figures.foundation_profile import foundation_profile
from rm_value_tasks.figures.lean_map import lean_map
from rm_value_tasks.figures.prompt_heatmap import prompt_heatmap, twin_contrasts
from rm_value_tasks.figures.rank_violins import rank_violins
from rm_value_tasks.figures.saving import save, to_bytes
from rm_value_tasks.figures.style import plain
from rm_value_tasks.figures.training_curves import quantity_points, training_curves
from rm_value_tasks.figures.word_lollipop import word_lollipop, word_places
from rm_value_tasks.figures.word_moves import word_moves

__all__ = [
    "foundation_profile",
    "lean_map",
    "plain",
    "prompt_heatmap",
    "quantity_points",
    "rank_violins",
    "save",
    "to_bytes",
    "training_curves",
    "twin_contrasts",
    "word_lollipop",
    "word_moves",
    "word_places",
]
