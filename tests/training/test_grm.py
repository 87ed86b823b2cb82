"""The regularized objective, against a computation by hand."""

import math

import pytest
import torch
import transformers
from datasets import Dataset
from trl import RewardConfig

from rm_value_tasks.errors import ModelError
from rm_value_tasks.training.grm import GRMTrainer, chosen_log_likelihood
from rm_value_tasks.training.models import load_model
from rm_value_tasks.training.plan import Base
from tests import tiny
from tests.training import grids


def alike(pair):
    """Both answers begin with one word, which is of the answer and not of the prompt."""
    asked, answer = pair["rejected"]
    same = {**answer, "content": answer["content"].replace("The", "A")}
    return {**pair, "rejected": [asked, same]}


def trainer_of(name, base, folder, **changes):
    return GRMTrainer(
        model=load_model(Base(name, str(base)), seed=0, dropout=False, language_head=True),
        args=RewardConfig(
            output_dir=str(folder),
            max_steps=2,
            bf16=False,
            use_cpu=True,
            disable_tqdm=True,
            gradient_checkpointing=False,
            save_strategy="no",
            learning_rate=1e-2,
        ),
        train_dataset=Dataset.from_list([alike(pair) for pair in grids.pairs(16)]),
        processing_class=tiny.tokenizer_of(name),
        **changes,
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama", {}),  # untied
        ("qwen3", {"tie_word_embeddings": True}),
        ("gemma2", {"tie_word_embeddings": True, "final_logit_softcapping": 2.0}),
    ],
)
def test_loss_is_the_formula_on_the_base_language_model(tmp_path, name, changes):
    base = grids.save_base(tmp_path / "base", name, **changes)
    weight, beta = 0.3, 0.2
    trainer = trainer_of(name, base, tmp_path / "run", weight=weight, beta=beta)
    rows = [trainer.train_dataset[i] for i in range(3)]
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows))

    # By hand, one conversation at a time: the language model itself and the reward head.
    causal = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    classifier = trainer.model.eval()
    expected = 0.0
    for row in rows:
        chosen, rejected = row["chosen_ids"], row["rejected_ids"]
        asked = trainer.processing_class.apply_chat_template(
            row["chosen"][:1], tokenize=True, return_dict=True, add_generation_prompt=True
        )
        begin = len(asked["input_ids"])
        # What the two sides begin with is the answer too (this tokenizer of gemma2 joins it).
        assert name == "gemma2" or chosen[begin] == rejected[begin]
        ids = torch.tensor([chosen])
        log_p = causal(ids).logits[0].log_softmax(-1)
        total = sum(log_p[i - 1, chosen[i]].item() for i in range(begin, len(chosen)))
        rewards = [
            classifier(input_ids=torch.tensor([side])).logits.item() for side in (chosen, rejected)
        ]
        bradley_terry = math.log1p(math.exp(rewards[1] - rewards[0]))
        language = math.log1p(math.exp(-beta * total))
        expected += ((1 - weight) * bradley_terry + weight * language) / len(rows)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_log_likelihood_by_hand():
    """Two tokens in the vocabulary; the answer begins where the two sides part."""
    # Logits of the next token after each place: (0, log 3), so p(1) = 3/4, p(0) = 1/4.
    hidden = torch.zeros(2, 4, 1)
    head = lambda h: torch.cat([h, h + math.log(3)], dim=-1)  # noqa: E731
    ids = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    found = chosen_log_likelihood(hidden, head, ids, mask)
    assert found.tolist() == pytest.approx([math.log(3 / 4) + math.log(1 / 4)])
    shorter = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0]])
    assert chosen_log_likelihood(hidden, head, ids, shorter).tolist() == pytest.approx(
        [math.log(3 / 4)]
    )


def test_an_answer_begins_after_the_last_header_that_both_sides_have():
    hidden = torch.zeros(4, 7, 1)
    head = lambda h: torch.cat([h, h + math.log(3), h - 50, h - 50], dim=-1)  # noqa: E731
    # Header 2, 3. First pair: a turn, an answer, then the answer (1, 0, 1); second: no header.
    ids = torch.tensor(
        [[2, 3, 2, 3, 1, 0, 1], [0, 0, 0, 1, 1, 0, 0], [2, 3, 2, 3, 1, 2, 3], [0, 0, 0, 1, 1, 1, 0]]
    )
    mask = torch.ones_like(ids)
    found = chosen_log_likelihood(hidden, head, ids, mask, header=[2, 3])
    expected = [2 * math.log(3 / 4) + math.log(1 / 4), 2 * math.log(1 / 4)]
    assert found.tolist() == pytest.approx(expected)


def test_training_moves_the_language_side_and_saves_a_reward_model(tmp_path):
    base = grids.save_base(tmp_path / "base")
    trainer = trainer_of("llama", base, tmp_path / "run", weight=1.0, beta=0.1)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    assert "lm_head.weight" in before
    trainer.train()
    after = trainer.model.state_dict()
    assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])
    assert torch.equal(before["score.weight"], after["score.weight"])  # w = 1: no reward loss
    assert "chosen_log_likelihood" in trainer.state.log_history[-1] or trainer._metrics["train"]


def test_unknown_scaling_of_logits_is_refused(tmp_path):
    base = grids.save_base(tmp_path / "base")
    model = load_model(Base("llama", str(base)), seed=0, dropout=False, language_head=True)
    model.config.logits_scaling = 8.0
    with pytest.raises(ModelError, match="logits_scaling"):
        GRMTrainer(model=model)
