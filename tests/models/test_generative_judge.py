"""``--model generative-judge`` against naive log-probabilities, and its refusals."""

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.generative_judge import CHOICE_PROMPT, RATING_PROMPT, GenerativeJudgeLM
from rm_value_tasks.scores import Reward
from tests import tiny

QUESTION = "What, in one word, is the best thing ever?"
ANSWERS = ["freedom", "love", "family and friendship", "{answer}", "a {lowest} b", "trust"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    return tiny.save(folder, "llama", tiny.build("llama", transformers.AutoModelForCausalLM))


def load(folder, **arguments):
    return GenerativeJudgeLM(str(folder), **{"device": "cpu", "batch_size": 4, **arguments})


def requests(answers=ANSWERS, context=QUESTION, space=" ", documents=1):
    return [
        Instance("loglikelihood", {}, (context, space + answer), index, metadata=("probe", doc, 1))
        for doc in range(documents)
        for index, answer in enumerate(answers)
    ]


def scores(model, *args, **kwargs):
    found = model.loglikelihood(requests(*args, **kwargs), disable_tqdm=True)
    assert {type(score) for score, _ in found} == {Reward}
    return [float(score) for score, _ in found]


@torch.no_grad()
def shares(folder, text, labels):
    """The labels' shares of their probability, where the judge's reply starts."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt",
        return_dict=True,
    )  # fmt: skip
    logits = model(**ids).logits[0, -1]
    return logits[[tokenizer.convert_tokens_to_ids(label) for label in labels]].softmax(-1)


def rating(folder, answer, labels="123456789", prompt=RATING_PROMPT):
    text = prompt.replace("{lowest}", labels[0]).replace("{highest}", labels[-1])
    text = text.replace("{question}", QUESTION).replace("{answer}", answer)
    return (shares(folder, text, labels) @ torch.tensor([float(each) for each in labels])).item()


def test_the_reward_is_the_expected_rating(folder, caplog):
    expected = [rating(folder, answer) for answer in ANSWERS]
    assert len(set(expected)) == len(expected)
    for arguments in ({}, {"shared_prefix": False}, {"batch_size": 1}):
        model = load(folder, **arguments)
        assert scores(model) == pytest.approx(expected, abs=1e-4)
    assert all(1 <= score <= 9 for score in expected)
    info = model.get_model_info()
    assert (info["score_kind"], info["judge_mode"]) == ("reward", "rating")
    assert 0 < info["judge_label_probability"] < 0.5  # nine of 800 tokens, by a random model
    assert "a probability of 0.0" in caplog.text


def test_scale_and_prompt_are_the_users(folder, tmp_path):
    prompt = "Question: {question} Answer: {answer} From {lowest} to {highest}:"
    (tmp_path / "judge.txt").write_text(prompt)
    model = load(folder, ratings="0;1;2", judge_prompt=str(tmp_path / "judge.txt"))
    expected = [rating(folder, answer, "012", prompt) for answer in ANSWERS]
    assert scores(model) == pytest.approx(expected, abs=1e-4)


def test_with_lm_evals_chat_template_the_question_is_the_users_turn(folder):
    model = load(folder)
    context = model.apply_chat_template([{"role": "user", "content": QUESTION}])
    assert scores(model, context=context, space="") == pytest.approx(scores(model))


def test_a_choice_is_the_mean_of_both_orders(folder):
    first, second = "freedom", "family and friendship"

    def wins(a, b):
        text = CHOICE_PROMPT.replace("{question}", QUESTION)
        return shares(folder, text.replace("{answer_a}", a).replace("{answer_b}", b), "AB")

    expected = ((wins(first, second)[0] + wins(second, first)[1]) / 2).item()
    model = load(folder, mode="choice")
    got = scores(model, [first, second], documents=2)
    assert got == pytest.approx([expected, 1 - expected] * 2, abs=1e-5)
    assert scores(model, [second, first]) == pytest.approx([1 - expected, expected], abs=1e-5)


def test_requests_that_fill_up_a_process_change_no_choice(folder):
    model = load(folder, mode="choice")
    asked = requests(["love", "family and friendship"], documents=2)
    plain = model.loglikelihood(asked, disable_tqdm=True)
    # As lm-eval's evaluator does where another process has two requests more.
    assert model.loglikelihood([*asked, asked[-1], asked[-1]], disable_tqdm=True) == [
        *plain, plain[-1], plain[-1]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "pairs"}, "'pairs' is none of rating, choice"),
        ({"ratings": "good;bad"}, "not numbers separated by ';'"),
        ({"ratings": "3"}, "not two or more different numbers"),
        ({"ratings": "1;10"}, "'10' is 2 tokens .* not one"),
        ({"judge_prompt": "nowhere.txt"}, "nowhere.txt.* cannot be read"),
    ],
)
def test_options_that_mean_nothing_are_refused(folder, arguments, message):
    with pytest.raises(ModelError, match=message):
        load(folder, **arguments)


def test_what_a_judge_cannot_do_is_refused(folder, tmp_path):
    (tmp_path / "judge.txt").write_text("Rate {question}")
    with pytest.raises(ModelError, match=r"lacks \{answer\}, which mode=rating needs"):
        load(folder, judge_prompt=str(tmp_path / "judge.txt"))
    model = load(folder)
    with pytest.raises(ModelError, match="'probe' asks for one answer"):
        scores(model, ["love"])
    with pytest.raises(ModelError, match="probe asks for generated text"):
        model.generate_until(requests())
    with pytest.raises(ModelError, match="'probe' has 6 answers .* mode=rating"):
        scores(load(folder, mode="choice"))
