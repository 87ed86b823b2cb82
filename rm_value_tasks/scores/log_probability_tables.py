"""Next-token log-probabilities of whole vocabularies, read from files.

Three forms are read as one: the CSV files of Christian et al. (arXiv 2601.20838;
``token_id``, ``token_name``, ``token_decoded`` and one column for each prompt id), the same
columns in Parquet, and the ``tokens.parquet`` that ``rm-value-tasks tokens`` writes for a
language model.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import PROMPTS

__all__ = ["TOKEN_COLUMNS", "LogProbabilities", "is_token_table", "read"]

TOKEN_COLUMNS = ("token_id", "token_name", "token_decoded")
"""What a token is: its id, how the vocabulary spells it, the text it alone stands for."""

_LONG = {"token_id", "token", "decoded", "prompt_id", "prompt", "score"}
_TEXTS = {prompt.id: prompt.text for prompt in PROMPTS}
_IDS = {text: name for name, text in _TEXTS.items()}
_RUN_FILE = "tokens.parquet"
_LOST = "\N{REPLACEMENT CHARACTER}"
_ROUNDING = 1e-6
_ROWS = 16384
_SUM = 1.01
"""Probabilities may add up to this much: float32's rounding over 256,000 tokens, not more."""


@dataclass(frozen=True)
class LogProbabilities:
    """One model's natural log-probabilities of every token as the next one.

    Attributes:
        name: the model: a CSV file's stem, ``--`` read as ``/``, or what the run recorded.
        table: one row for each token: ``TOKEN_COLUMNS`` (int and two strings) and one float
            column for each prompt.
        prompts: prompt id -> text; a column that is neither id nor text of the 54 keeps its
            name as both.
    """

    name: str
    table: pd.DataFrame
    prompts: Mapping[str, str]

    def of_texts(self, prompt: str) -> pd.Series:
        """Return the log-probability of each text that some token stands for.

        Tokens that decode alike count together: their probabilities add. Tokens that are no
        text (nothing, or part of a character) are left out. Letter case and spaces are kept.

        Args:
            prompt: one of ``prompts``.

        Returns:
            Indexed by text, in the order of first appearance.

        Raises:
            DataError: if there is no such prompt.
        """
        if prompt not in self.prompts:
            raise DataError(_no_prompt(self.name, prompt, self.prompts))
        texts = self.table["token_decoded"]
        rows = self.table[(texts != "") & ~texts.str.contains(_LOST, regex=False)]
        if rows.empty:
            raise DataError(f"no token of {self.name} stands for text (token_decoded).")
        codes, distinct = pd.factorize(rows["token_decoded"])
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(len(distinct)))
        logs = rows[prompt].to_numpy(float)[order]
        return pd.Series(np.logaddexp.reduceat(logs, starts), index=pd.Index(distinct, dtype=str))


def is_token_table(path: str | Path) -> bool:
    """Return whether a path looks like what ``read`` takes, from its columns alone."""
    path = Path(path)
    if path.is_dir():
        return (path / _RUN_FILE).is_file()
    try:
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
            return set(names) >= _LONG or set(names) >= set(TOKEN_COLUMNS)
        return path.suffix == ".csv" and set(_header(path)[0]) >= set(TOKEN_COLUMNS)
    except (OSError, ValueError, csv.Error, pa.ArrowException):
        return False


def read(path: str | Path, prompts: Sequence[str] | None = None) -> LogProbabilities:
    """Read one model's log-probabilities.

    Args:
        path: a ``.csv`` or ``.parquet`` file, or the folder of a ``tokens`` run.
        prompts: ids of the prompts to read; all if None. Fewer save time and memory.

    Raises:
        DataError: if the file cannot be read, lacks a column or a prompt, names a column or
            a token id twice, or holds what cannot be log-probabilities: text, gaps, NaN,
            infinities, numbers above 0, probabilities that add up to more than one, rewards.
    """
    path = Path(path)
    if path.is_dir():
        path = path / _RUN_FILE
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{path} is neither .csv nor .parquet nor the folder of a tokens run.")
    try:
        found = readers[path.suffix](path, prompts)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; give a table of log-probabilities.") from None
    except (
        OSError, ValueError, RecursionError, csv.Error, pd.errors.ParserWarning, pa.ArrowException,
    ) as error:  # fmt: skip
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{path} cannot be read as {path.suffix[1:]} ({reason}).") from error
    _check(path, found)
    return replace(found, table=found.table.astype({"token_id": "int64"}))


def _read_csv(path: Path, wanted: Sequence[str] | None) -> LogProbabilities:
    header, windows = _header(path)
    if repeated := [name for name in dict.fromkeys(header) if header.count(name) > 1]:
        raise DataError(f"{path} has the column {repeated[0]!r} twice; keep one.")
    if "" in header:
        raise DataError(f"{path} has a column without a name; name it, or leave it out.")
    columns = _columns(path, header, wanted)
    # A lone carriage return is a token, which some writers do not quote.
    ending = None if windows else "\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # fields without a column
        parts = pd.read_csv(
            path,
            dtype=dict.fromkeys(TOKEN_COLUMNS[1:], str),
            index_col=False,
            keep_default_na=False,  # "null" and "NA" are tokens
            encoding="utf-8-sig",
            lineterminator=ending,
            chunksize=_ROWS,  # all columns are parsed, as usecols lets surplus fields pass
        )
        kept = [part[[*TOKEN_COLUMNS, *columns]] for part in parts]
    table = pd.concat(kept, ignore_index=True)
    return _wide(path.stem.replace("--", "/"), table, columns)


def _header(path: Path) -> tuple[list[str], bool]:
    """Return a CSV file's column names, and whether its lines end as on Windows."""
    with path.open("rb") as file:
        first = file.readline()
    return next(csv.reader([first.decode("utf-8-sig")]), []), first.endswith(b"\r\n")


def _read_parquet(path: Path, wanted: Sequence[str] | None) -> LogProbabilities:
    schema = pq.read_schema(path)
    if not set(schema.names) >= _LONG:
        columns = _columns(path, schema.names, wanted)
        table = pd.read_parquet(path, columns=[*TOKEN_COLUMNS, *columns])
        return _wide(path.stem.replace("--", "/"), table, columns)
    settings = json.loads((schema.metadata or {}).get(b"rm_value_tasks", b"{}"))
    if settings and settings.get("score_kind") != "log-probability":
        raise DataError(
            f"{path} holds rewards, which are not log-probabilities; make it with "
            "rm-value-tasks tokens --model hf."
        )
    tokens, scores, texts = _by_prompt(path, wanted)
    for prompt in wanted or ():
        if prompt not in texts:
            raise DataError(_no_prompt(path, prompt, texts))
    table = tokens[["token", "decoded"]].set_axis(list(TOKEN_COLUMNS[1:]), axis=1)
    for prompt, column in scores.items():  # a gap becomes NaN, which is refused
        table[prompt] = column.reindex(table.index)
    texts = {prompt: texts[prompt] for prompt in scores}
    return LogProbabilities(_name(path, settings), table.reset_index(), texts)


def _by_prompt(
    path: Path, wanted: Sequence[str] | None
) -> tuple[pd.DataFrame, dict[str, pd.Series], dict[str, str]]:
    """Return the tokens, each prompt's scores by token id, and every prompt's text.

    A run writes one row group a prompt; all at once would take memory for the tokens' text
    as often as there are prompts.
    """
    tokens: list[pd.DataFrame] = []
    parts: dict[str, list[pd.Series]] = {}
    texts: dict[str, str] = {}
    options = {"read_dictionary": ["prompt_id", "prompt"], "page_checksum_verification": True}
    with pq.ParquetFile(path, **options) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, ["prompt_id", "prompt", "token_id", "score"])
            frame = rows.to_pandas().astype({"score": float})
            for name, own in frame.groupby("prompt_id", sort=False, observed=True):
                prompt = str(name)
                texts.setdefault(prompt, str(own["prompt"].iloc[0]))
                if prompt == next(iter(texts)):
                    spelt = file.read_row_group(group, ["token_id", "token", "decoded"])
                    tokens.append(spelt.to_pandas().loc[own.index])
                if wanted is None or prompt in wanted:
                    parts.setdefault(prompt, []).append(own.set_index("token_id")["score"])
    if not tokens:
        raise DataError(f"{path} has no rows; needed is one for each token.")
    table = pd.concat(tokens).set_index("token_id")
    scores = {prompt: pd.concat(columns) for prompt, columns in parts.items()}
    if any(found.index.has_duplicates for found in (table, *scores.values())):
        raise DataError(f"{path} has a token twice for one prompt; keep one row for each.")
    return table, scores, texts


def _name(path: Path, settings: Mapping[str, Any]) -> str:
    given = str(settings.get("model_args", {}).get("pretrained", ""))
    if given:
        return Path(given).name if given.startswith((".", "/")) else given
    return path.parent.name if path.stem == "tokens" else path.stem


def _columns(path: Path, names: Sequence[str], wanted: Sequence[str] | None) -> dict[str, str]:
    """Return column -> prompt id of the columns to read."""
    if missing := [name for name in TOKEN_COLUMNS if name not in names]:
        raise DataError(
            f"{path} has no column {missing[0]}; needed are {', '.join(TOKEN_COLUMNS)} and one "
            f"column for each prompt id, got {', '.join(map(str, names[:6])) or 'nothing'}."
        )
    columns = {name: _IDS.get(name, name) for name in names if name not in TOKEN_COLUMNS}
    if not columns:
        raise DataError(f"{path} has no prompt's column; needed is one for each prompt id.")
    for prompt in wanted or ():
        if prompt not in columns.values():
            raise DataError(_no_prompt(path, prompt, columns.values()))
    return {name: prompt for name, prompt in columns.items() if wanted is None or prompt in wanted}


def _wide(name: str, table: pd.DataFrame, columns: Mapping[str, str]) -> LogProbabilities:
    table = table.rename(columns=columns)[[*TOKEN_COLUMNS, *columns.values()]]
    return LogProbabilities(name, table, {id_: _TEXTS.get(id_, id_) for id_ in columns.values()})


def _no_prompt(path: Path | str, prompt: str, known: Any) -> str:
    names = list(known)
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{path} has no prompt {prompt!r}; it has {', '.join(names[:6])}{more}."


def _check(path: Path, found: LogProbabilities) -> None:
    table = found.table
    if table.empty:
        raise DataError(f"{path} has no rows; needed is one for each token.")
    if not is_integer_dtype(table["token_id"]):
        raise DataError(f"{path} has a token_id that is no whole number; it may have been cut off.")
    if table["token_id"].duplicated().any():
        twice = table["token_id"][table["token_id"].duplicated()].iloc[0]
        raise DataError(f"{path} has the token_id {twice} twice; keep one row for each token.")
    for name in TOKEN_COLUMNS[1:]:
        if not all(isinstance(text, str) for text in table[name]):
            raise DataError(f"{path} has a {name} that is no text (bytes, perhaps); decode it.")
    for prompt in found.prompts:
        _check_column(path, prompt, table)


def _check_column(path: Path, prompt: str, table: pd.DataFrame) -> None:
    logs = table[prompt]
    if not is_numeric_dtype(logs):
        logs = pd.to_numeric(logs, errors="coerce")
    values = logs.to_numpy(float)
    wrong = ~np.isfinite(values) | (values > _ROUNDING)
    if wrong.any():
        row = table[wrong].iloc[0]
        raise DataError(
            f"{path} has {row[prompt]!r} for token {row['token_id']} ({row['token_decoded']!r}) "
            f"and {prompt!r}; needed is a natural log-probability, a finite number of at most 0."
        )
    total = np.exp(values).sum()
    if total > _SUM:
        raise DataError(
            f"{path} has probabilities for {prompt!r} that add up to {total:.3g}; needed are "
            "natural log-probabilities of one distribution, so of at most 1 together."
        )
