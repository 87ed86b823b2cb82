"""Every family against a naive forward pass, and one conformance suite for all."""

import re

import pytest
import torch
from accelerate import cpu_offload
from lm_eval.api.instance import Instance

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.loading.families import FAMILIES, detect
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.prompts import PROMPTS
from tests import tiny_families
from tests.tiny_families import BUILDERS

# Of mixed lengths, and enough that a shared prefix pays.
ANSWERS = ["freedom", "love", "family and friendship", "a", "Xylophones!", "trust", "power",
           "care", "success", "ability", "kin", "talent", "friend of mine", "ambition", "best",
           "ever", "dog", "cat", "jugs", "system"]  # fmt: skip
QUESTIONS = [prompt.text for prompt in PROMPTS[:2]]


def requests(answers=ANSWERS):
    return [
        Instance("loglikelihood", {}, (question, " " + answer), index, metadata=("probe", doc, 1))
        for doc, question in enumerate(QUESTIONS)
        for index, answer in enumerate(answers)
    ]


def rewards(model, answers=ANSWERS):
    scored = model.loglikelihood(requests(answers), disable_tqdm=True)
    return [float(score) for score, _ in scored]


def load(case, **arguments):
    return RewardLM(
        str(case.folder), **{"device": "cpu", "batch_size": 4, **case.arguments, **arguments}
    )


@pytest.fixture(scope="module", params=BUILDERS)
def built(request, tmp_path_factory):
    """A family's case, its model and its naive rewards."""
    folder = tmp_path_factory.mktemp(re.sub(r"\W+", "_", request.param))
    case = BUILDERS[request.param](folder)
    expected = [case.reward(question, answer) for question in QUESTIONS for answer in ANSWERS]
    assert len(set(expected)) > len(expected) / 2  # a constant would agree with anything
    model = load(case)
    model._sharing._least = 32  # so that few answers are enough
    return case, model, expected, case.family or request.param


def test_rewards_are_those_of_a_naive_forward_pass(built):
    case, model, expected, family = built
    assert rewards(model) == pytest.approx(expected, abs=2e-5)
    info = model.get_model_info()
    assert info["family"] == family
    if case.shares is not None:
        assert info["shared_prefix"].startswith("on") == case.shares


def test_the_same_rewards_come_out_again(built):
    _, model, _, _ = built
    assert rewards(model) == rewards(model)


def test_batches_padding_and_sharing_change_nothing(built):
    case, _, expected, _ = built
    model = load(case, shared_prefix=False)
    for size, side in ((1, "right"), (3, "left"), (64, "right")):
        model.batch_size_per_gpu = size
        model.tokenizer.padding_side = side
        assert rewards(model) == pytest.approx(expected, abs=2e-5)


def test_scores_by_token_ids_are_scores_by_text(built):
    """The vocabulary's run puts token ids between the encoder's halves."""
    _, model, expected, family = built
    if model.encoder.describe()["encoding"] != "chat":
        pytest.skip("pairs are put together elsewhere")
    if family in ("UltraRM", "Eurus-RM"):
        pytest.skip("the space before an answer is a part of its first token")
    before, after = (half["input_ids"] for half in model.encoder.halves(QUESTIONS[0]))
    (whole,) = model.encoder.encode([(QUESTIONS[0], " love")])
    word = whole["input_ids"][len(before) : len(whole["input_ids"]) - len(after)]
    assert [*before, *word, *after] == whole["input_ids"]
    (score,) = model.score_suffixes(before, [[*word, *after]])
    assert score == pytest.approx(expected[ANSWERS.index("love")], abs=2e-5)


def test_every_family_is_built_or_refused():
    built = {name.partition(" (")[0] for name in BUILDERS}
    refused = {family.name for family in FAMILIES if family.refusal}
    others = {family.name for family in FAMILIES if family.model != "reward"}
    assert built | refused | others == {family.name for family in FAMILIES}
    assert not built & refused


def test_own_code_and_rebuilt_head_agree(tmp_path):
    case = BUILDERS["Qwen2 reward"](tmp_path)
    rebuilt = rewards(load(case, trust_remote_code=True))
    own = load(case, trust_remote_code=True, readout="first_output")
    assert type(own.model).__name__ == "Qwen2ForRewardModel"
    assert rewards(own) == pytest.approx(rebuilt, abs=2e-5)


def test_a_head_that_the_config_hides_can_be_named(tmp_path):
    case = BUILDERS["INF-ORM"](tmp_path)
    tiny_families.edit(case.folder, architectures=["LlamaForSequenceClassification"], num_labels=1)
    with pytest.raises(ModelError, match=r"has no score\.weight.*readout="):
        load(case)
    expected = [case.reward(question, answer) for question in QUESTIONS for answer in ANSWERS]
    assert rewards(load(case, readout="position")) == pytest.approx(expected, abs=2e-5)


def test_an_answer_of_steps_is_read_at_the_last(tmp_path):
    case = BUILDERS["process reward"](tmp_path)
    answers = ["freedom", "First, love.\n\nThen, care.", "a\n\nb\n\nc"]
    expected = [case.reward(question, answer) for question in QUESTIONS for answer in answers]
    assert rewards(load(case), answers) == pytest.approx(expected, abs=2e-5)


def test_what_only_its_own_code_can_run_is_refused_without_it(tmp_path):
    case = BUILDERS["gated objectives"](tmp_path / "gated")
    with pytest.raises(ModelError, match="family gated objectives.*trust_remote_code=True"):
        RewardLM(str(case.folder), device="cpu")
    case = BUILDERS["InternLM2-Reward"](tmp_path / "config")
    with pytest.raises(ModelError, match="has a config that only .*trust_remote_code=True"):
        RewardLM(str(case.folder), device="cpu")


def test_weights_and_their_sign_are_the_users(tmp_path):
    case = BUILDERS["Beaver cost"](tmp_path)
    costs = rewards(load(case, weights=1.0))  # as lm-eval reads weights=1
    assert costs == pytest.approx([-each for each in rewards(load(case))])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"readout": "process"}, "has no score.*not a reward model of this kind"),
        ({"readout": "lm_logit", "token_id": "1;2;3"}, "not one token, or two"),
        ({"readout": "lm_logit", "token_id": 99999}, "no id of the .* tokens"),
        ({"step_token": "two words"}, "step_token='two words' is . tokens"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, arguments, message):
    case = BUILDERS["Nemotron logit"](tmp_path)
    with pytest.raises(ModelError, match=message):
        load(case, **arguments)


@pytest.mark.parametrize(
    ("architecture", "name", "message"),
    [
        ("DebertaV2PairRM", "model", "PairRM.*compares two answers"),
        ("T5ForConditionalGeneration", "model", "SteamSHP.*no reward head.*compares two answers"),
        ("InternLM2ForRewardModel", "POLAR-7B", "POLAR.*likeness to a reference answer"),
    ],
)
def test_families_without_a_reward_of_one_answer_are_refused(tmp_path, architecture, name, message):
    folder = tiny_families.refused(tmp_path / name, architecture)
    with pytest.raises(ModelError, match=message):
        RewardLM(str(folder), device="cpu")


def test_a_name_is_looked_for_in_one_part_of_a_path():
    config = {"architectures": ["LlamaForCausalLM"]}
    for name in ("nvidia/Llama-3.1-Nemotron-70B-Reward-HF", "a/nemotron-reward/checkpoint-1"):
        assert detect(config, (), name).name == "Nemotron logit"
    for name in ("nemotron/rewards/llama", "nvidia/Nemotron-4", "reward/nemotron"):
        assert detect(config, (), name).name == "sequence classifier"


def test_a_missing_token_of_the_family_can_be_named(tmp_path):
    case = BUILDERS["Athene"](tmp_path)
    tiny_families.edit(case.folder, "tokenizer_config.json", cls_token=None)
    with pytest.raises(ModelError, match="cls_token_id.*append_token="):
        load(case)
    named = load(case, append_token="<|start_header_id|>")
    assert rewards(named)[0] == pytest.approx(case.reward(QUESTIONS[0], ANSWERS[0]), abs=2e-5)
    with pytest.raises(ModelError, match="append_token='two words' is . tokens"):
        load(case, append_token="two words")


def test_a_padding_id_outside_the_embedding_does_not_matter(tmp_path):
    case = BUILDERS["sequence classifier"](tmp_path)
    model = load(case, shared_prefix=False)
    model.tokenizer.add_special_tokens({"pad_token": "[added]"})
    assert model.tokenizer.pad_token_id >= model.model.get_input_embeddings().weight.shape[0]
    expected = [case.reward(question, answer) for question in QUESTIONS for answer in ANSWERS]
    assert rewards(model) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", ["INF-ORM", "sequence classifier"])
def test_weights_that_are_off_loaded_to_the_disk_give_the_same_rewards(tmp_path, name):
    case = BUILDERS[name](tmp_path / "model")
    expected = rewards(load(case))
    for head_dtype in ("float32", "model"):
        model = load(
            case, parallelize=True, max_cpu_memory="60KB", offload_folder=str(tmp_path / "disk"),
            head_dtype=head_dtype,
        )  # fmt: skip
        assert set(model.model.hf_device_map.values()) == {"disk"}
        assert rewards(model) == pytest.approx(expected, abs=2e-5)


def test_a_model_that_accelerate_off_loaded_is_read_out(tmp_path):
    case = BUILDERS["INF-ORM"](tmp_path)
    model = load(case)
    expected = rewards(model)
    cpu_offload(model.model, execution_device=torch.device("cpu"))
    assert next(model.model.reward_head.parameters()).is_meta
    again = RewardLM(model.model, tokenizer=model.tokenizer, batch_size=4, readout="position")
    assert rewards(again) == pytest.approx(expected, abs=2e-5)
