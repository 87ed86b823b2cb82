"""``--model reward`` with ``engine=vllm``, against a stand-in for vLLM: not vLLM itself.

The stand-in has the interface that vLLM 0.33 documents (``LLM``, ``PoolingParams``,
``config.PoolerConfig``, ``LLM.encode``) and a tiny model behind it. It shows that the adapter
keeps to that interface; what vLLM computes is not tested here.
"""

import sys
import types
from dataclasses import dataclass

import pytest
import torch
import transformers
from lm_eval.api.registry import get_model

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.models.reward_vllm import VLLMRewardLM
from tests import tiny
from tests.models.test_reward import requests
from tests.tiny_families import BUILDERS


@dataclass
class StandInPoolerConfig:
    task: str
    use_activation: bool


@dataclass
class StandInPoolingParams:
    use_activation: bool | None = None


class StandInLLM:
    always_activated = False
    spoil = staticmethod(lambda outputs: outputs)
    made: list[dict] = []

    def __init__(self, model, *, runner, pooler_config, **engine_args):
        if "nonsense" in engine_args:  # as vLLM's EngineArgs
            raise TypeError("EngineArgs() got an unexpected keyword argument 'nonsense'")
        assert runner == "pooling"
        assert pooler_config == StandInPoolerConfig("classify", use_activation=False)
        self.made.append(engine_args)
        self._model = transformers.AutoModelForSequenceClassification.from_pretrained(model).eval()
        most = engine_args.get("max_model_len") or self._model.config.max_position_embeddings
        self.llm_engine = types.SimpleNamespace(
            model_config=types.SimpleNamespace(max_model_len=most)
        )

    def encode(self, prompts, pooling_params=None, *, use_tqdm=True, pooling_task=None):
        assert pooling_task == "classify"
        outputs = []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            with torch.no_grad():
                data = self._model(input_ids=torch.tensor([ids])).logits[0]
            if self.always_activated or pooling_params.use_activation is not False:
                data = data.sigmoid() if len(data) == 1 else data.softmax(-1)
            outputs.append(
                types.SimpleNamespace(
                    prompt_token_ids=ids, outputs=types.SimpleNamespace(data=data)
                )
            )
        return self.spoil(outputs)


@pytest.fixture
def vllm(monkeypatch):
    """A module that answers to the name; returns the class, to be made to misbehave."""
    stand_in = type("LLM", (StandInLLM,), {"made": []})
    module = types.ModuleType("vllm")
    module.__version__ = "stand-in"
    module.LLM, module.PoolingParams = stand_in, StandInPoolingParams
    module.config = types.ModuleType("vllm.config")
    module.config.PoolerConfig = StandInPoolerConfig
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.config", module.config)
    return stand_in


def rewards(model, **kwargs):
    return [float(score) for score, _ in model.loglikelihood(requests(**kwargs), disable_tqdm=True)]


def test_rewards_equal_those_of_the_hf_engine(checkpoint, vllm):
    folder = str(checkpoint("llama"))
    # As lm_eval makes it.
    model = get_model("reward").create_from_arg_string(
        f"pretrained={folder},engine=vllm,tensor_parallel_size=2", {"batch_size": 1}
    )
    assert type(model) is VLLMRewardLM
    (arguments,) = vllm.made
    assert arguments["tensor_parallel_size"] == 2
    expected = rewards(RewardLM(folder, device="cpu", batch_size=16, engine="hf"))
    assert rewards(model) == pytest.approx(expected, abs=1e-5)
    info = model.get_model_info()
    assert (info["engine"], info["engine_version"]) == ("vllm", "stand-in")
    assert info["activation"].startswith("raw")
    with pytest.raises(ModelError, match="the model takes 256"):
        rewards(model, answers=["very " * 300, "love"])


def test_a_weighted_sum_of_labels(tmp_path, vllm):
    folder = str(tiny.save(tmp_path, "llama", num_labels=3))
    arguments = {"readout": "weighted", "weights": "1;0;-0.5"}
    expected = rewards(RewardLM(folder, device="cpu", batch_size=16, **arguments))
    assert rewards(VLLMRewardLM(folder, **arguments)) == pytest.approx(expected, abs=1e-5)


def test_outputs_that_cannot_be_used_are_refused(checkpoint, vllm):
    folder = str(checkpoint("llama"))
    vllm.always_activated = True
    with pytest.raises(ModelError, match="same with and without its activation"):
        VLLMRewardLM(folder)
    vllm.always_activated = False
    vllm.spoil = staticmethod(lambda outputs: outputs[:-1])
    with pytest.raises(ModelError, match="3 outputs to 4 conversations"):
        VLLMRewardLM(folder)
    vllm.spoil = staticmethod(lambda outputs: outputs[::-1])
    with pytest.raises(ModelError, match="or read other tokens"):
        VLLMRewardLM(folder)

    def per_token(outputs):
        for output in outputs:
            output.outputs.data = torch.zeros(7, 1)
        return outputs

    vllm.spoil = staticmethod(per_token)
    with pytest.raises(ModelError, match=r"outputs of shape \[7, 1\]"):
        VLLMRewardLM(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("engine=tgi", "'tgi' is neither 'hf' nor 'vllm'"),
        ("engine=vllm,readout=attribute", "readout=attribute does not go with"),
        ("engine=vllm,head_dtype=model", "head_dtype does not go with"),
        ("engine=vllm,shared_prefix=False", "shared_prefix does not go with"),
        ("engine=vllm,max_length=9", "max_length does not go with"),
        ("engine=vllm,weigths=1", "did you mean weights="),
        ("engine=vllm,nonsense=1", "no argument nonsense="),
        ("engin=vllm", "did you mean engine="),
    ],
)
def test_options_of_another_engine_are_refused(checkpoint, vllm, arguments, message):
    with pytest.raises(ModelError, match=message):
        get_model("reward").create_from_arg_string(
            f"pretrained={checkpoint('llama')},{arguments}", {"device": "cpu"}
        )


def test_both_names_make_the_same_model_and_python_names_the_class(checkpoint, vllm):
    folder = str(checkpoint("llama"))
    both = [
        get_model(name).create_from_arg_string(f"pretrained={folder}{engine}", {"device": "cpu"})
        for name, engine in (("reward", ",engine=vllm"), ("reward-vllm", ""))
    ]
    assert rewards(both[0]) == rewards(both[1])
    assert both[0].get_model_info() == both[1].get_model_info()
    with pytest.raises(ModelError, match="VLLMRewardLM"):
        RewardLM(folder, engine="vllm")


@pytest.mark.parametrize("family", ["INF-ORM", "value head (TRL, sharded)", "URM"])
def test_families_that_vllm_would_read_otherwise_are_refused(tmp_path, vllm, family):
    case = BUILDERS[family](tmp_path)
    with pytest.raises(ModelError, match=f"of the family {family.partition(' (')[0]}.*engine="):
        VLLMRewardLM(str(case.folder), trust_remote_code=True)
    assert not vllm.made


def test_a_model_that_is_nowhere_is_said_to_be(vllm):
    with pytest.raises(ModelError, match="there is no such folder; check the path"):
        VLLMRewardLM("/nowhere")


def test_where_vllm_is_absent_one_sentence_says_so(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModelError, match="engine=vllm needs vLLM, which cannot be imported here"):
        VLLMRewardLM(str(checkpoint("llama")))
