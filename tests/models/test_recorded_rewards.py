import contextlib
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance

from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.models.recorded_rewards import RecordedRewards, read_scores
from rm_value_tasks.prompts import by_id
from rm_value_tasks.scores import Reward

BEST, WORST = by_id("best_ever_one"), by_id("worst_ever_one")
EXPECTED = {(BEST.text, "love"): 1.5, (BEST.text, "nan"): -2.0, (WORST.text, "love"): 0.25}


def write(path, rows):
    frame = pd.DataFrame(rows)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("prompts", [(BEST.id, WORST.id), (BEST.text, WORST.text)])
def test_long_form(tmp_path, ending, prompts):
    best, worst = prompts
    rows = [
        {"prompt": best, "response": "love", "score": 1.5},
        {"prompt": best, "response": "nan", "score": -2.0},
        {"prompt": worst, "response": "love", "score": 0.25},
    ]
    assert read_scores(write(tmp_path / f"scores.{ending}", rows)) == EXPECTED


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_wide_form_leaves_empty_cells_out(tmp_path, ending):
    rows = [
        {"response": "love", BEST.id: 1.5, WORST.id: 0.25, "note": 9},
        {"response": "nan", BEST.id: -2.0, WORST.id: None, "note": 9},
    ]
    assert read_scores(write(tmp_path / f"scores.{ending}", rows)) == EXPECTED


@given(
    st.dictionaries(
        st.text("abcdefghij -'", min_size=1).filter(lambda word: word.strip() == word),
        st.floats(-1e6, 1e6),
        min_size=1,
    )
)
def test_a_file_gives_back_what_was_written(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    rows = [{"prompt": BEST.id, "response": w, "score": repr(s)} for w, s in scores.items()]
    assert read_scores(write(path, rows)) == {(BEST.text, w): s for w, s in scores.items()}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "no file .*gone.csv"),
        ("scores.xlsx", "", "none of .csv, .parquet, .jsonl"),
        ("scores.csv", "", "cannot be read as csv"),
        ("scores.csv", "<!DOCTYPE html><title>404</title>", "has the columns <!DOCTYPE"),
        ("scores.csv", "response,nicest_ever_one\nlove,1\n", "one column for each prompt id"),
        ("scores.csv", "response,best_ever_one\nlove,high\n", "'high' where the score of 'love'"),
        ("scores.csv", "response,best_ever_one\nlove,1\nlove,2\n", "two scores, 1.0 and 2.0"),
        ("scores.parquet", "not parquet", "cannot be read as parquet"),
        ("scores.jsonl", '{"prompt": ', "cannot be read as jsonl"),
        ("scores.csv", "response,best_ever_one,best_ever_one\nlove,1,2\n", "'best_ever_one' twice"),
        ("scores.csv", "prompt,response,score,score\nx,love,1,2\n", "'score' twice"),
        ("scores.csv", "prompt,response,score\nx,love,1_000\n", "'1_000' where the score"),
        ("scores.csv", "prompt,response,score\nx,love,١\n", "where the score"),
        ("scores.csv", "response,best_ever_one,score\nlove,1,2\n", "a column score beside"),
        ("scores.csv", "response,best_ever_one\nlove,true\n", "'true' where the score"),
        ("scores.jsonl", '{"prompt": "x", "response": "a", "score": true}', "True where the score"),
        (
            "scores.jsonl",
            '{"prompt": "x", "response": "a", "score": 1, "score": 2}',
            "'score' twice",
        ),
        ("scores.jsonl", '{"prompt": "x", "response": "a", "score": [1]}', "should be a number"),
        ("scores.jsonl", '{"prompt": "x", "response": "a", "score": 1}\n0\n', "'0' in line 2"),
        ("scores.jsonl", f'{{"prompt": "x", "response": "a", "score": 1{"0" * 400}}}', "a number"),
        ("scores.jsonl", "[" * 100_000, "cannot be read as jsonl"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_scores(path)


def test_empty_columns_of_a_spreadsheet_are_left_out(tmp_path):
    (tmp_path / "scores.csv").write_text("prompt,response,score,,\nx,love,1.5,,\n")
    assert read_scores(tmp_path / "scores.csv") == {("x", "love"): 1.5}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_every_float_is_the_one_that_was_written(tmp_path, ending):
    drawn = np.random.default_rng(0).normal(size=5000).tolist()
    rows = [{"prompt": "x", "response": str(i), "score": s} for i, s in enumerate(drawn)]
    found = read_scores(write(tmp_path / f"scores.{ending}", rows))
    assert [found["x", str(i)] for i in range(len(drawn))] == drawn


@pytest.mark.parametrize(
    "scores",
    [
        [pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-02")],
        [pd.Timedelta(days=1), pd.Timedelta(days=2)],
        [True, False],
        [b"1", b"2"],
    ],
    ids=["dates", "durations", "truth values", "bytes"],
)
def test_what_pandas_takes_for_numbers_is_none(tmp_path, scores):
    rows = {"prompt": ["x", "x"], "response": ["a", "b"], "score": scores}
    pd.DataFrame(rows).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(DataError, match="where the score of 'a' for 'x' should be a number"):
        read_scores(tmp_path / "scores.parquet")


def test_a_line_of_json_may_hold_other_line_ends(tmp_path):
    row = {"prompt": "x\u2028y", "response": "a\u0085\u2029b", "score": 1.5}
    (tmp_path / "scores.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    assert read_scores(tmp_path / "scores.jsonl") == {("x\u2028y", "a\u0085\u2029b"): 1.5}


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["csv", "jsonl", "parquet"]),
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.text('{}[],:"0123.eE-truefalsn \n\r\tprompt,response,score', max_size=80).map(str.encode),
    st.integers(0, 400),
)
def test_no_bytes_make_a_traceback(tmp_path_factory, ending, content, place):
    """Random bytes, and a sound file with random bytes put into it."""
    folder = tmp_path_factory.mktemp("fuzz")
    rows = [{"prompt": "x", "response": str(i), "score": i / 3} for i in range(3)]
    sound = write(folder / f"sound.{ending}", rows).read_bytes()
    for data in (content, sound[:place] + content + sound[place + len(content) :]):
        path = folder / f"scores.{ending}"
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            assert all(isinstance(score, float) for score in read_scores(path).values())


def request(context, continuation, index=0):
    return Instance("loglikelihood", {}, (context, continuation), index, metadata=("probe", 0, 1))


@pytest.fixture
def model(tmp_path):
    rows = [{"prompt": p, "response": r, "score": s} for (p, r), s in EXPECTED.items()]
    return RecordedRewards(str(write(tmp_path / "scores.jsonl", rows)), batch_size=1, device="cpu")


def test_lookup_with_and_without_the_chat_template(model):
    plain = [request(BEST.text, " love"), request(WORST.text, " love")]
    chat = model.apply_chat_template([{"role": "user", "content": BEST.text}])
    assert model.loglikelihood(plain) == [(1.5, False), (0.25, False)]
    ((score, _),) = model.loglikelihood([request(chat, "love")])
    assert (score, type(score)) == (1.5, Reward)


def test_a_missing_pair_stops_the_run(model):
    asked = [request(BEST.text, " love"), request(WORST.text, " nan"), request("Q", " x")]
    with pytest.raises(ModelError, match="no score for 2 of the 3 .*first 'nan' to 'What, in one"):
        model.loglikelihood(asked)


def test_a_score_of_the_bare_prompt_is_not_one_of_a_longer_conversation(model):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": BEST.text}]
    with pytest.raises(ModelError, match="system: Be brief"):
        model.loglikelihood([request(model.apply_chat_template(turns), "love")])


def test_other_requests_are_refused(model):
    with pytest.raises(ModelError, match="probe asks for perplexities"):
        model.loglikelihood_rolling([request("", "")])
    with pytest.raises(ModelError, match="probe asks for generated text"):
        model.generate_until([request("", "")])
