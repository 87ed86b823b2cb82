"""Bradley-Terry with generative regularization (GRM), on TRL's ``RewardTrainer``.

Yang et al. 2024, Regularizing Hidden States Enables Learning Generalizable Reward Model for
LLMs (arXiv 2406.10216), the SFT form, which needs no reference model: the backbone that gives
the reward also has to keep the chosen answer likely under the base's own language head.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput
from trl import RewardTrainer

from rm_value_tasks.errors import ModelError

__all__ = ["GRMTrainer", "chosen_log_likelihood"]


class GRMTrainer(RewardTrainer):
    """Loss: (1 - w) * Bradley-Terry + w * -logsigmoid(beta * log p(chosen answer)).

    The reward head stays a linear one, so that any loader of sequence classifiers takes the
    model (the paper's is an MLP of width 1024).

    Args:
        *args: as for ``RewardTrainer``; the model from ``models.load_model`` with
            ``language_head=True``.
        weight: w.
        beta: scales the summed log-probability.
        **kwargs: as for ``RewardTrainer``.

    Raises:
        ModelError: if the model scales its logits in a way not known here.
    """

    def __init__(self, *args: Any, weight: float = 0.01, beta: float = 0.1, **kwargs: Any) -> None:
        self._weight, self._beta = weight, beta
        model: Any = kwargs["model"] if "model" in kwargs else args[0]
        for name in ("logit_scale", "logits_scaling", "lm_head_multiplier"):
            if getattr(model.config, name, None) not in (None, 1, 1.0):
                raise ModelError(
                    f"the base scales its logits ({name} in its config), which objective: grm "
                    "does not know; use bradley-terry."
                )
        super().__init__(*args, **kwargs)
        # In the forward pass, since only there sharded weights are whole.
        hook = functools.partial(_add_log_likelihood, header=_header(self.processing_class))
        model.register_forward_hook(hook, with_kwargs=True)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the loss of a batch, and with ``return_outputs`` the rewards too."""
        inputs["output_hidden_states"] = True
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        log_p = outputs["chosen_log_likelihood"]
        language = -nn.functional.logsigmoid(self._beta * log_p).mean()
        mode = "train" if model.training else "eval"
        self._metrics[mode]["chosen_log_likelihood"].append(log_p.mean().item())
        loss = (1 - self._weight) * loss + self._weight * language
        # Without the hidden states, which an evaluation would keep.
        return (loss, SequenceClassifierOutput(logits=outputs.logits)) if return_outputs else loss


def _header(tokenizer: Any) -> list[int]:
    """Return the tokens that open an answer; none where the chat template has no such tokens."""
    if not tokenizer.chat_template:
        return []
    asked, opened = (
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "a"}],
            tokenize=True,
            return_dict=True,
            add_generation_prompt=opens,
        )["input_ids"]
        for opens in (False, True)
    )
    return opened[len(asked) :] if opened[: len(asked)] == asked else []


def _add_log_likelihood(
    model: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
    *,
    header: Sequence[int],
) -> None:
    if output.hidden_states is None:
        return
    head = getattr(model, "lm_head", None)
    if head is None:  # tied
        embeddings = model.get_input_embeddings().weight

        def head(hidden: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(hidden, embeddings)

    output["chosen_log_likelihood"] = chosen_log_likelihood(
        output.hidden_states[-1],
        head,
        kwargs["input_ids"],
        kwargs["attention_mask"],
        header=header,
        cap=getattr(model.config.get_text_config(), "final_logit_softcapping", None),
    )


def chosen_log_likelihood(
    hidden: torch.Tensor,
    head: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    header: Sequence[int] = (),
    cap: float | None = None,
) -> torch.Tensor:
    """Return log p(chosen answer given prompt) of each pair, shape (B,), float32.

    The answer follows the last ``header`` in what chosen and rejected begin with. Without one
    (texts, templates that do not open an answer) it is what follows that common beginning, so
    that words with which both answers begin are left out.

    Args:
        hidden: last hidden states, (2B, T, hidden); the chosen half comes first.
        head: from hidden states to logits.
        input_ids: (2B, T), right-padded.
        attention_mask: (2B, T).
        header: the tokens that open an answer.
        cap: Gemma-2's soft cap of the logits.
    """
    half = len(input_ids) // 2
    chosen, rejected = input_ids.chunk(2)
    real = attention_mask[:half].bool()
    common = (chosen == rejected) & real & attention_mask[half:].bool()
    shared = common.long().cumprod(dim=1).sum(dim=1, keepdim=True)
    places = torch.arange(chosen.shape[1], device=chosen.device)
    answer = real & (places >= _begin(chosen, shared, header))
    logits = head(hidden[:half, :-1]).float()
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    log_p = -nn.functional.cross_entropy(logits.transpose(1, 2), chosen[:, 1:], reduction="none")
    return (log_p * answer[:, 1:]).sum(dim=1)


def _begin(chosen: torch.Tensor, common: torch.Tensor, header: Sequence[int]) -> torch.Tensor:
    """Return where the answers begin, (B, 1): after the last header that ends by ``common``."""
    size, length = len(header), chosen.shape[1]
    if not 0 < size <= length:
        return common
    found = (chosen.unfold(1, size, 1) == chosen.new_tensor(header)).all(dim=2)
    ends = torch.arange(size, length + 1, device=chosen.device)
    last = (ends * (found & (ends <= common))).amax(dim=1, keepdim=True)
    return torch.where(last > 0, last, common)
