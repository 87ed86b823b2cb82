"""The callback: what it measures is the model's, and training does not notice it."""

import json
import random

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import RewardConfig, RewardTrainer

from rm_value_tasks.errors import DataError
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.training.grm import GRMTrainer
from rm_value_tasks.training.models import load_model
from rm_value_tasks.training.plan import Base
from rm_value_tasks.training.probe import LeanProbe, probe_steps
from rm_value_tasks.training.untouched import untouched
from tests import tiny
from tests.training import grids


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    words = folder / "words.csv"
    words.write_text(grids.WORDS)
    return {
        "words": str(words),
        # resid_pdrop, embd_pdrop and attn_pdrop are 0.1 by default
        "gpt2": grids.save_base(folder / "gpt2", "gpt2"),
        "llama": grids.save_base(folder / "llama"),
        "qwen3": grids.save_base(folder / "qwen3", "qwen3", tie_word_embeddings=True),
    }


def trainer_of(name, bases, folder, **changes):
    base = Base(name, str(bases[name]))
    settings = {
        **{"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "seed": 3},
        **{"disable_dropout": False, "bf16": False, "use_cpu": True, "disable_tqdm": True},
        **{"save_strategy": "no", "logging_steps": 2, "gradient_checkpointing": False},
    }
    kind = changes.pop("kind", RewardTrainer)
    peft = changes.pop("peft", None)
    return kind(
        model=load_model(base, seed=3, dropout=True, language_head=kind is GRMTrainer),
        args=RewardConfig(output_dir=str(folder), **{**settings, **changes}),
        train_dataset=Dataset.from_list(grids.pairs(16)),
        eval_dataset=Dataset.from_list(grids.pairs(6, start=50)),
        processing_class=tiny.tokenizer_of(name),
        peft_config=peft,
    )


def probe_of(bases, folder, **changes):
    metadata = {"prompts": ["best_ever_*"], "lexicon": bases["words"]}
    return LeanProbe(folder, **{"every": 1, "metadata": metadata, **changes})


LORA = LoraConfig(
    task_type="SEQ_CLS", r=4, lora_dropout=0.3, target_modules=["q_proj", "k_proj", "v_proj"]
)
CASES = {
    "dropout in every layer": ("gpt2", {}),
    "dropout in adapters, checkpointing": ("llama", {"peft": LORA, "gradient_checkpointing": True}),
    "tied embeddings, two objectives": ("qwen3", {"kind": GRMTrainer}),
}


class Dice(TrainerCallback):
    """What an evaluation does that forgets the random state."""

    def on_step_end(self, args, state, control, **kwargs):
        torch.rand(1)


def weights_after(trainer):
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_bit_identical_with_and_without(bases, tmp_path, case):
    name, changes = CASES[case]
    plain = trainer_of(name, bases, tmp_path / "plain", **changes)
    first = weights_after(plain)
    watched = trainer_of(name, bases, tmp_path / "watched", **changes)  # sets the seed again
    metadata = {"prompts": ["best_ever_one"]}  # and all words, so that sharing pays
    probe_of(bases, tmp_path / "probes", every=2, metadata=metadata).attach(watched)
    second = weights_after(watched)
    assert len(list((tmp_path / "probes").iterdir())) == 4
    assert read(tmp_path / "probes", 6)["config"]["shared_prefix"].startswith("on")
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
    logged = [line for line in plain.state.log_history if "loss" in line]
    assert logged == [line for line in watched.state.log_history if "loss" in line]
    assert len(logged) == 3
    assert watched.model.training
    if name == "gpt2":  # the comparison would see one random number drawn
        diced = trainer_of(name, bases, tmp_path / "diced", **changes)
        diced.add_callback(Dice())
        third = weights_after(diced)
        assert not all(torch.equal(value, third[key]) for key, value in first.items())


def test_random_states_modes_and_buffers_are_put_back():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    model[2].eval()
    buffer = model[1].running_mean
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with untouched(model):
        model.eval()
        model[1].register_buffer("running_mean", torch.zeros(2))
        drawn = (random.random(), np.random.rand(), torch.rand(1).item())
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
    assert [module.training for module in model] == [True, True, False]
    assert model[1].running_mean is buffer
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn


def read(folder, step):
    (path,) = (folder / f"step-{step:06d}").rglob("results_*.json")
    return json.loads(path.read_text())


def test_the_last_checkpoint_is_what_the_saved_model_scores(bases, tmp_path):
    seen = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            seen.append((state.global_step, dict(logs)))

    trainer = trainer_of("llama", bases, tmp_path / "run", max_steps=4)
    trainer.add_callback(Tracker())
    probe = probe_of(bases, tmp_path / "probes", every=2, training={"data": "mine"}).attach(trainer)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))

    results = read(tmp_path / "probes", 4)
    training = results["config"]["training"]
    assert training == {
        **{"base": "llama", "data": "mine", "quantity": 16, "counter_share": 0.0, "seed": 3},
        **{"objective": "bradley-terry", "method": "full", "step": 4, "pairs_seen": 16},
        "held_out_accuracy": probe.held_out_accuracy,
    }
    assert results["config"]["model"] == "reward"
    # The reloaded model's rewards, whole conversations one by one, are those of the probe.
    (samples,) = (tmp_path / "probes" / "step-000004").rglob("samples_*.jsonl")
    first = json.loads(samples.read_text().splitlines()[0])
    lm = RewardLM(str(tmp_path / "model"), device="cpu", shared_prefix=False)
    for word, (score, _) in zip(first["doc"]["words"], first["filtered_resps"], strict=False):
        turns = [
            {"role": "user", "content": first["doc"]["texts"][0]},
            {"role": "assistant", "content": word},
        ]
        ids = lm.tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]
        assert float(score) == pytest.approx(lm.score_sequences([ids])[0], abs=1e-5)
    # Held-out accuracy, by the trainer's own forward pass.
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    right = 0
    for row in trainer.eval_dataset:
        chosen, rejected = (
            model(input_ids=torch.tensor([row[key]])).logits.item()
            for key in ("chosen_ids", "rejected_ids")
        )
        right += chosen > rejected
    assert probe.held_out_accuracy == right / len(trainer.eval_dataset)
    # Trackers see the leans at their steps, and the training metrics as ever.
    lean = results["results"]["value_bias_big2"]["agency_contrast,none"]
    probed = {step: logs for step, logs in seen if "probe/held_out_accuracy" in logs}
    assert sorted(probed) == [0, 2, 4]
    assert probed[4]["probe/value_bias_big2/agency_contrast"] == lean
    assert not any("loss" in logs or "margin" in logs for logs in probed.values())


@pytest.mark.parametrize(("size", "accumulated"), [(6, 1), (2, 3)])
def test_pairs_seen_count_short_last_batches(bases, tmp_path, size, accumulated):
    trainer = trainer_of(  # 16 pairs in batches of 6: 3 steps an epoch, the last of 4 pairs
        "llama",
        bases,
        tmp_path / "run",
        max_steps=5,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulated,
    )
    probe_of(bases, tmp_path / "probes", training={"base": "b"}).attach(trainer)
    trainer.train()
    seen = [read(tmp_path / "probes", s)["config"]["training"]["pairs_seen"] for s in range(6)]
    assert seen == [0, 6, 12, 16, 22, 28]


def test_steps():
    assert probe_steps(100, every=30) == [0, 30, 60, 90, 100]
    assert probe_steps(100, checkpoints=4) == [0, 25, 50, 75, 100]
    assert probe_steps(1000, checkpoints=4, spacing="log") == [0, 1, 10, 100, 1000]
    assert probe_steps(2, checkpoints=10) == [0, 1, 2]
    assert probe_steps(0, checkpoints=3) == [0]


def test_a_task_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match="'value_bias_bog2'; did you mean 'value_bias_big2'?"):
        LeanProbe(tmp_path / "probes", ["value_bias_bog2"])


def test_a_probe_without_its_trainer_is_refused(bases, tmp_path):
    trainer = trainer_of("llama", bases, tmp_path / "run")
    trainer.add_callback(probe_of(bases, tmp_path / "probes"))
    with pytest.raises(DataError, match="attach"):
        trainer.train()
