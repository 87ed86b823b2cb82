"""A lexicon's leans are the same in lm_eval and in every analysis, whatever its shape."""

import numpy as np
import pandas as pd
import pytest

from rm_value_tasks.analyses import tracing
from rm_value_tasks.analyses.compare import compare
from rm_value_tasks.analyses.durability.draws import checkpoint_draws
from rm_value_tasks.analyses.gate import judge
from rm_value_tasks.lexicons import parse
from rm_value_tasks.lexicons.lean_groups import lean_groups
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.results import load
from tests import runs

SHAPES = {
    "two": ["Agency", "Communion"],
    "one foundation": ["Care/Virtue", "Care/Vice"],
    "two foundations": ["Care/Virtue", "Care/Vice", "Fair/Virtue", "Fair/Vice"],
    "a side alone": ["Care/Virtue", "Fair/Virtue", "Fair/Vice"],
    "plain three": ["Warmth", "Drive", "Calm"],
    "mixed": ["Warmth", "Care/Virtue", "Care/Vice"],
}


def run_on(folder, categories):
    """A recorded run of four words a category, one of them in two categories of three or more."""
    rows = [(f"w{i}x{j}", name) for i, name in enumerate(categories) for j in range(4)]
    if len(categories) > 2:
        rows.append((rows[0][0], categories[1]))
    lexicon = folder / "words.csv"
    pd.DataFrame(rows, columns=["word", "category"]).to_csv(lexicon, index=False)
    prompts = [prompt.id for twin in TWINS[:3] for prompt in twin]
    words = list(dict.fromkeys(word for word, _ in rows))
    drawn = np.random.default_rng(len(rows)).normal(size=(len(words), len(prompts)))
    table = pd.DataFrame(drawn, index=pd.Index(words, name="response"), columns=prompts)
    table.to_csv(folder / "scores.csv")
    arguments = {"path": str(folder / "scores.csv")}
    tasks, options = ["value_bias_big2"], {"prompts": prompts, "lexicon": str(lexicon)}
    return load(runs.evaluate(folder / "run", "recorded-rewards", arguments, tasks, **options))


@pytest.mark.parametrize("shape", SHAPES)
def test_all_agree_on_every_shape_of_lexicon(shape, tmp_path):
    results = run_on(tmp_path, SHAPES[shape])
    (run,) = results.runs
    assert run.metrics
    found = compare(results, results)
    leans = found.table.set_index("metric")["first"]
    assert leans.to_dict() == pytest.approx(dict(run.metrics), abs=1e-9)
    traced = tracing.trace(tracing.align({("A", "base"): results}))
    measured = traced.leans.set_index("metric")["estimate"]
    for metric, value in run.metrics.items():
        assert judge(found, metric, 0.9, None).exit_code in (0, 1)
        draws = checkpoint_draws(results, run.task, metric, [run.model])
        (wins,) = draws.wins.values()
        assert wins.mean() / 2 == pytest.approx(value, abs=1e-9)
        if metric in measured.index:
            assert measured[metric] == pytest.approx(value, abs=1e-9)


def test_vices_are_compared_with_vices_and_no_word_with_itself():
    content = "word,category\na,X/Virtue\nb,X/Vice\nc,Y/Virtue\nd,Y/Vice\na,Y/Virtue\n"
    groups = {group.stem: group for group in lean_groups(parse(content.encode(), "mine"))}
    # Words in the order of the file: a b c d.
    assert groups["x_virtue"].others.tolist() == [False, False, True, False]
    assert groups["y_vice"].others.tolist() == [False, True, False, False]
    assert not any((group.members & group.others).any() for group in groups.values())
