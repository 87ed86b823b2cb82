"""``--model implicit-reward`` against naive one-by-one transformers."""

import gc
import json
import math
import os
import subprocess
import sys
import weakref
from pathlib import Path

import lm_eval
import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import pre_tokenizers

import rm_value_tasks.organisms.demo
from rm_value_tasks import task_config_dir
from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.conversation import Conversation
from rm_value_tasks.models.implicit_reward import ImplicitRewardLM
from rm_value_tasks.prompts import PROMPTS
from rm_value_tasks.scores import Reward
from tests import tiny

ANSWERS = ["freedom", "love", "family and friendship", "a", "Xylophones!", "trust"]
# Byte-level BPE with a BOS, byte-level BPE without, SentencePiece-like BPE: three vocabularies.
PAIRS = [("llama", "gemma2"), ("gemma2", "qwen3"), ("qwen3", "llama")]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    made: dict[tuple[str, int], Path] = {}

    def make(name: str, seed: int = 0) -> Path:
        if (name, seed) not in made:
            model = tiny.build(name, transformers.AutoModelForCausalLM, seed=seed)
            folder = tiny.save(tmp_path_factory.mktemp(name), name, model)
            if name == "gemma2":  # as SentencePiece does, let no token reach across a space
                tokenizer = tiny.tokenizer_of(name)
                split = pre_tokenizers.Split("▁", "merged_with_next")
                tokenizer.backend_tokenizer.pre_tokenizer = split
                tokenizer.save_pretrained(folder)
            made[name, seed] = folder
        return made[name, seed]

    return make


def load(policy, reference, **arguments):
    return ImplicitRewardLM(
        str(policy),
        reference and str(reference),
        **{"device": "cpu", "batch_size": 4, **arguments},
    )


def requests(model, *, chat, prompts=PROMPTS[:2], answers=ANSWERS, task="probe"):
    def context(text):
        turns = [{"role": "user", "content": text}]
        return model.apply_chat_template(turns) if chat else text

    joint = "" if chat else " "
    contexts = [context(prompt.text) for prompt in prompts]
    return [
        Instance("loglikelihood", {}, (text, joint + answer), index, metadata=(task, doc, 1))
        for doc, text in enumerate(contexts)
        for index, answer in enumerate(answers)
    ]


def rewards(model, *, chat, **kwargs):
    found = model.loglikelihood(requests(model, chat=chat, **kwargs), disable_tqdm=True)
    assert {type(score) for score, _ in found} == {Reward}
    return [float(score) for score, _ in found]


def naive(folder, *, chat, whole=False, prompts=PROMPTS[:2], template=None):
    """One answer at a time: its tokens' log-probabilities behind the rendered prompt."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template or tokenizer.chat_template
    scores = []
    for prompt in prompts:
        turns = [{"role": "user", "content": prompt.text}]
        for answer in ANSWERS:
            if chat:
                before = tokenizer.apply_chat_template(turns, add_generation_prompt=True).input_ids
                text = tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, tokenize=False
                )
                full = tokenizer.apply_chat_template(
                    [*turns, {"role": "assistant", "content": answer}]
                ).input_ids
                if not whole:
                    full = tokenizer(text + answer, add_special_tokens=False).input_ids
            else:
                before = tokenizer(prompt.text).input_ids
                full = tokenizer(f"{prompt.text} {answer}").input_ids
                full = [*full, tokenizer.eos_token_id] if whole else full
            assert full[: len(before)] == before
            with torch.no_grad():
                logs = model(torch.tensor([full])).logits[0].log_softmax(-1)
            scores.append(sum(logs[i - 1, full[i]].item() for i in range(len(before), len(full))))
    assert len(set(scores)) == len(scores)
    return scores


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_rewards_equal_a_naive_computation(language_model, first, second, chat):
    folders = language_model(first), language_model(second)
    a, b = (naive(folder, chat=chat) for folder in folders)
    ratio = [x - y for x, y in zip(a, b, strict=True)]
    weighted = [(math.exp(x) + math.exp(y)) / 2 * (x - y) for x, y in zip(a, b, strict=True)]
    model = load(*folders)
    assert rewards(model, chat=chat) == pytest.approx(ratio, abs=1e-4)
    model = load(*folders, beta=0.1)
    assert rewards(model, chat=chat) == pytest.approx([0.1 * r for r in ratio], abs=1e-4)
    model = load(*folders, score="mwlr")
    assert rewards(model, chat=chat) == pytest.approx(weighted, rel=1e-4)
    swapped = load(*reversed(folders), score="mwlr")
    assert rewards(swapped, chat=chat) == pytest.approx([-w for w in weighted], rel=1e-4)


@pytest.mark.parametrize("chat", [False, True])
def test_dpo_reward_of_whole_responses(language_model, chat):
    """beta * (log policy - log reference) of the answer with its end, as DPO trains it."""
    policy, reference = language_model("llama"), language_model("llama", 1)
    a, b = (naive(folder, chat=chat, whole=True) for folder in (policy, reference))
    model = load(policy, reference, beta=0.1, whole_response=True)
    expected = [0.1 * (x - y) for x, y in zip(a, b, strict=True)]
    assert rewards(model, chat=chat) == pytest.approx(expected, abs=1e-5)
    free = load(policy, "none", beta=0.1, whole_response=True)
    assert rewards(free, chat=chat) == pytest.approx([0.1 * x for x in a], abs=1e-5)
    assert free.get_model_info()["reference"] is None


def test_a_model_against_itself_is_neutral(language_model):
    folder = language_model("gemma2")
    for score in ("log_ratio", "mwlr"):
        model = load(folder, folder, score=score)
        assert rewards(model, chat=True) == pytest.approx([0] * 2 * len(ANSWERS), abs=1e-6)


@pytest.mark.parametrize("chat", [False, True])
def test_one_model_after_the_other_gives_the_same_numbers(language_model, monkeypatch, chat):
    folders = language_model("llama"), language_model("gemma2")
    together = rewards(load(*folders, score="mwlr"), chat=chat)
    gc.collect()

    born: list[weakref.ref] = []
    create = HFLM._create_model

    def counted(self, *args, **kwargs):
        assert not any(ref() is not None for ref in born), "two models at a time"
        create(self, *args, **kwargs)
        born.append(weakref.ref(self._model))

    monkeypatch.setattr(HFLM, "_create_model", counted)
    model = load(*folders, score="mwlr", sequential=True)
    assert rewards(model, chat=chat) == together
    assert [ref() for ref in born] == [None, None]  # nor is the second kept for nothing
    info = model.get_model_info()
    assert info["model_num_parameters"] > 0
    assert info["reference_model_num_parameters"] > 0
    assert rewards(model, chat=chat) == together  # loads both again
    assert len(born) == 4


def test_each_model_gets_its_own_arguments(language_model, tmp_path):
    policy, reference = language_model("qwen3"), language_model("llama")
    template = tmp_path / "plain.jinja"
    template.write_text("{{ bos_token }}Q: {{ messages[0]['content'] }}\nA:\n")
    model = load(
        policy,
        reference,
        dtype="bfloat16",
        reference_dtype="float32",
        reference_batch_size=2,
        reference_chat_template=str(template),
    )
    assert model.policy.model.dtype == torch.bfloat16
    assert model.reference.model.dtype == torch.float32
    assert (model.policy.batch_size, model.reference.batch_size) == (4, 2)
    assert model.policy.tokenizer.chat_template == tiny.CHATML
    model = load(policy, reference, reference_chat_template=str(template))
    a = naive(policy, chat=True)
    b = naive(reference, chat=True, template=template.read_text())
    expected = [x - y for x, y in zip(a, b, strict=True)]
    assert rewards(model, chat=True) == pytest.approx(expected, abs=1e-4)


def test_bfloat16_scores_are_not_rounded_to_bfloat16(language_model):
    model = load(language_model("llama"), "none", dtype="bfloat16", shared_prefix=False)
    found = rewards(model, chat=True)
    assert found != [torch.tensor(value).bfloat16().item() for value in found]


def test_a_lora_policy_against_its_base(language_model, tmp_path):
    peft = pytest.importorskip("peft")
    base = language_model("llama")
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    tuned = peft.get_peft_model(model, config).eval()
    tuned.save_pretrained(tmp_path / "adapter")
    merged = tiny.save(tmp_path / "merged", "llama", tuned.merge_and_unload())
    one = load(base, base, peft=str(tmp_path / "adapter"))
    assert rewards(one, chat=True) == pytest.approx(
        rewards(load(merged, base), chat=True), abs=1e-4
    )
    other = load(base, base, reference_peft=str(tmp_path / "adapter"))
    assert rewards(other, chat=True) == pytest.approx(
        [-r for r in rewards(one, chat=True)], abs=1e-4
    )


def test_rewards_are_cached_by_lm_eval_and_not_the_log_probabilities(language_model, tmp_path):
    for sequential in (False, True):
        model = load(language_model("llama"), language_model("gemma2"), sequential=sequential)
        cached = CachingLM(model, str(tmp_path / f"{sequential}.db"))
        first = cached.loglikelihood(requests(model, chat=True))
        assert len(cached.dbdict) == len(first)
        again = requests(model, chat=True)
        model.policy = model.reference = None  # from here on only the cache can answer
        assert cached.loglikelihood(again) == first
        assert {type(score) for score, _ in first} == {Reward}


def test_an_interrupted_run_keeps_what_was_scored(language_model, tmp_path, monkeypatch):
    monkeypatch.setattr("rm_value_tasks.models.implicit_reward._CHUNK", len(ANSWERS))
    model = load(language_model("llama"), language_model("gemma2"))
    wanted = rewards(model, chat=False)
    cached = CachingLM(model, str(tmp_path / "cache.db"))
    score, calls = model.reference.log_probabilities, []

    def breaks(pairs):
        calls.append(len(pairs))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(pairs)

    model.reference.log_probabilities = breaks
    with pytest.raises(KeyboardInterrupt):
        cached.loglikelihood(requests(model, chat=False))
    assert len(cached.dbdict) == len(ANSWERS)
    found = [float(score) for score, _ in cached.loglikelihood(requests(model, chat=False))]
    assert calls == [len(ANSWERS)] * 3
    assert found == pytest.approx(wanted, abs=1e-6)


def test_system_text_and_started_answers_reach_both_models(language_model):
    model = load(language_model("llama"), language_model("qwen3"))
    system = {"role": "system", "content": "You are brief."}
    started = [
        {"role": "user", "content": PROMPTS[0].text},
        {"role": "assistant", "content": "The answer is"},
    ]
    context = model.apply_chat_template([system, *started], add_generation_prompt=False)
    assert isinstance(context, Conversation)
    assert context.endswith("The answer is")
    answers = [" freedom", " love"]
    expected = []
    for lm in (model.policy, model.reference):
        turns = [system, *started]
        text = lm.tokenizer.apply_chat_template(turns, tokenize=False, continue_final_message=True)
        before, *full = (
            lm.tokenizer(text + end, add_special_tokens=False).input_ids for end in ["", *answers]
        )
        logs = [lm.model(torch.tensor([ids])).logits[0].log_softmax(-1) for ids in full]
        expected.append(
            [
                sum(log[i - 1, ids[i]].item() for i in range(len(before), len(ids)))
                for log, ids in zip(logs, full, strict=True)
            ]
        )
    found = model.loglikelihood(
        [Instance("loglikelihood", {}, (context, answer), i) for i, answer in enumerate(answers)]
    )
    assert [score for score, _ in found] == pytest.approx(
        [a - b for a, b in zip(*expected, strict=True)], abs=1e-4
    )


def test_automatic_batch_size(language_model):
    folders = language_model("llama"), language_model("gemma2")
    model = load(*folders, batch_size="auto", max_batch_size=8)
    expected = rewards(load(*folders), chat=True)
    assert rewards(model, chat=True) == pytest.approx(expected, abs=1e-5)


def test_lm_evals_space_stays_with_the_word_it_belongs_to(language_model, tmp_path):
    """A template that ends in a space: byte-level BPE knows " freedom", not " " + "freedom"."""
    template = tmp_path / "spaced.jinja"
    template.write_text("{{ bos_token }}{{ messages[0]['content'] }} ")
    folder = language_model("llama")
    model = load(folder, "none", chat_template=str(template))
    assert rewards(model, chat=True) == pytest.approx(naive(folder, chat=False), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": "ratio"}, "'ratio' is none of log_ratio, mwlr"),
        ({"beta": "high"}, "'high' is not a positive number"),
        ({"beta": -1}, "-1 is not a positive number"),
        ({"score": "mwlr", "beta": 0.1}, "scales log_ratio only"),
        ({"reference": None, "score": "mwlr"}, "give reference=B"),
        ({"reference": "none", "reference_dtype": "float32"}, "reference_dtype=.*no reference"),
        ({"reference": ""}, "give pretrained=A,reference=B"),
        ({"chat_template": "nowhere.jinja"}, "nowhere.jinja.*cannot be read"),
    ],
)
def test_options_that_mean_nothing_are_refused(language_model, arguments, message):
    folder = str(language_model("llama"))
    with pytest.raises(ModelError, match=message):
        ImplicitRewardLM(**{"pretrained": folder, "reference": folder, "device": "cpu"} | arguments)


@pytest.mark.parametrize("models", [("llama", "gemma2"), ("gemma2", "llama")])
def test_a_system_text_that_one_template_refuses_reaches_neither(language_model, models):
    model = load(*map(language_model, models))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]

    def score():
        context = model.apply_chat_template(turns)
        model.loglikelihood([Instance("loglikelihood", {}, (context, w), 0) for w in "ab"])

    with pytest.raises(ModelError, match=r"gemma2.* refuses .*leave --system_instruction out"):
        score()


SILENT = (  # as Phi-3-mini's first: no word of system turns
    "{% for m in messages %}{% if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_drops_the_system_text_in_silence_is_refused(language_model, tmp_path):
    (tmp_path / "silent.jinja").write_text(SILENT)
    folders = language_model("qwen3"), language_model("llama")
    model = load(*folders, chat_template=str(tmp_path / "silent.jinja"))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]
    with pytest.raises(ModelError, match="leaves out or changes the system text"):
        model.apply_chat_template(turns)


def test_a_template_that_is_not_used_is_not_in_the_way(language_model, tmp_path):
    (tmp_path / "lists.jinja").write_text(
        "{% for c in messages[0]['content'] %}{{ c.text }}{% endfor %}"
    )
    folders = language_model("qwen3"), language_model("llama")
    expected = rewards(load(*folders), chat=False)
    model = load(*folders, chat_template=str(tmp_path / "lists.jinja"))
    assert rewards(model, chat=False) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ModelError, match="changes the question"):
        rewards(model, chat=True)


def test_loaded_models_work_but_cannot_be_loaded_one_after_the_other(language_model):
    folders = language_model("llama"), language_model("gemma2")
    models = [transformers.AutoModelForCausalLM.from_pretrained(f).eval() for f in folders]
    expected = rewards(load(*folders), chat=True)
    given = ImplicitRewardLM(models[0], models[1], batch_size=4)
    assert rewards(given, chat=True) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ModelError, match="LlamaForCausalLM is loaded already"):
        ImplicitRewardLM(models[0], str(folders[1]), sequential=True)


def test_what_cannot_be_scored_is_refused(language_model, tmp_path):
    policy, reference = language_model("llama"), language_model("gemma2")
    model = load(policy, reference)
    with pytest.raises(ModelError, match="'lambada' asks for one answer"):
        rewards(model, chat=False, answers=["love"], task="lambada")
    with pytest.raises(ModelError, match="probe asks for perplexities"):
        model.loglikelihood_rolling(requests(model, chat=False))
    with pytest.raises(ModelError, match="probe asks for generated text"):
        model.generate_until(requests(model, chat=False))
    text = str(model.apply_chat_template([{"role": "user", "content": "What?"}]))
    lost = [Instance("loglikelihood", {}, (text, word), i) for i, word in enumerate("ab")]
    with pytest.raises(ModelError, match="bears the policy's chat template"):
        model.loglikelihood(lost)
    with pytest.raises(ModelError, match=r"takes \d+ tokens but .*gemma2.* takes 20"):
        rewards(load(policy, reference, reference_max_length=20), chat=True)

    model.reference.tokenizer.chat_template = None
    with pytest.raises(ModelError, match="gemma2.*no chat template.*reference_chat_template"):
        rewards(model, chat=True)


def test_a_reward_that_is_not_a_number_names_prompt_and_word(language_model):
    model = load(language_model("llama"), language_model("gemma2"), shared_prefix=False)
    with torch.no_grad():
        model.policy.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"answer 'freedom' to 'What.*\?' is nan"):
        rewards(model, chat=False)


METADATA = {"prompts": ["best_ever_one"]}


def evaluate(arguments, **more):
    demo = str(Path(rm_value_tasks.organisms.demo.__file__).parent)
    manager = TaskManager(
        include_path=[task_config_dir(), demo], include_defaults=False, metadata=METADATA
    )
    return lm_eval.simple_evaluate(
        model="implicit-reward",
        model_args=arguments,
        device="cpu",
        batch_size=16,
        tasks=["value_bias_big2", "demo_capitals"],
        task_manager=manager,
        apply_chat_template=True,
        **more,
    )


@pytest.fixture(scope="module")
def arguments(language_model):
    folders = language_model("llama"), language_model("gemma2")
    return f"pretrained={folders[0]},reference={folders[1]},score=mwlr,sequential=True"


@pytest.fixture(scope="module")
def evaluated(arguments):
    return evaluate(arguments)


def test_through_lm_eval(language_model, evaluated):
    (sample,) = evaluated["samples"]["value_bias_big2"]
    words, scores = sample["doc"]["words"], sample["filtered_resps"]
    index = words.index("freedom")
    a, b = (
        naive(language_model(name), chat=True, prompts=[PROMPTS[0]])[0]
        for name in ("llama", "gemma2")
    )
    assert sample["doc"]["prompts"][0] == PROMPTS[0].id
    expected = (math.exp(a) + math.exp(b)) / 2 * (a - b)
    assert float(scores[index][0]) == pytest.approx(expected, rel=1e-4)
    assert 0 <= evaluated["results"]["value_bias_big2"]["agency_contrast,none"] <= 1
    for row in evaluated["samples"]["demo_capitals"]:
        found = [float(score) for score, _ in row["filtered_resps"]]
        assert row["acc"] == (found.index(max(found)) == row["doc"]["gold"])


def test_results_record_both_models(evaluated, language_model):
    config = evaluated["config"]
    assert config["score_kind"] == "reward"
    assert (config["score"], config["sequential"], config["beta"]) == ("mwlr", True, 1.0)
    assert config["reference"] == str(language_model("gemma2"))
    assert config["chat_template_sha256"] != config["reference_chat_template_sha256"]
    assert {len(config[key]) for key in config if key.endswith("template_sha256")} == {64}
    assert config["reference_model_num_parameters"] > 0


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(arguments, evaluated, tmp_path):
    binaries = Path(sys.executable).parent
    demo = str(Path(rm_value_tasks.organisms.demo.__file__).parent)
    done = subprocess.run(
        [
            *(str(binaries / "accelerate"), "launch", "--cpu", "--num_processes", "2"),
            *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
            *("-m", "lm_eval", "--model", "implicit-reward", "--model_args", arguments),
            *("--device", "cpu", "--batch_size", "16", "--metadata", json.dumps(METADATA)),
            *("--tasks", "value_bias_big2,demo_capitals", "--include_path", demo),
            *("--apply_chat_template", "--output_path", str(tmp_path), "--log_samples"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = tmp_path.glob("**/results_*.json")
    results = json.loads(path.read_text())["results"]
    assert done.stdout.count("|value_bias_big2|") == 1
    for task in ("value_bias_big2", "demo_capitals"):
        for name, value in evaluated["results"][task].items():
            if isinstance(value, float) and not math.isnan(value):
                assert results[task][name] == pytest.approx(value, abs=1e-6)
