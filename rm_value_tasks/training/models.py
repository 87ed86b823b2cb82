"""The model, tokenizer and adapter that a cell trains."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from trl.trainer.utils import disable_dropout_in_model

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.chat_templates import use_chat_template
from rm_value_tasks.models.common.opening import (
    in_one_sentence,
    open_tokenizer,
    read_config,
    refuse_missing,
)
from rm_value_tasks.models.loading.gguf import unquantized
from rm_value_tasks.training.plan import Base, LoRA

__all__ = ["adapter", "load_model", "load_tokenizer"]


def load_model(base: Base, *, seed: int, dropout: bool, language_head: bool) -> Any:
    """Load a base as a sequence classifier of one label, with a new head from ``seed``.

    Args:
        base: the model. The new head is float32 whatever its ``dtype``: half precision would
            lose the small steps of its training.
        seed: of the head.
        dropout: whether the base's own dropout stays on. TRL's ``disable_dropout`` would switch
            off the adapters' as well, so it is done here, before they are added.
        language_head: keep the language model's head beside the reward head: as ``lm_head``,
            or, where it is tied, as the input embeddings.

    Raises:
        ModelError: if it cannot be loaded.
    """
    options = {
        "revision": base.revision or "main",
        "dtype": getattr(torch, base.dtype),
        "trust_remote_code": base.trust_remote_code,
        **_gguf(base),
    }
    transformers.set_seed(seed)
    if base.gguf_file is None:
        read_config(base.pretrained, revision=base.revision or "main")
    with in_one_sentence(f"the base {base.name!r} ({base.pretrained})"):
        head = _language_head(base, options) if language_head else None
        transformers.set_seed(seed)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            base.pretrained, num_labels=1, **options
        )
        model = unquantized(model)
    if isinstance(reward_head := getattr(model, "score", None), torch.nn.Module):
        reward_head.float()
    if head is not None:
        model.add_module("lm_head", head)
    if not dropout:
        disable_dropout_in_model(model)
    return model


def _language_head(base: Base, options: dict[str, Any]) -> torch.nn.Module | None:
    causal = transformers.AutoModelForCausalLM.from_pretrained(base.pretrained, **options)
    head = causal.get_output_embeddings()
    tied = head is None or head.weight is causal.get_input_embeddings().weight
    return None if tied else head


def load_tokenizer(base: Base) -> Any:
    """Load a base's tokenizer, with a padding token that ends no conversation.

    ``transformers`` reads the reward at the last token that is not padding. Where the padding
    token also ends each turn (as it would for Llama-3 Instruct, whose tokenizer has none and
    for which TRL takes the end-of-turn token), it would read one token too early in training.

    Raises:
        ModelError: if it cannot be loaded or has no token to pad with.
    """
    refuse_missing(base.pretrained, "model")
    tokenizer = open_tokenizer(
        base.pretrained,
        revision=base.revision or "main",
        trust_remote_code=base.trust_remote_code,
        **_gguf(base),
    )
    use_chat_template(tokenizer, base.chat_template)
    used = _used_tokens(tokenizer)
    if tokenizer.pad_token is None or tokenizer.pad_token_id in used:
        special = {
            token.content: number
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special and number not in used
        }
        for sign in ("pad", "reserved", "unk", ""):
            for content in special:
                if sign in content.lower():
                    tokenizer.pad_token = content
                    return tokenizer
        raise ModelError(
            f"the tokenizer of {base.name!r} has no padding token apart from the one that ends "
            "a turn; add one to it (tokenizer.add_special_tokens) and save it."
        )
    return tokenizer


def _gguf(base: Base) -> dict[str, str]:
    return {} if base.gguf_file is None else {"gguf_file": base.gguf_file}


def _used_tokens(tokenizer: Any) -> set[int]:
    """Return the ids in a rendered conversation; the end token alone without a template."""
    if not tokenizer.chat_template:
        return {tokenizer.eos_token_id}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    return set(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"])


def adapter(lora: LoRA) -> Any:
    """Return PEFT's configuration; ``SEQ_CLS`` trains and saves the reward head too."""
    from peft import LoraConfig, TaskType

    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type=TaskType.SEQ_CLS,
    )
