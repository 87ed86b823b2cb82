"""A finished run's scores in the form in which the paper's authors publish theirs."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.scores.log_probability_tables import TOKEN_COLUMNS
from rm_value_tasks.vocabulary.token_runs import Run
from rm_value_tasks.whole_files import whole

__all__ = ["write_wide"]


def write_wide(run: Run, path: Path) -> None:
    """Write token_id, token_name, token_decoded and one column for each prompt id.

    Args:
        run: a finished run.
        path: a ``.csv`` or ``.parquet`` file; it appears whole or not at all.

    Raises:
        DataError: if the ending is another or the file cannot be written.
    """
    check_ending(path)
    scores = {}
    for place, name in enumerate(run.prompts):
        rows = run.store.read(place)
        scores[name] = rows["score"].to_numpy()
    tokens = rows.select(["token_id", "token", "decoded"]).rename_columns(list(TOKEN_COLUMNS))
    table = pd.concat([tokens.to_pandas(), pd.DataFrame(scores)], axis=1)
    try:
        with whole(path) as temporary:
            if path.suffix == ".csv":  # all text quoted: tokens hold every kind of line end
                table.to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC)
            else:
                table.to_parquet(temporary, index=False)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}).") from error


def check_ending(path: Path) -> None:
    """Refuse other files than CSV and Parquet.

    Raises:
        DataError: if the ending is another.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise DataError(f"{path} is neither .csv nor .parquet; name the file so.")
