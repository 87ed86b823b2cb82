"""Figure and excerpt of docs/reports.md: ten published reward models, by lm_eval and report.

::

    python benchmarks/published_report.py FOLDER

FOLDER holds the lexicons and ``reward_scores_big2_nouns/`` that the paper's authors published
(arXiv 2601.20838). Writes ``benchmarks/figures/published_ranks.png`` and prints the excerpt.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

FIGURE = Path(__file__).with_name("figures") / "published_ranks.png"
HEADS = ("Gemma against Llama: median ranks", "agency_contrast by family")


def main(folder: Path) -> None:
    os.environ["RM_VALUE_TASKS_DATA"] = str(folder)
    from rm_value_tasks.figures import save
    from rm_value_tasks.report import render, sections_of
    from rm_value_tasks.results import load

    with tempfile.TemporaryDirectory() as runs:
        for scores in sorted((folder / "reward_scores_big2_nouns").glob("*.csv")):
            subprocess.run(
                [Path(sys.executable).with_name("lm_eval"), "--model", "recorded-rewards",
                 "--model_args", f"path={scores}", "--tasks", "value_bias_big2",
                 "--metadata", '{"lexicon": "big2_nouns"}',
                 "--output_path", runs, "--log_samples"],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        results = load(runs)
    ranks = next(part for part in sections_of(results) if part.title.startswith("Ranks"))
    save(ranks.pictures[0].figure, FIGURE)
    blocks = render(results, "md").replace("\\_", "_").split("\n\n")
    for head, table in pairwise(blocks):
        if head.startswith(HEADS):
            print(f"{head}\n\n{table}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
