"""Figures: one function each, table in, matplotlib figure out; readable in grey.

Colours are of Okabe and Ito's palette, and every colour comes with a marker, hatch or number
that says the same. Text from models is drawn as it is, never read as mathematics.
"""

from rm_value_tasks.figures.foundation_profile import foundation_profile
from rm_value_tasks.figures.lean_map import lean_map
from rm_value_tasks.figures.mwlr_lollipop import mwlr_lollipop
from rm_value_tasks.figures.pair_lollipop import pair_lollipop
from rm_value_tasks.figures.prompt_heatmap import prompt_heatmap
from rm_value_tasks.figures.rank_violins import rank_violins
from rm_value_tasks.figures.saving import save, to_bytes
from rm_value_tasks.figures.stage_lines import stage_lines
from rm_value_tasks.figures.training_curves import quantity_points, training_curves
from rm_value_tasks.figures.word_lollipop import Spot, word_lollipop, word_ridits, word_spots
from rm_value_tasks.figures.word_moves import word_moves

__all__ = [
    "Spot",
    "foundation_profile",
    "lean_map",
    "mwlr_lollipop",
    "pair_lollipop",
    "prompt_heatmap",
    "quantity_points",
    "rank_violins",
    "save",
    "stage_lines",
    "to_bytes",
    "training_curves",
    "word_lollipop",
    "word_moves",
    "word_ridits",
    "word_spots",
]
