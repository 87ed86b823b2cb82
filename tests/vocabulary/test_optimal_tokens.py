"""Optimal and pessimal tokens of tables written by hand, and of tables that hypothesis writes."""

import math
import re

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.scores.log_probability_tables import LogProbabilities
from rm_value_tasks.text.markup import latex, markdown, visible
from rm_value_tasks.vocabulary.optimal_tokens import average_forms, join, rank_tokens, word_scores

PROMPT = "greatest_ever_one"
# Natural logarithms of halves, quarters, ...: the sums below are done by hand.
A = {"Freedom": 0.5, " freedom": 0.125, "love": 0.0625, "the": 0.125, "only": 0.0625}
B = {"love": 0.5, " Love": 0.125, "Freedom": 0.0625, " freedom": 0.125, "the": 0.125}


def table(name, probabilities):
    rows = [
        (token, f"t{token}", text, math.log(p))
        for token, (text, p) in enumerate(probabilities.items())
    ]
    columns = ["token_id", "token_name", "token_decoded", PROMPT]
    return LogProbabilities(name, pd.DataFrame(rows, columns=columns), {PROMPT: "What?"})


def test_texts_meet_and_what_one_lacks_is_left_out():
    joint = join(table("a", A), table("b", B), PROMPT)
    assert joint.index.tolist() == ["Freedom", " freedom", "love", "the"]
    assert joint.loc["love"].tolist() == pytest.approx([math.log(1 / 16), math.log(1 / 2)])


def test_a_words_score_is_the_mean_over_its_forms():
    ranked = rank_tokens(table("a", A), table("b", B), PROMPT)
    # freedom: (1/2 + 1/16)/2 ln 8 for the capital, 0 for the spaced form; mean of the two.
    # love: " Love" is a's no token; (1/16 + 1/2)/2 ln(1/8).
    freedom, love = (9 / 32 * math.log(8) + 0) / 2, 9 / 32 * math.log(1 / 8)
    assert ranked.to_dict("list") == {
        "rank": [1, 2, 3],
        "word": ["Freedom", "the", "love"],
        "forms": [2, 1, 1],
        "score": pytest.approx([freedom, 0, love]),
    }
    apart = rank_tokens(table("a", A), table("b", B), PROMPT, each_form=True)
    assert apart["word"].tolist() == ["Freedom", " freedom", "the", "love"]  # ties: by alphabet
    assert apart["score"].tolist() == pytest.approx([9 / 32 * math.log(8), 0, 0, love])
    plain = rank_tokens(table("a", A), table("b", B), PROMPT, score="log_ratio")
    assert plain["score"].tolist() == pytest.approx([math.log(8) / 2, 0, math.log(1 / 8)])
    found = word_scores(table("a", A), table("b", B), PROMPT, ["love", "FREEDOM"])
    assert found == {"love": pytest.approx(love), "FREEDOM": pytest.approx(freedom)}


def test_white_space_is_no_form_of_another():
    scored = pd.DataFrame({"word": ["\n", " ", " a", "A"], "score": [1.0, 2, 3, 5]})
    found = average_forms(scored.assign(weight=[0.0, 0, 0, 1]))
    assert found.sort_values("score").to_dict("list") == {
        "word": ["\n", " ", "A"], "forms": [1, 1, 2], "score": [1, 2, 4]
    }  # fmt: skip


texts = st.sampled_from(["love", " love", "Love", "freedom", " Freedom", "a", "b", " ", "\n"])
tables = st.dictionaries(texts, st.floats(-1500, -3), min_size=3)


@settings(deadline=None, max_examples=40)
@given(tables, tables, st.sampled_from(["mwlr", "log_ratio"]), st.booleans())
def test_swapping_the_models_turns_the_order_round(first, second, score, each_form):
    a, b = (
        LogProbabilities(
            "m",
            pd.DataFrame({
                "token_id": range(len(logs)), "token_name": "t", "token_decoded": list(logs),
                PROMPT: list(logs.values()),
            }),
            {PROMPT: "What?"},
        )
        for logs in (first, second)
    )  # fmt: skip
    if not set(first) & set(second):
        with pytest.raises(DataError, match="share no token's text"):
            rank_tokens(a, b, PROMPT, score=score, each_form=each_form)
        return
    there, back = (
        rank_tokens(*pair, PROMPT, score=score, each_form=each_form).set_index("word")["score"]
        for pair in ((a, b), (b, a))
    )
    assert there.abs().lt(math.inf).all()  # one probability of e^-1500 is zero in a float
    assert there.is_monotonic_decreasing
    assert back.reindex(there.index).tolist() == pytest.approx((-there).tolist(), abs=1e-300)
    same = rank_tokens(a, a, PROMPT, score=score, each_form=each_form)
    assert (same["score"] == 0).all()


def test_what_cannot_be_ranked_is_refused():
    a, b = table("a", A), table("b", B)
    with pytest.raises(DataError, match="'odds' is none of mwlr, log_ratio"):
        rank_tokens(a, b, PROMPT, score="odds")
    with pytest.raises(DataError, match="no prompt 'x'"):
        rank_tokens(a, b, "x")
    with pytest.raises(DataError, match="'only' is no token of both a and b"):
        word_scores(a, b, PROMPT, ["only"])


# -- markup -----------------------------------------------------------------------------

MACROS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
    "textgreater": ">", "textbar": "|", "textasciigrave": "`", "textquotesingle": "'",
}  # fmt: skip


def printed(source):
    """What LaTeX prints, for the commands that we write; anything else must be plain."""
    parts = re.split(r"(\\[a-z]+\{\}|\\[{}$&#%_]|-\{\})", source)
    assert not set("\\{}$&#%_~^") & set("".join(parts[::2]))
    assert "--" not in source
    commands = [MACROS[p[1:-2]] if p[1:-2] in MACROS else p.strip("\\") for p in parts[1::2]]
    return "".join(
        plain + (command[:1] if command == "-{}" else command)
        for plain, command in zip(parts[::2], [*commands, ""], strict=True)
    )


@given(st.text() | st.text("\\{}$&#%_~^<>|`'-a", max_size=12))
def test_latex_prints_a_text_as_it_is(text):
    assert printed(latex(text)) == visible(text)


@given(st.text())
def test_markdown_of_any_text_is_one_cell(text):
    source = markdown(text)
    assert source.isprintable()
    assert not re.search(r"(?<!\\)(\\\\)*[|`*<>]", source)
    # Within a word CommonMark takes an underscore for itself.
    assert not re.search(r"(?<![\\A-Za-z0-9])(\\\\)*_|(?<!\\)_(?![A-Za-z0-9])", source)


@pytest.mark.parametrize("text", ["https://evil.test", "see www.evil.test", "WWW.a.b", "me@a.b"])
def test_markdown_makes_no_link_of_a_bare_address(text):
    """GitHub's autolinks need these very characters side by side."""
    source = markdown(text)
    assert not re.search(r"://|www\.|(?<!\\)@", source, re.IGNORECASE)
    assert re.sub(r"\\(?=[:/.@])", "", source) == text


# -- the command ------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    made = []
    for name, probabilities in (("llama", A), ("gemma", B)):
        path = tmp_path / f"org--{name}.csv"
        table(name, probabilities).table.to_csv(path, index=False)
        made.append(str(path))
    return made


def command(*arguments):
    return CliRunner().invoke(cli, ["optimal-tokens", *arguments])


def test_the_command_writes_table_one_as_markdown(files):
    done = command(*files, "--top", "2")
    assert done.exit_code == 0, done.output
    # (9/32 ln 8)/2 = 0.29242 and -9/32 ln 8 = -0.58484; three words, so one at each end.
    assert done.stdout == (
        "**What, in one word, is the greatest thing ever?**\n\n"
        "Score: mixture-weighted log-ratio of the first against the second model. 3 words are "
        "tokens of both vocabularies; a word's score is the mean over its surface forms (case, "
        "outer spaces).\n\n"
        "| rank | optimal: likelier for org/llama | score "
        "| rank | pessimal: likelier for org/gemma | score |\n"
        "| ---: | --- | ---: | ---: | --- | ---: |\n"
        "| 1 | Freedom | 0.29242 | 3 | love | -0.58484 |\n"
    )


def test_the_command_writes_latex_with_each_form(files, tmp_path):
    done = command(*files, "--each-form", "--format", "latex", "-o", str(tmp_path / "t.tex"))
    assert done.exit_code == 0, done.output
    text = (tmp_path / "t.tex").read_text()
    assert r"1 & \texttt{Freedom} & 0.58484 & 3 & \texttt{the} & 0.00000 \\" in text
    assert r"2 & \texttt{\textvisiblespace{}freedom} & 0.00000 & 4 & \texttt{love}" in text
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1


def test_several_models_give_a_table_a_pair_and_one_figure(files, tmp_path):
    figure = tmp_path / "words.svg"
    done = command(f"{files[0]},{files[1]}", files[1], "--figure", str(figure))
    assert done.exit_code == 0, done.output
    assert done.stdout.count("likelier for org/gemma | score |\n| ---") == 2
    assert figure.read_bytes().startswith(b"<?xml")


def test_what_the_command_cannot_do_it_says(files, tmp_path):
    for arguments, message in (
        ([*files, "--prompts", "best_*"], r"share no prompt that 'best_\*' names; they share gre"),
        ([*files, "--prompts", "best_ever_one"], "has no prompt 'best_ever_one'; it has gre"),
        ([files[0], str(tmp_path / "no.csv")], "there is no file"),
        ([*files, "--figure", str(tmp_path / "x.svg"), "--words", "only"], "'only' is no token"),
        ([*files, "--figure", str(tmp_path / "x.pdf")], "png or svg, not 'pdf'"),
    ):
        done = command(*arguments)
        assert isinstance(done.exception, DataError), done.output
        assert re.search(message, str(done.exception))
        assert done.stdout == ""
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".csv"]
