"""``--model reward`` with ``engine=vllm``: a reward model inside vLLM, in this process.

Written from vLLM's documented interface (release 0.33): ``LLM(runner="pooling")``,
``PoolerConfig(task="classify", use_activation=False)`` and ``LLM.encode``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import transformers

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import kept_arguments
from rm_value_tasks.models.loading.specification import make_plan
from rm_value_tasks.models.serving.engine import EngineRewardLM, Receive
from rm_value_tasks.models.serving.raw_outputs import Row

__all__ = ["VLLMRewardLM"]

_CHUNK = 1024
"""Conversations handed over at once: vLLM batches by itself, lm-eval's cache gets the rest."""

_READOUTS = ("auto", "pooled", "weighted")
_HF_ONLY = ("attribute", "head_dtype", "shared_prefix", "peft", "parallelize", "max_length")


class VLLMRewardLM(EngineRewardLM):
    """A sequence classifier that vLLM holds.

    Args:
        pretrained: folder or hub id.
        tokenizer: its tokenizer, if another.
        revision: of both.
        trust_remote_code: whether to run their own code.
        readout: ``pooled`` or ``weighted``: what vLLM can give; ``auto`` refuses families that
            are read in another way.
        batch_size: taken because lm-eval passes it; vLLM batches by itself.
        max_batch_size: likewise.
        device: likewise.
        bos: see ``EngineRewardLM``, as for the next five.
        chat_template: see ``EngineRewardLM``.
        chat_template_args: see ``EngineRewardLM``.
        enable_thinking: see ``EngineRewardLM``.
        label: see ``EngineRewardLM``.
        weights: see ``EngineRewardLM``.
        **engine_args: ``vllm.LLM``'s own: ``tensor_parallel_size``, ``dtype``,
            ``max_model_len``, ``gpu_memory_utilization``, ``quantization``, ...

    Raises:
        ModelError: if vLLM is not installed, the outputs are not raw, or an option does
            not fit.
    """

    engine = "vllm"

    def __init__(
        self,
        pretrained: str,
        *,
        tokenizer: str | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        readout: str = "auto",
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: Any = None,
        bos: str = "one",
        chat_template: str | None = None,
        chat_template_args: Any = None,
        enable_thinking: bool | None = None,
        label: int | None = None,
        weights: str | Sequence[float] | None = None,
        **engine_args: Any,
    ) -> None:
        _refuse_hf_options(readout, engine_args)
        vllm = _vllm()
        if readout == "auto":
            _refuse_other_families(pretrained, revision, trust_remote_code)
        super().__init__(
            tokenizer or pretrained,
            revision=revision,
            trust_remote_code=trust_remote_code,
            bos=bos,
            chat_template=chat_template,
            chat_template_args=chat_template_args,
            enable_thinking=enable_thinking,
            label=label,
            weights=weights,
        )
        self._params = vllm.PoolingParams
        self._version = getattr(vllm, "__version__", None)
        self._made_with = {"pretrained": pretrained, "revision": revision, **engine_args}
        self._llm = vllm.LLM(
            model=pretrained,
            tokenizer=tokenizer or pretrained,
            revision=revision,
            tokenizer_revision=revision,
            trust_remote_code=trust_remote_code,
            runner="pooling",
            pooler_config=vllm.config.PoolerConfig(task="classify", use_activation=False),
            **engine_args,
        )
        self.max_length = int(self._llm.llm_engine.model_config.max_model_len)
        self.check_activation()

    def _run(self, tokens: Sequence[Sequence[int]], receive: Receive) -> None:
        for start in range(0, len(tokens), _CHUNK):
            members = range(start, min(start + _CHUNK, len(tokens)))
            receive(members, self._encode([tokens[i] for i in members], activation=False))

    def _probe(self, tokens: Sequence[Sequence[int]], *, activation: bool) -> list[Row]:
        return self._encode(tokens, activation=activation)

    def _encode(self, tokens: Sequence[Sequence[int]], *, activation: bool) -> list[Row]:
        outputs = self._llm.encode(
            [{"prompt_token_ids": list(ids)} for ids in tokens],
            pooling_params=self._params(use_activation=activation),
            pooling_task="classify",
            use_tqdm=False,
        )
        if [list(output.prompt_token_ids) for output in outputs] != [list(ids) for ids in tokens]:
            raise ModelError(
                f"vllm {self._version} gave {len(outputs)} outputs to {len(tokens)} conversations, "
                "or read other tokens than were given; use a release that the README names."
            )
        rows = [output.outputs.data.tolist() for output in outputs]
        if any(not isinstance(row, list) or isinstance(row[0], list) for row in rows):
            shape = list(outputs[0].outputs.data.shape)
            raise ModelError(
                f"vllm {self._version} gives outputs of shape {shape} for a conversation "
                "where one row of labels belongs: the model is no sequence classifier to it."
            )
        return rows

    def cache_settings(self) -> dict[str, Any]:
        """Return what the rewards depend on."""
        return {**kept_arguments(self._made_with), **super().cache_settings()}

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {**super().get_model_info(), "engine_version": self._version}


def _refuse_other_families(name: str, revision: str, trust_remote_code: bool) -> None:
    """Refuse what vLLM would not read as this package does: heads and code of a model's own."""
    config, _ = transformers.PreTrainedConfig.get_config_dict(name, revision=revision)
    plan = make_plan(
        name, config, trust_remote_code=trust_remote_code, download=False, revision=revision
    )
    if plan.readout != "pooled" or plan.family.code or plan.family.append:
        raise ModelError(
            f"{name!r} is of the family {plan.family.name}, which is read by "
            f"readout={plan.readout}, but engine=vllm gives a plain sequence classifier's outputs; "
            "leave engine= out."
        )


def _vllm() -> Any:
    try:
        import vllm
        import vllm.config
    except ImportError as error:
        raise ModelError(
            f"engine=vllm needs vLLM, which cannot be imported here ({error}); install it "
            "(pip install vllm, on a machine that it supports), or leave engine= out."
        ) from error
    return vllm


def _refuse_hf_options(readout: str, engine_args: dict[str, Any]) -> None:
    given = [name for name in _HF_ONLY if name in engine_args]
    if readout not in _READOUTS:
        given = [f"readout={readout}"]
    if given:
        raise ModelError(
            f"{given[0]} does not go with engine=vllm, which gives a sequence classifier's own "
            "outputs (for the longest input: max_model_len=); leave it out, or engine=vllm."
        )
