"""What it costs to know a model by its content: 5 GB of weights in memory, and on the disk.

Run as ``python benchmarks/content.py [--gigabytes 5] [--rounds 3]``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from rm_value_tasks.models.common.content import files_digest, weights_digest


def main() -> None:
    """Print seconds and GB/s of both digests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = int(options.gigabytes * 1e9 / 2 / 4096 / 10)
    layers = [torch.nn.Linear(4096, rows, bias=False, dtype=torch.bfloat16) for _ in range(10)]
    model = torch.nn.Sequential(*layers)
    size = sum(parameter.nbytes for parameter in model.parameters()) / 1e9
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(model.state_dict(), path)
        for name, digest in (
            ("weights in memory", lambda: weights_digest(model)),
            ("file on the disk", lambda: files_digest(path)),
        ):
            times = []
            for _ in range(options.rounds):
                start = time.perf_counter()
                digest()
                times.append(time.perf_counter() - start)
            best, rounds = min(times), ", ".join(f"{each:.2f}" for each in times)
            print(
                f"{name}: {size:.2f} GB, {best:.2f} s at best of {len(times)} ({rounds}), "
                f"{size / best:.1f} GB/s"
            )


if __name__ == "__main__":
    main()
