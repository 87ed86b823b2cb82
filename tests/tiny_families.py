"""A tiny checkpoint of every family of reward models, and its rewards computed naively.

Each has the class layout, tensor names, config fields and files of the real one, from its
model card or its public code; the layers are random. ``reward`` is what the card's own
lines would give, with plain tensors and one conversation at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from tests import tiny

OWN, BUILT = "with code of its own", "tiny checkpoint, naive pass"
TESTED = {
    "sequence classifier": f"{len(tiny.DECODERS)} architectures, `transformers` one by one",
    "sentence pair": "BERT and DeBERTa-v2, `transformers` one by one",
    "value head": "four layouts (one of them Qwen2.5-VL), naive pass",
    "gated objectives": f"tiny checkpoint {OWN} (quantiles, gate), naive pass",
    "URM": f"tiny checkpoint {OWN} (gate), naive pass; `weighted` too",
    "InternLM2-Reward": f"tiny checkpoint {OWN}, naive pass",
    "own code": f"tiny checkpoint {OWN} (values a token), naive pass",
    "Qwen2 reward": f"{BUILT}; code of its own gives the same",
    "process reward": f"{BUILT}; several steps",
    "Nemotron logit": "tiny language model, `generate`'s scores; two tokens at a step",
    "token classifier": f"{BUILT}; `process` with two classes too",
    "DPO policy": "two tiny models, naive log-probabilities",
    "generative judge": "tiny language model, naive log-probabilities, both orders",
}
"""What the tests hold a family to, for the table of docs/families.md; other families: ``BUILT``."""

BUILDERS: dict[str, Callable[[Path], Case]] = {}


@dataclass(frozen=True)
class Case:
    """A checkpoint: its folder, what ``--model reward`` is told, and its rewards."""

    folder: Path
    reward: Callable[[str, str], float]
    arguments: dict = field(default_factory=dict)
    shares: bool = True
    family: str = ""


def builder(name: str):
    def register(function: Callable[[Path], Case]) -> Callable[[Path], Case]:
        BUILDERS[name] = function
        return function

    return register


def save(folder, name, tensors, *, auto=transformers.AutoModel, prefix="model.", **config):
    """Save a backbone with more tensors beside its own; return the backbone."""
    model = tiny.build(name, auto)
    own = {prefix + key: value for key, value in model.state_dict().items()}
    model.config.save_pretrained(folder)
    save_file({**own, **tensors}, folder / "model.safetensors", metadata={"format": "pt"})
    tiny.tokenizer_of(name).save_pretrained(folder)
    edit(folder, **config)
    return model


def edit(folder, file="config.json", **fields):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def drop_template(folder):
    (folder / "chat_template.jinja").unlink()


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def chat(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@torch.no_grad()
def last_hidden(model, tokenizer, text, index=-1):
    """The hidden state of a text; the template's BOS is the only one."""
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    return model(input_ids=ids).last_hidden_state[0, index]


def rendered(tokenizer, question, answer):
    return tokenizer.apply_chat_template(chat(question, answer), tokenize=False)


def mlp(hidden, tensors, names, activation=torch.relu):
    for place, name in enumerate(names):
        hidden = activation(hidden) if place else hidden
        hidden = tensors[f"{name}.weight"] @ hidden + tensors.get(f"{name}.bias", 0)
    return hidden


def mlp_tensors(*names, sizes, bias=True):
    found = {}
    for seed, name in enumerate(names):
        found[f"{name}.weight"] = randn(sizes[seed + 1], sizes[seed], seed=seed) / 4
        if bias:
            found[f"{name}.bias"] = randn(sizes[seed + 1], seed=seed + 50)
    return found


def plain(folder, name):
    """A native classifier, by ``transformers`` itself."""
    tiny.save(folder, name)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


@builder("sequence classifier")
def sequence_classifier(folder):
    model, tokenizer = plain(folder, "qwen3")

    @torch.no_grad()
    def reward(question, answer):
        ids = tokenizer(rendered(tokenizer, question, answer), return_tensors="pt")
        return model(**ids).logits[0, 0].item()

    return Case(folder, reward)


@builder("sentence pair")
def sentence_pair(folder):
    model, tokenizer = plain(folder, "bert")

    @torch.no_grad()
    def reward(question, answer):
        return model(**tokenizer(question, answer, return_tensors="pt")).logits[0, 0].item()

    return Case(folder, reward, shares=False)


@builder("token classifier")
def token_classifier(folder):
    model = tiny.build("llama", transformers.AutoModelForTokenClassification, num_labels=1)
    tiny.save(folder, "llama", model)
    tokenizer = tiny.tokenizer_of("llama")

    @torch.no_grad()
    def reward(question, answer):
        text = rendered(tokenizer, question, answer)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        return model(input_ids=ids).logits[0, -1, 0].item()

    return Case(folder, reward)


def on_last_token(folder, name, names, sizes, *, family, bias=True, text=rendered, **config):
    """A chain of linear layers on the last token of the template's rendering."""
    tensors = mlp_tensors(*names, sizes=sizes, bias=bias)
    model = save(folder, name, tensors, **config)
    tokenizer = tiny.tokenizer_of(name)

    def reward(question, answer):
        hidden = last_hidden(model, tokenizer, text(tokenizer, question, answer))
        return mlp(hidden, tensors, names)[0].item()

    return Case(folder, reward, family=family)


@builder("INF-ORM")
def inf_orm(folder):
    return on_last_token(
        folder, "llama", ("score.0", "score.2"), (32, 32, 1), family="INF-ORM",
        architectures=["INFORMForSequenceClassification"],
    )  # fmt: skip


QWEN2_RM_CODE = """
import torch
from torch import nn
from transformers import Qwen2Model, Qwen2PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

class Qwen2ForRewardModel(Qwen2PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.score = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size), nn.ReLU(),
            nn.Linear(config.hidden_size, 1),
        )
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        logits = self.score(hidden)
        last = torch.eq(input_ids, self.config.pad_token_id).int().argmax(-1) - 1
        last = last % input_ids.shape[-1]
        return SequenceClassifierOutputWithPast(logits=logits[torch.arange(len(logits)), last])
"""


@builder("Qwen2 reward")
def qwen2_reward(folder):
    case = on_last_token(
        folder, "qwen2", ("score.0", "score.2"), (32, 32, 1), family="Qwen2 reward",
        architectures=["Qwen2ForRewardModel"],
        auto_map={"AutoModel": "modeling_qwen2_rm.Qwen2ForRewardModel"},
    )  # fmt: skip
    (folder / "modeling_qwen2_rm.py").write_text(QWEN2_RM_CODE)
    return case


@builder("value head (Starling)")
def starling(folder):
    return on_last_token(
        folder, "llama", ("v_head",), (32, 1), bias=False, family="value head",
        prefix="transformer.", architectures=["LlamaForSequenceClassification"],
    )  # fmt: skip


@builder("value head (TRL, sharded)")
def trl_value_head(folder):
    """Weights in shards, the head in a file of its own, as Skywork-VL-Reward has it."""
    model = tiny.build("qwen3", transformers.AutoModelForCausalLM)
    model.save_pretrained(folder, max_shard_size="40KB")
    assert (folder / "model.safetensors.index.json").exists()
    tokenizer = tiny.tokenizer_of("qwen3")
    tokenizer.save_pretrained(folder)
    tensors = mlp_tensors("v_head.summary", sizes=(32, 1))
    save_file(tensors, folder / "value_head.safetensors")

    def reward(question, answer):
        hidden = last_hidden(model.model, tokenizer, rendered(tokenizer, question, answer))
        return mlp(hidden, tensors, ["v_head.summary"])[0].item()

    return Case(folder, reward, family="value head")


@builder("Athene")
def athene(folder):
    def text(tokenizer, question, answer):
        return rendered(tokenizer, question, answer) + "<|start_header_id|>"

    case = on_last_token(
        folder, "llama", ("v_head",), (32, 1), bias=False, family="Athene", text=text,
        architectures=["AtheneForSequenceClassification"],
    )  # fmt: skip
    edit(folder, "tokenizer_config.json", cls_token="<|start_header_id|>")
    return case


@builder("UltraRM")
def ultra_rm(folder):
    def text(tokenizer, question, answer):
        return f"<|begin_of_text|>Human: {question}\n\nAssistant: {answer}"

    case = on_last_token(
        folder, "llama", ("regression_head",), (32, 1), bias=False, family="UltraRM", text=text,
        architectures=["LlamaRewardModel"],
    )  # fmt: skip
    drop_template(folder)
    return case


@builder("Eurus-RM")
def eurus_rm(folder):
    def text(tokenizer, question, answer):
        return f"<|begin_of_text|>[INST] {question} [\\INST] {answer}"

    case = on_last_token(
        folder, "mistral", ("regression_head",), (32, 1), bias=False, family="Eurus-RM",
        text=text, architectures=["EurusRewardModel"],
        auto_map={"AutoModel": "modeling_eurus_rm.EurusRewardModel"},
    )  # fmt: skip
    drop_template(folder)
    return case


def beaver(folder, kind):
    head = mlp_tensors("score_head", sizes=(32, 1))
    normalizer = {
        "normalizer.mean": torch.tensor([0.7]),
        "normalizer.var": torch.tensor([2.5]),
        "normalizer.count": torch.tensor([9]),
    }
    model = save(
        folder, "llama", {**head, **normalizer}, architectures=["LlamaForScore"], score_dim=1,
        bias=True, score_type=kind, do_normalize=True, normalizer_type="RunningMeanStd",
    )  # fmt: skip
    drop_template(folder)
    tokenizer = tiny.tokenizer_of("llama")

    def reward(question, answer):
        text = f"<|begin_of_text|>BEGINNING OF CONVERSATION: USER: {question} ASSISTANT:{answer}"
        score = mlp(last_hidden(model, tokenizer, text), head, ["score_head"])[0].item()
        # safe-rlhf: rewards "affine", costs "scale"; a cost is worse the higher it is.
        return (score - 0.7) / 2.5**0.5 if kind == "reward" else -score / 2.5**0.5

    return Case(folder, reward)


@builder("Beaver reward")
def beaver_reward(folder):
    return beaver(folder, "reward")


@builder("Beaver cost")
def beaver_cost(folder):
    return beaver(folder, "cost")


@builder("LDL")
def ldl(folder):
    """Three objectives over ten bins; the backbone alone in the model's own files."""
    model = save(folder, "gemma2", {}, prefix="", architectures=["Gemma2Model"], num_objectives=30)
    names = [f"network.{place}" for place in (0, 2, 4)]
    gates = [f"network.{place}" for place in (0, 3, 6)]
    regression = mlp_tensors(*names, sizes=(32, 16, 16, 30))
    gating = mlp_tensors(*gates, sizes=(32, 16, 16, 3))
    torch.save(regression, folder / "regression_layer.pt")
    torch.save(gating, folder / "gating_layer.pt")
    tokenizer = tiny.tokenizer_of("gemma2")
    leaky = torch.nn.functional.leaky_relu

    def reward(question, answer):
        hidden = last_hidden(model, tokenizer, rendered(tokenizer, question, answer))
        bins = mlp(hidden, regression, names, leaky).view(3, 10).softmax(-1)
        total = mlp(hidden, gating, gates, leaky) @ bins
        return (total * torch.linspace(0, 1, 10)).sum().item()

    return Case(folder, reward)


@builder("process reward")
def process_reward(folder):
    tensors = mlp_tensors("score.0", "score.2", sizes=(32, 32, 2))
    model = save(folder, "qwen2", tensors, architectures=["Qwen2ForProcessRewardModel"])
    tokenizer = tiny.tokenizer_of("qwen2")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra_0>"]})
    # The real vocabulary has the token from the start; here it takes the last row.
    step = tokenizer.convert_tokens_to_ids("<extra_0>")
    model.resize_token_embeddings(len(tokenizer))
    own = {f"model.{key}": value for key, value in model.state_dict().items()}
    save_file({**own, **tensors}, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, vocab_size=len(tokenizer))
    tokenizer.save_pretrained(folder)

    @torch.no_grad()
    def reward(question, answer):
        steps = [part.strip() for part in answer.split("\n\n")]
        text = rendered(tokenizer, question, "<extra_0>".join(steps) + "<extra_0>")
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        hidden = model(input_ids=ids).last_hidden_state[0]
        places = (ids[0] == step).nonzero().flatten().tolist()
        assert len(places) == len(steps)
        scores = [mlp(hidden[i], tensors, ["score.0", "score.2"]).softmax(-1)[1] for i in places]
        return scores[-1].item()

    return Case(folder, reward)


@builder("token classifier (TRL's PRMTrainer)")
def trl_process_reward(folder):
    """Two classes a token, and the separator that ``PRMTrainer`` puts after each step."""
    model = tiny.build("qwen2", transformers.AutoModelForTokenClassification, num_labels=2)
    tiny.save(folder, "qwen2", model)
    tokenizer = tiny.tokenizer_of("qwen2")
    (step,) = tokenizer("\n", add_special_tokens=False).input_ids

    @torch.no_grad()
    def reward(question, answer):
        text = rendered(tokenizer, question, answer).rpartition(answer)[0] + answer
        ids = [*tokenizer(text, add_special_tokens=False).input_ids, step]
        return model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)[1].item()

    return Case(
        folder, reward, {"readout": "process", "step_token": "\\n"}, family="token classifier"
    )


@builder("Nemotron logit")
def nemotron(folder):
    folder = folder / "Llama-3.1-Nemotron-70B-Reward-HF"
    model = tiny.build("llama", transformers.AutoModelForCausalLM)
    tiny.save(folder, "llama", model)
    tokenizer = tiny.tokenizer_of("llama")

    def reward(question, answer):
        text = rendered(tokenizer, question, answer)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        made = model.generate(
            **ids, max_new_tokens=1, do_sample=False, return_dict_in_generate=True,
            output_scores=True, pad_token_id=0,
        )  # fmt: skip
        return made["scores"][0][0][0].item()

    return Case(folder, reward)


@builder("Nemotron logit (two tokens at a step)")
def math_shepherd(folder):
    """Math-Shepherd: '+' against '-' at the step's token, in a plain template."""
    model = tiny.build("mistral", transformers.AutoModelForCausalLM)
    tiny.save(folder, "mistral", model)
    tokenizer = tiny.tokenizer_of("mistral")
    good, bad, step = (tokenizer(each, add_special_tokens=False).input_ids[0] for each in "+-k")

    @torch.no_grad()
    def reward(question, answer):
        text = rendered(tokenizer, question, answer).rpartition(answer)[0] + answer
        ids = tokenizer(text, add_special_tokens=False).input_ids
        logits = model(input_ids=torch.tensor([[*ids, step]])).logits[0, -1]
        return logits[[good, bad]].softmax(-1)[0].item()

    arguments = {"readout": "lm_logit", "token_id": f"{good};{bad}", "step_token": "k"}
    return Case(folder, reward, arguments, family="sequence classifier")


INTERNLM2_CONFIG = """
from transformers import LlamaConfig

class InternLM2Config(LlamaConfig):
    model_type = "internlm2"

    def __init__(self, reward_token_id=92527, **kwargs):
        super().__init__(**kwargs)
        self.reward_token_id = reward_token_id
"""
INTERNLM2_CODE = """
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast
from .configuration_internlm2 import InternLM2Config

class InternLM2ForRewardModel(LlamaPreTrainedModel):
    config_class = InternLM2Config

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.v_head = nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        assert input_ids[:, -1].eq(self.config.reward_token_id).all()
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        return SequenceClassifierOutputWithPast(logits=self.v_head(hidden)[:, -1])
"""


@builder("InternLM2-Reward")
def internlm2(folder):
    tensors = mlp_tensors("v_head", sizes=(32, 1), bias=False)
    model = save(
        folder, "llama", tensors, model_type="internlm2", reward_token_id=7,
        architectures=["InternLM2ForRewardModel"],
        auto_map={
            "AutoConfig": "configuration_internlm2.InternLM2Config",
            "AutoModel": "modeling_internlm2.InternLM2ForRewardModel",
        },
    )  # fmt: skip
    (folder / "configuration_internlm2.py").write_text(INTERNLM2_CONFIG)
    (folder / "modeling_internlm2.py").write_text(INTERNLM2_CODE)
    tokenizer = tiny.tokenizer_of("llama")

    @torch.no_grad()
    def reward(question, answer):
        text = rendered(tokenizer, question, answer)
        ids = [*tokenizer(text, add_special_tokens=False).input_ids, 7]
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
        return mlp(hidden, tensors, ["v_head"])[0].item()

    return Case(folder, reward, {"trust_remote_code": True}, shares=False)


OWN_CODE = """
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel

class LlamaRewardValues(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.value = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        return self.value(hidden).squeeze(-1)
"""


@builder("own code")
def own_code(folder):
    """A tensor of one value a token, as Ziya's and others' code returns."""
    case = on_last_token(
        folder, "llama", ("value",), (32, 1), family="own code", architectures=["Mine"],
        auto_map={"AutoModel": "modeling_values.LlamaRewardValues"},
    )  # fmt: skip
    (folder / "modeling_values.py").write_text(OWN_CODE)
    return Case(folder, case.reward, {"trust_remote_code": True}, shares=False)


GATING_CODE = """
from dataclasses import dataclass
import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.utils import ModelOutput

@dataclass
class CustomOutput(ModelOutput):
    rewards: torch.FloatTensor = None
    gating_output: torch.FloatTensor = None
    score: torch.FloatTensor = None
    logits: torch.FloatTensor = None

class GatingNetwork(nn.Module):
    def __init__(self, hidden, objectives, inner, temperature):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(hidden, inner), nn.Linear(inner, objectives)])
        self.temperature = temperature

    def forward(self, x):
        x = torch.relu(self.layers[0](x))
        return (self.layers[1](x) / self.temperature).softmax(dim=1)

class LlamaForRewardModelWithGating31(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.regression_layer = nn.Linear(
            config.hidden_size, config.num_quantiles * config.num_objectives, bias=False
        )
        self.reward_transform_matrix = nn.Parameter(torch.eye(config.num_objectives))
        self.gating = GatingNetwork(
            config.hidden_size, config.num_objectives, config.gating_hidden_dim,
            config.gating_temperature,
        )
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        last = torch.eq(input_ids, self.config.pad_token_id).int().argmax(-1) - 1
        last = last % input_ids.shape[-1]
        row = torch.arange(len(hidden))
        rewards = self.regression_layer(hidden[row, last].float())
        rewards = rewards.reshape(len(hidden), self.config.num_objectives, -1).mean(dim=2)
        rewards = rewards @ self.reward_transform_matrix
        # The gate looks at the header of the last turn, as the real code looks for its ids.
        headers = (input_ids == self.config.gate_token_id).int().cumsum(dim=1).argmax(dim=1)
        gate = self.gating(hidden[row, headers].float())
        score = (gate * rewards).sum(dim=1, keepdim=True)
        return CustomOutput(rewards=rewards, gating_output=gate, score=score, logits=score)
"""


@builder("gated objectives")
def gated_objectives(folder):
    """QRM's quantiles of four objectives (ArmoRM is the same with one quantile)."""
    names = ("gating.layers.0", "gating.layers.1")
    tensors = {
        **mlp_tensors(*names, sizes=(32, 8, 4)),
        "regression_layer.weight": randn(20, 32, seed=8),
        "reward_transform_matrix": randn(4, 4, seed=9),
    }
    header = tiny.tokenizer_of("llama").convert_tokens_to_ids("<|start_header_id|>")
    model = save(
        folder, "llama", tensors, architectures=["LlamaForRewardModelWithGating31"],
        auto_map={
            "AutoModelForSequenceClassification": "modeling_gating.LlamaForRewardModelWithGating31"
        },
        num_objectives=4, num_quantiles=5, gating_hidden_dim=8, gating_temperature=10,
        gate_token_id=header,
    )  # fmt: skip
    (folder / "modeling_gating.py").write_text(GATING_CODE)
    tokenizer = tiny.tokenizer_of("llama")

    @torch.no_grad()
    def reward(question, answer):
        text = rendered(tokenizer, question, answer)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        place = len(ids) - 1 - ids[::-1].index(header)
        gate = (mlp(hidden[place], tensors, names) / 10).softmax(-1)
        quantiles = (tensors["regression_layer.weight"] @ hidden[-1]).view(4, 5)
        rewards = quantiles.mean(-1) @ tensors["reward_transform_matrix"]
        return (gate @ rewards).item()

    return Case(folder, reward, {"trust_remote_code": True}, shares=False)


URM_CODE = """
import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

class LlamaForSequenceClassificationWithNormal_Weights(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.weights = nn.Sequential(
            nn.Linear(config.hidden_size, 8), nn.SELU(), nn.Linear(8, config.num_labels // 2)
        )
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        last = torch.eq(input_ids, self.config.pad_token_id).int().argmax(-1) - 1
        last = hidden[torch.arange(len(hidden)), last % input_ids.shape[-1]]
        means = self.score(last).view(len(hidden), -1, 2)[:, :, 0]
        logits = (means * self.weights(last)).sum(dim=1, keepdim=True)
        return SequenceClassifierOutputWithPast(logits=logits)
"""


@builder("URM")
def urm(folder):
    """Five attributes of (mean, variance), and a gate on the means."""
    names = ("weights.0", "weights.2")
    tensors = {**mlp_tensors(*names, sizes=(32, 8, 5)), "score.weight": randn(10, 32, seed=8)}
    kind = "LlamaForSequenceClassificationWithNormal_Weights"
    model = save(
        folder, "llama", tensors, architectures=[kind],
        id2label={str(i): str(i) for i in range(10)},
        auto_map={"AutoModelForSequenceClassification": f"modeling_urm.{kind}"},
    )  # fmt: skip
    (folder / "modeling_urm.py").write_text(URM_CODE)
    tokenizer = tiny.tokenizer_of("llama")

    def reward(question, answer):
        hidden = last_hidden(model, tokenizer, rendered(tokenizer, question, answer))
        means = (tensors["score.weight"] @ hidden).view(5, 2)[:, 0]
        return (means @ mlp(hidden, tensors, names, torch.nn.functional.selu)).item()

    return Case(folder, reward, {"trust_remote_code": True}, shares=False)


@builder("value head (Skywork-VL)")
def skywork_vl(folder):
    """Qwen2.5-VL read on text, with TRL's value head in a file of its own."""
    sizes = {key: value for key, value in tiny.DECODERS["qwen2"][2].items()}
    text = {**sizes, "vocab_size": len(tiny.tokenizer_of("qwen2"))}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
              "out_hidden_size": 32, "fullatt_block_indexes": [0]}  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    torch.manual_seed(0)
    tokens = {f"{name}_token_id": 3 for name in ("image", "video", "vision_start", "vision_end")}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rope, "initializer_range": 0.2},
        vision_config=vision, **tokens,
    )  # fmt: skip
    model = transformers.Qwen2_5_VLForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    tokenizer = tiny.tokenizer_of("qwen2")
    tokenizer.save_pretrained(folder)
    tensors = mlp_tensors("v_head.summary", sizes=(32, 1))
    save_file(tensors, folder / "value_head.safetensors")

    @torch.no_grad()
    def reward(question, answer):
        ids = tokenizer(rendered(tokenizer, question, answer), return_tensors="pt")
        hidden = model(**ids, output_hidden_states=True).hidden_states[-1][0, -1]
        return mlp(hidden, tensors, ["v_head.summary"])[0].item()

    return Case(folder, reward, family="value head", shares=None)


def refused(folder, architecture, name="llama", **config):
    """A checkpoint that no scalar reward can be read from; its weights do not matter."""
    tiny.save(folder, name)
    edit(folder, architectures=[architecture], **config)
    return folder


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


OWN_CLASSIFIER = """
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

class OwnForSequenceClassification(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score = nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        return SequenceClassifierOutputWithPast(logits=2 * self.score(hidden)[:, -1])
"""


def own_classifier(folder):
    """A classifier of no known family whose weights fit transformers' class, unlike its code."""
    tiny.save(folder, "llama")
    (folder / "modeling_own.py").write_text(OWN_CLASSIFIER)
    name = "OwnForSequenceClassification"
    auto = {"AutoModelForSequenceClassification": f"modeling_own.{name}"}
    edit(folder, architectures=[name], auto_map=auto)
    return folder
