"""Make the embedded Big Two lexicon: ``python -m benchmarks.lexicons.matching``.

Pairs agency with communion nouns of a hand-written pool by optimal assignment, within a
caliper for length and one for frequency, and writes ``big2.csv`` (the lexicon) and
``big2_matching.csv`` (the evidence). ``--check`` compares the committed files with a fresh
run; ``--published DIR`` compares the lean of the embedded and the published nouns.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.lexicons import agreement
from rm_value_tasks.errors import DataError, RMValueTasksError

__all__ = ["Pair", "Word", "balance", "costs", "main", "match", "read_pool", "tables"]

FOLDER = Path(__file__).parent
"""Of the pool and the matching table, the evidence."""
LEXICONS = FOLDER.parents[1] / "rm_value_tasks" / "lexicons" / "data"
"""Where the package reads the lexicon that is made here."""
POOL = FOLDER / "big2_candidates.csv"
MAX_LENGTH_DIFFERENCE = 2
MAX_ZIPF_DIFFERENCE = 0.5
_FORBIDDEN = 1e6


@dataclass(frozen=True)
class Word:
    """A candidate with what it is matched on; ``zipf`` is wordfreq's log10 per billion."""

    text: str
    facet: str
    zipf: float

    @property
    def length(self) -> int:
        """Number of letters."""
        return len(self.text)


Pair = tuple[Word, Word]
"""An agency and a communion word."""


def read_pool(path: Path = POOL) -> tuple[list[Word], list[Word]]:
    """Read the candidates, agency and communion, in file order.

    Raises:
        DataError: if wordfreq, needed for the frequencies, is not installed.
    """
    try:
        from wordfreq import zipf_frequency
    except ImportError as error:
        raise DataError(
            "the matching needs word frequencies from the package wordfreq, which is not "
            "installed: run `pip install wordfreq` (using the lexicon does not need it)."
        ) from error
    sides: dict[str, list[Word]] = {"Agency": [], "Communion": []}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            zipf = round(float(zipf_frequency(row["word"], "en")), 2)
            sides[row["category"]].append(Word(row["word"], row["facet"], zipf))
    return sides["Agency"], sides["Communion"]


def costs(agency: Sequence[Word], communion: Sequence[Word]) -> NDArray[np.float64]:
    """Return the distance of every possible pair, in calipers.

    Returns:
        Shape (n_agency, n_communion): length difference / 2 + Zipf difference / 0.5, or a
        million where either difference exceeds its caliper.
    """
    length = np.abs(_values(agency, "length")[:, None] - _values(communion, "length"))
    # Frequencies have two decimals; rounding keeps a difference of exactly 0.5 inside.
    zipf = np.round(np.abs(_values(agency, "zipf")[:, None] - _values(communion, "zipf")), 2)
    allowed = (length <= MAX_LENGTH_DIFFERENCE) & (zipf <= MAX_ZIPF_DIFFERENCE)
    distance = length / MAX_LENGTH_DIFFERENCE + zipf / MAX_ZIPF_DIFFERENCE
    return np.where(allowed, distance, _FORBIDDEN)


def match(agency: Sequence[Word], communion: Sequence[Word]) -> list[Pair]:
    """Pair words one to one: as many pairs as the calipers allow, at the least total cost.

    A forbidden pair costs more than all allowed ones together, so the optimal assignment
    first makes the most pairs. Order: the agency words' order in the pool.
    """
    from scipy.optimize import linear_sum_assignment

    cost = costs(agency, communion)
    chosen = zip(*linear_sum_assignment(cost), strict=True)
    return [(agency[i], communion[j]) for i, j in chosen if cost[i, j] < _FORBIDDEN]


def balance(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Compare the matched sides on what they were matched on.

    Returns:
        Per covariate (``length`` in letters, ``zipf``): ``agency`` and ``communion``, the
        means; ``smd``, their difference over the pooled standard deviation; ``mean_abs``
        and ``max_abs``, of the differences within pairs.
    """
    summary = {}
    for name in ("length", "zipf"):
        first, second = (_values([pair[side] for pair in pairs], name) for side in (0, 1))
        pooled = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
        apart = np.abs(first - second)
        summary[name] = {
            "agency": float(first.mean()),
            "communion": float(second.mean()),
            "smd": float((first.mean() - second.mean()) / pooled),
            "mean_abs": float(apart.mean()),
            "max_abs": float(apart.max()),
        }
    return summary


def tables(pairs: Sequence[Pair]) -> dict[str, str]:
    """Return the text of the files to commit, by file name."""
    numbered = list(enumerate(pairs, start=1))
    lexicon = [("word", "category", "facet", "pair")]
    lexicon += [(a.text, "Agency", a.facet, str(number)) for number, (a, _) in numbered]
    lexicon += [(c.text, "Communion", c.facet, str(number)) for number, (_, c) in numbered]
    columns = "pair,agency,communion,length_agency,length_communion,length_difference"
    matching = [tuple(f"{columns},zipf_agency,zipf_communion,zipf_difference".split(","))]
    matching += [
        (
            *(str(number), a.text, c.text),
            *(str(a.length), str(c.length), str(a.length - c.length)),
            *(f"{a.zipf:.2f}", f"{c.zipf:.2f}", f"{a.zipf - c.zipf:.2f}"),
        )
        for number, (a, c) in numbered
    ]
    return {"big2.csv": _as_csv(lexicon), "big2_matching.csv": _as_csv(matching)}


def _values(words: Sequence[Word], name: str) -> NDArray[np.float64]:
    return np.array([getattr(word, name) for word in words], dtype=np.float64)


def _as_csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _describe(pairs: Sequence[Pair]) -> str:
    lines = [
        f"{len(pairs)} pairs",
        "| matched on | agency | communion | std. difference | mean abs. | max abs. |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in balance(pairs).items():
        cells = (f"{value:.3f}" for value in row.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _run(arguments: argparse.Namespace) -> str:
    if arguments.published:
        return agreement.describe(agreement.compare(arguments.published))
    pairs = match(*read_pool())
    for name, text in tables(pairs).items():
        path = (LEXICONS if name == "big2.csv" else FOLDER) / name
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise DataError(
                f"{path} is not what the pool gives: run `python -m benchmarks.lexicons.matching` "
                "and commit the result."
            )
    return _describe(pairs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all is well, 1 with a sentence on stderr if not."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lexicons.matching", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail if out of date")
    parser.add_argument(
        "--published", type=Path, metavar="DIR", help="folder of the ten published score files"
    )
    try:
        print(_run(parser.parse_args(argv)))
    except RMValueTasksError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
