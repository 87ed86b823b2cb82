"""``python -m rm_value_tasks.organisms.calibration``: measured against planted leans.

For every strength and seed a base, its instruct and three reward models are trained: on neutral
pairs, and on pairs of which a tenth or half lean the other way. Every finished organism is kept
as a JSON file, so the same command again goes on where it was stopped, and the table is
written from what is there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path

import click
import pandas as pd
from tqdm import tqdm

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.saving import save
from rm_value_tasks.organisms import calibration_table
from rm_value_tasks.organisms.chain import Rewards, base, instruct, write_grid
from rm_value_tasks.organisms.language import Organism
from rm_value_tasks.whole_files import write_whole

__all__ = ["STRENGTHS", "calibrate", "main"]

STRENGTHS = (-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0)
"""None, weak, middle and strong, in both directions."""

_ASKED = ("*_ever_*",)
"""Nine of the 27 pairs of questions: the others differ in the scope's words alone."""

_COUNTER = {"counter 10%": 0.1, "counter 50%": 0.5}
"""Stage -> share of counter-leaning pairs."""

_STAGES = ("base", "instruct", "reward", *_COUNTER)


def calibrate(organism: Organism, folder: Path) -> list[dict[str, object]]:
    """Train one organism through all stages and measure it at each.

    Args:
        organism: what to plant.
        folder: gets the reward models' grid.

    Returns:
        One row for each of ``_STAGES``: architecture, strength, seed,
        planted leans (``planted_contrast`` and so on) and the fields of ``measure.Lean``.

    Raises:
        DataError: if a reward model could not be trained.
    """
    from rm_value_tasks.organisms.measure import measure
    from rm_value_tasks.training import grid
    from rm_value_tasks.training.config import load

    towards = "Communion" if organism.strength >= 0 else "Agency"
    plan = Rewards(
        counter=(0.0, *_COUNTER.values()),
        towards=towards,
        seed=organism.seed,
        metadata={"prompts": "best_ever_one"},
    )
    trained = load(write_grid(plan, {"instruct": instruct(organism)}, folder))
    if failed := grid.run(trained, tqdm.write):
        raise DataError(f"reward models failed: {failed}")
    models = {cell.counter_share: trained.output / cell.name / "model" for cell in trained.cells}
    leans = {
        "base": measure("hf-shared-prefix", base(organism), _ASKED),
        "instruct": measure("hf-shared-prefix", instruct(organism), _ASKED, chat=True),
        "reward": measure("reward", models[0.0], _ASKED),
        **{name: measure("reward", models[share], _ASKED) for name, share in _COUNTER.items()},
    }
    planted = organism.world().planted()
    known = {
        "architecture": organism.architecture,
        "strength": organism.strength,
        "seed": organism.seed,
        **{name.replace("agency", "planted"): lean for name, lean in planted.items()},
    }
    return [{**known, "stage": stage, **asdict(lean)} for stage, lean in leans.items()]


def _calibrate(task: tuple[Organism, Path]) -> None:
    organism, output = task
    name = f"{organism.architecture}-{organism.strength:+g}-seed{organism.seed}"
    done = output / f"{name}.json"
    if not done.exists():
        rows = calibrate(organism, output / name)
        write_whole(done, (json.dumps(rows, indent=1) + "\n").encode())


def read(output: Path) -> pd.DataFrame:
    """Return the rows of all finished organisms, in order of strength, seed and stage.

    Raises:
        DataError: if none is finished.
    """
    rows = [row for path in output.glob("*.json") for row in json.loads(path.read_text())]
    if not rows:
        raise DataError(f"{output} holds no finished organism; run the calibration first.")
    table = pd.DataFrame(rows)
    stages = pd.CategoricalDtype(list(_STAGES), ordered=True)
    table["stage"] = table["stage"].astype(stages)
    return table.sort_values(["architecture", "stage", "strength", "seed"], ignore_index=True)


def _run(tasks: Sequence[tuple[Organism, Path]], workers: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # before the workers start
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        for _ in tqdm(pool.map(_calibrate, tasks), total=len(tasks), desc="organisms"):
            pass


@click.command()
@click.option("--work", default="calibration-work", type=click.Path(path_type=Path), help="Folder.")
@click.option("-o", "--output", default="benchmarks", type=click.Path(path_type=Path))
@click.option("--architectures", default="llama", show_default=True, help="Between commas.")
@click.option("--seeds", default=3, show_default=True, help="Seeds for each strength.")
@click.option("--neutral", default=10, show_default=True, help="Seeds at strength 0.")
@click.option("--workers", default=2, show_default=True, help="Organisms at once.")
@click.option("--table-only", is_flag=True, help="Train nothing; tabulate what is finished.")
def main(
    work: Path,
    output: Path,
    architectures: str,
    seeds: int,
    neutral: int,
    workers: int,
    table_only: bool,
) -> None:
    """Calibrate the probe; writes calibration.csv, .md and .svg into OUTPUT."""
    names = architectures.split(",")
    wanted = list(product(range(seeds), names, STRENGTHS))
    wanted += product(range(seeds, neutral), names, (0.0,))
    work.mkdir(parents=True, exist_ok=True)
    if not table_only:
        _run([(Organism(a, strength, seed), work) for seed, a, strength in wanted], workers)
    table = read(work).round(6)  # as in the file, so that one can be made from the other
    write_whole(output / "calibration.csv", table.to_csv(index=False).encode())
    write_whole(output / "calibration.md", calibration_table.markdown(table).encode())
    save(calibration_table.figure(table), output / "calibration.svg")
    click.echo(calibration_table.markdown(table))


if __name__ == "__main__":
    main()
