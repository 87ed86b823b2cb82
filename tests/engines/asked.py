"""What engines are asked; imported in vLLM's environment too, which has no pytest."""

from lm_eval.api.instance import Instance

from rm_value_tasks import lexicons
from rm_value_tasks.prompts import PROMPTS


def requests(prompts=4, words=100):
    return instances(
        (prompt.text, f" {word}")
        for prompt in PROMPTS[:prompts]
        for word in lexicons.load("big2").words[:words]
    )


def instances(pairs):
    return [
        Instance("loglikelihood", {}, pair, index, metadata=("probe", 0, 1))
        for index, pair in enumerate(pairs)
    ]


def rewards(model, asked):
    return [float(score) for score, _ in model.loglikelihood(asked, disable_tqdm=True)]
