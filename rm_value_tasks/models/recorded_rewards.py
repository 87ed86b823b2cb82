"""``--model recorded-rewards``: scores looked up in a file instead of computed."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.models.common.conversation import Conversation, messages_of
from rm_value_tasks.models.common.harness import FromArguments
from rm_value_tasks.models.common.reward_model import RewardsOnly
from rm_value_tasks.prompts import PROMPTS
from rm_value_tasks.scores import Reward, log_probability_tables
from rm_value_tasks.scores.log_probability_tables import LogProbabilities

__all__ = ["RecordedRewards", "read_scores"]

_LONG = {"prompt", "response", "score"}
_TEXTS = {prompt.id: prompt.text for prompt in PROMPTS}


def read_scores(path: str | Path) -> dict[tuple[str, str], float]:
    """Read recorded scores.

    Args:
        path: CSV, Parquet or JSONL. Long form: the columns ``prompt`` (an id such as
            ``best_ever_one``, or the prompt's text), ``response`` and ``score``. Wide form:
            ``response`` and one column for each prompt id.

    Returns:
        (prompt text, response) -> score. Empty cells are left out.

    Raises:
        DataError: if the file cannot be read, has neither form, holds text where a score
            should be, or gives a pair two different scores.
    """
    table = _read_table(Path(path))
    ids = [name for name in table.columns if name in _TEXTS]
    if set(table.columns) >= _LONG:
        rows = table[["prompt", "response", "score"]]
    elif "response" in table.columns and ids and "score" in table.columns:
        raise DataError(
            f"{path} has a column score beside columns of prompts ({ids[0]}, ...), so which is "
            "meant is not known; leave one of them out."
        )
    elif "response" in table.columns and ids:
        rows = table.melt("response", ids, var_name="prompt", value_name="score")
    else:
        raise DataError(
            f"{path} has the columns {', '.join(map(str, table.columns[:6]))}; needed are "
            "prompt, response and score, or response and one column for each prompt id."
        )
    numbers = [_number(value) for value in rows["score"].tolist()]
    for place, number in enumerate(numbers):
        if number is None:
            wrong = rows.iloc[place]
            raise DataError(
                f"{path} has {wrong['score']!r} where the score of {wrong['response']!r} for "
                f"{wrong['prompt']!r} should be a number."
            )
    rows = rows.assign(score=np.array(numbers, dtype=np.float64))
    return _unique(path, rows[rows["score"].notna()])


def _number(value: Any) -> float | None:
    """Return a score; NaN for an empty cell, None for what is no number.

    Truth values, dates and durations are numbers to pandas, and no scores.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return math.nan
    if isinstance(value, str):
        value = value.strip() or "nan"
        if "_" in value or not value.isascii():  # numbers to Python, to nobody else
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError):
        return None


def _read_table(path: Path) -> pd.DataFrame:
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": _read_csv,
        ".parquet": pd.read_parquet,
        ".jsonl": _read_jsonl,
    }
    if path.suffix not in readers:
        raise DataError(f"{path} is none of {', '.join(readers)}; convert it to one of them.")
    try:
        table = readers[path.suffix](path).astype(object)  # here, as Arrow decodes text late
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; give path=FILE of the scores.") from None
    except DataError:
        raise
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {reason}.") from error
    _refuse_repeated(path, table.columns)
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    options: Any = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    header = pd.read_csv(path, header=None, nrows=1, **options)  # else "a" twice is "a", "a.1"
    _refuse_repeated(path, header.iloc[0] if len(header) else ())
    return pd.read_csv(path, **options)


def _refuse_repeated(path: Path, names: Iterable[Any]) -> None:
    seen = set()
    for name in names:
        if name in seen and str(name):  # spreadsheets leave empty columns behind
            raise DataError(f"{path} has the column {str(name)!r} twice; keep one.")
        seen.add(name)


def _read_jsonl(path: Path) -> pd.DataFrame:
    """Read objects, one a line; unlike pandas, each float is the one that is written there."""
    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            row = json.loads(line, object_pairs_hook=lambda pairs: _object(path, pairs))
            if not isinstance(row, dict):
                raise DataError(f"{path} has {line.strip()[:40]!r} in line {number}, no object.")
            rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _object(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_repeated(path, [name for name, _ in pairs])
    return dict(pairs)


def _unique(path: str | Path, rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    scores: dict[tuple[str, str], float] = {}
    for prompt, response, score in rows[["prompt", "response", "score"]].itertuples(index=False):
        key = (_TEXTS.get(str(prompt), str(prompt)), str(response))
        if scores.setdefault(key, score) != score:
            raise DataError(
                f"{path} gives the response {response!r} to {prompt!r} two scores, {scores[key]} "
                f"and {score}; keep one."
            )
    return scores


class _TokenScores:
    """Looks up the log-probability of the token that is an answer, joint included."""

    def __init__(self, table: LogProbabilities) -> None:
        self._ids = {text: name for name, text in table.prompts.items()}
        self._of = functools.lru_cache(maxsize=2)(table.of_texts)

    def knows(self, prompt: str) -> bool:
        return prompt in self._ids

    def get(self, key: tuple[str, str], default: float) -> float:
        prompt, answer = key
        if not self.knows(prompt):
            return default
        return float(self._of(self._ids[prompt]).get(answer, default))


class RecordedRewards(RewardsOnly, FromArguments, LM):
    """Answers ``loglikelihood`` requests from a file of recorded scores.

    Args:
        path: see ``read_scores``; or a table of every token's log-probability
            (``log_probability_tables.read``), whose answers are looked up as ``hf`` would
            score them: the space that lm-eval puts before an answer counts, unless a chat
            template applies.
        batch_size: taken because lm-eval passes it; not used.
        max_batch_size: likewise.
        device: likewise.
    """

    kind = "a file of rewards"

    def __init__(
        self, path: str, *, batch_size: Any = None, max_batch_size: Any = None, device: Any = None
    ) -> None:
        super().__init__()
        self._path = Path(path)
        self._of_tokens = log_probability_tables.is_token_table(path)
        self._scores: Mapping[tuple[str, str], float] | _TokenScores
        if self._of_tokens:
            self._scores = _TokenScores(log_probability_tables.read(path))
        else:
            self._scores = read_scores(path)

    @property
    def tokenizer_name(self) -> str:
        """A name for lm-eval's request cache; there is no tokenizer."""
        return "recorded"

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return an empty template: the scores were made with one that is not known here."""
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Return the user's turn as it stands; lookup is by its text."""
        return Conversation(chat_history[-1]["content"], chat_history)

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Look up ``(score, False)`` for each request, in order.

        Raises:
            ModelError: if a pair has no recorded score, saying how many and which first.
        """
        found = [self._scores.get(key, np.nan) for key in self._keys(requests)]
        missing = [i for i, score in enumerate(found) if not np.isfinite(score)]
        if missing:
            prompt, response = list(self._keys(requests))[missing[0]]
            raise ModelError(
                f"{self._path} has no score for {len(missing)} of the {len(requests)} answers "
                f"asked for, first {response!r} to {prompt!r}; {self._advice(prompt)}"
            )
        kind = float if self._of_tokens else Reward
        return [(kind(score), False) for score in found]

    def _advice(self, prompt: str) -> str:
        if not isinstance(self._scores, _TokenScores) or not self._scores.knows(prompt):
            return "record them, or choose a lexicon and prompts that the file covers (--metadata)."
        return (
            "an answer is found if one token stands for it, so keep such words with --metadata "
            f'\'{{"single_token_in": ["{self._path}"]}}\', which names what it drops; where no '
            'chat template applies, bare words need "target_delimiter": "" too.'
        )

    def _keys(self, requests: list[Instance]) -> Iterator[tuple[str, str]]:
        for request in requests:
            context, continuation = request.args
            *before, question, answer = messages_of(context, continuation)
            # A score recorded for the bare prompt is not one for a longer conversation.
            lead = "".join(f"{turn['role']}: {turn['content']}\n" for turn in before)
            plain = self._of_tokens and not isinstance(context, Conversation)
            yield lead + question["content"], continuation if plain else answer["content"]

    def cache_settings(self) -> dict[str, Any]:
        """Return the file's hash and what its scores are."""
        return {key: value for key, value in self.get_model_info().items() if key != "scores_file"}

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        path = self._path / "tokens.parquet" if self._path.is_dir() else self._path
        return {
            "score_kind": "log-probability" if self._of_tokens else "reward",
            "scores_file": path.name,
            "scores_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
