"""Fixtures: tiny checkpoints built once a session, and the published data where present."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

# Tiny models gain nothing from threads, and threads of several processes stall each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _machine_described_once() -> None:
    """lm-eval describes the machine in every result, by a second of subprocesses each time."""
    from torch.utils import collect_env

    collect_env.get_pretty_env_info = functools.cache(collect_env.get_pretty_env_info)


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder with the data that the paper's authors published."""
    folder = SHARED / "published"
    if not folder.is_dir():
        pytest.skip(
            "the paper's published data are not beside the repository (../shared/published)"
        )
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with statistics computed independently from the published scores."""
    folder = SHARED / "reference"
    if not folder.is_dir():
        pytest.skip("the reference statistics are not beside the repository (../shared/reference)")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):
    """Return a function from an architecture's name to a tiny reward model's folder."""
    from tests import tiny

    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tiny.save(tmp_path_factory.mktemp(name), name)
        return made[name]

    return make
