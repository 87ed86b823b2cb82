"""``--model reward-vllm``: a reward model inside vLLM, in this process.

``--model reward`` with ``engine=vllm`` makes it too.

Written from vLLM's documented interface (release 0.33): ``LLM(runner="pooling")``,
``PoolerConfig(task="classify", use_activation=False)`` and ``LLM.encode``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import (
    NAMES,
    READING,
    RewardArguments,
    kept_arguments,
)
from rm_value_tasks.models.common.content import checkpoint_digest
from rm_value_tasks.models.common.harness import unknown_argument
from rm_value_tasks.models.loading.specification import specify_for_vllm
from rm_value_tasks.models.serving.engine import EngineRewardLM, ReceiveRows
from rm_value_tasks.models.serving.raw_outputs import Row

__all__ = ["VLLMRewardLM"]

_CHUNK = 1024
"""Conversations handed over at once: vLLM batches by itself, lm-eval's cache gets the rest."""


class VLLMRewardLM(EngineRewardLM):
    """A sequence classifier that vLLM holds.

    Args:
        pretrained: folder or hub id.
        tokenizer: its tokenizer, if another.
        revision: of both.
        trust_remote_code: whether to run their own code.
        batch_size: taken because lm-eval passes it; vLLM batches by itself.
        max_batch_size: likewise.
        device: likewise.
        chat_template_args: passed to the chat template.
        enable_thinking: likewise, by lm-eval's name.
        **kwargs: ``RewardArguments`` as far as an engine can honour them (``readout`` is
            ``pooled`` or ``weighted``, ``auto`` refuses families that are read in another way),
            and ``vllm.LLM``'s own: ``tensor_parallel_size``, ``dtype``, ``max_model_len``,
            ``gpu_memory_utilization``, ``quantization``, ...

    Raises:
        ModelError: if vLLM is not installed, the outputs are not raw, or an option does
            not fit.
    """

    engine = "vllm"
    ARGUMENTS = NAMES
    passes_on = True

    def __init__(
        self,
        pretrained: str,
        *,
        tokenizer: str | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: Any = None,
        chat_template_args: Any = None,
        enable_thinking: bool | None = None,
        **kwargs: Any,
    ) -> None:
        arguments, engine_args = RewardArguments.take(kwargs)
        specification = specify_for_vllm(
            pretrained, arguments, engine_args, revision=revision, trusted=trust_remote_code
        )
        vllm = _vllm()
        super().__init__(
            tokenizer or pretrained,
            revision=revision,
            trust_remote_code=trust_remote_code,
            chat_template_args=chat_template_args,
            enable_thinking=enable_thinking,
            config=specification.config,
            **{name: getattr(arguments, name) for name in READING},
        )
        self._params = vllm.PoolingParams
        self._version = getattr(vllm, "__version__", None)
        self._made_with = {"pretrained": pretrained, "revision": revision, **engine_args}
        self._llm = _made(
            vllm.LLM,
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

    def _run(self, tokens: Sequence[Sequence[int]], receive: ReceiveRows) -> None:
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
                "or read other tokens than were given; use a release that docs/engines.md names."
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
        name, revision = self._made_with["pretrained"], self._made_with["revision"]
        return {
            **kept_arguments(self._made_with),
            **super().cache_settings(),
            "checkpoint_digest": checkpoint_digest(name, revision),
        }

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {**super().get_model_info(), "engine_version": self._version}


def _made(llm: Any, **kwargs: Any) -> Any:
    try:
        return llm(**kwargs)
    except TypeError as error:
        if (unknown := unknown_argument(error)) is None:
            raise
        raise ModelError(
            f"there is no argument {unknown}=: neither this package nor vLLM takes it."
        ) from error


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
