"""Run by torchrun in two processes: score a model whose weights are sharded (FSDP2)."""

from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from rm_value_tasks.training.reward_in_training import InTrainingRewardLM
from rm_value_tasks.training.untouched import untouched
from tests import tiny

CONVERSATIONS = [[1, 5, 6, 7], [1, 5, 6, 7, 8], [1, 9, 3]]


def rewards(model, *, sharded: bool) -> list[float]:
    trainer = SimpleNamespace(
        model=model,
        processing_class=tiny.tokenizer_of("llama"),
        is_world_process_zero=lambda: dist.get_rank() == 0,
        is_fsdp_enabled=sharded,
        is_deepspeed_enabled=False,
        accelerator=SimpleNamespace(num_processes=1),
    )
    with untouched(model):
        lm = InTrainingRewardLM(trainer)
        found = lm.score_sequences(CONVERSATIONS)
        lm.release()
        return found


def step(model, optimizer) -> None:
    ids = torch.tensor(CONVERSATIONS[:1])
    optimizer.zero_grad()
    model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum().backward()
    optimizer.step()


def main() -> None:
    dist.init_process_group("gloo")
    whole, sharded = tiny.build("llama").train(), tiny.build("llama").train()
    mesh = init_device_mesh("cpu", (2,))
    for layer in sharded.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    kinds = {name: type(value) for name, value in sharded.named_parameters()}
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.01) for model in (whole, sharded)]
    for _ in range(3):  # before the first step, and between steps
        expected = torch.tensor(rewards(whole, sharded=False))
        found = torch.tensor(rewards(sharded, sharded=True))
        assert torch.allclose(expected, found, atol=1e-5), (expected, found)
        assert sharded.training
        assert {name: type(value) for name, value in sharded.named_parameters()} == kinds
        step(whole, optimizers[0])
        step(sharded, optimizers[1])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
