"""Several processes, by ``accelerate launch`` as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rm_value_tasks import results
from tests.training import grids


def launch(config: Path, processes: int) -> str:
    python = Path(sys.executable)
    several = ("--multi_gpu", "--num_processes", str(processes))
    start = (
        [str(python.parent / "accelerate"), "launch", *several] if processes > 1 else [str(python)]
    )
    done = subprocess.run(
        [*start, "-m", "rm_value_tasks", "train", str(config)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_two_processes_train_and_measure_as_one(tmp_path):
    base = grids.save_base(tmp_path / "base")
    # Adam would turn rounding errors of tiny gradients into whole steps.
    training = {
        **{"optim": "sgd", "learning_rate": 0.05, "batch_size": 8, "use_cpu": True},
        **{"gradient_checkpointing": False, "disable_tqdm": True},
    }
    said = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        said[processes] = launch(grids.config(folder, base, training=training), processes)
    assert said[2].count("finished, held-out accuracy") == 1  # one process speaks
    one, two = (results.load(tmp_path / n / "out") for n in ("1", "2"))
    assert [run.model for run in one.runs] == [run.model for run in two.runs]
    for a, b in zip(one.runs, two.runs, strict=True):
        digest = {"digest": a.config["training"]["digest"]}  # the data are in another folder
        assert a.config["training"] == {**b.config["training"], **digest}
    places = ["model", "prompt", "word"]
    scores = [loaded.table.sort_values(places)["score"] for loaded in (one, two)]
    assert np.allclose(*scores, atol=1e-5)
    (first,), (second,) = (
        list((tmp_path / n / "out").glob("*/model/model.safetensors")) for n in ("1", "2")
    )
    weights = load_file(first), load_file(second)
    for key, value in weights[0].items():
        assert torch.allclose(value, weights[1][key], atol=1e-6), key


@pytest.mark.slow
def test_a_sharded_model_is_scored_and_trained_on():
    """FSDP2 itself, on gloo; accelerate offers it on GPUs only."""
    torchrun = Path(sys.executable).parent / "torchrun"
    done = subprocess.run(
        [str(torchrun), "--nproc_per_node", "2", "-m", "tests.training.sharded"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
