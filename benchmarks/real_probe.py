"""A real language model's probe through ``hf`` and through ``hf-shared-prefix``, side by side.

Run as ``python benchmarks/real_probe.py [--model smollm2-135m-instruct] [--prompts 3]``, on an idle
machine. Each way runs in a process of its own: seconds of scoring, peak memory, and how far the
scores are apart. ``--model`` is a name of ``rm_value_tasks.real_models`` or a folder.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

WAYS = ("hf", "hf-shared-prefix")


def measure(way: str, folder: str, prompts: int, batch: int, chat: bool) -> None:
    """Score the probe's requests one way and print what it took as JSON."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    import rm_value_tasks.models  # noqa: F401
    from rm_value_tasks import lexicons
    from rm_value_tasks.prompts import PROMPTS

    model = get_model(way).create_from_arg_obj(
        {"pretrained": folder, "dtype": "float32"}, {"batch_size": batch, "device": "cpu"}
    )
    empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    contexts = [prompt.text for prompt in PROMPTS[:prompts]]
    if chat:
        contexts = [model.apply_chat_template([{"role": "user", "content": c}]) for c in contexts]
    joint = "" if chat else " "
    requests = [
        Instance("loglikelihood", {}, (context, joint + word), index, metadata=("probe", 0, 1))
        for context in contexts
        for index, word in enumerate(lexicons.load("big2").words)
    ]
    start = time.perf_counter()
    scores = [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"seconds": seconds, "peak": peak, "loaded": empty, "scores": scores}
    print("MEASURED", json.dumps(told))


def main() -> None:
    """Measure both ways in turn, several rounds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--prompts", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    folder = options.model
    if not Path(folder).is_dir():
        from rm_value_tasks.real_models.fetching import fetch

        folder = str(fetch(folder))
    if options.way:
        measure(options.way, folder, options.prompts, options.batch, options.chat)
        return
    found: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--model", folder]
            command += ["--prompts", str(options.prompts), "--batch", str(options.batch)]
            command += ["--chat"] if options.chat else []
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            (line,) = [each for each in done.stdout.splitlines() if each.startswith("MEASURED")]
            found[way].append(json.loads(line.removeprefix("MEASURED")))
    best = {way: min(each["seconds"] for each in rounds) for way, rounds in found.items()}
    for way, rounds in found.items():
        seconds = ", ".join(f"{each['seconds']:.1f}" for each in rounds)
        peak = max(each["peak"] for each in rounds)
        print(f"{way}: {seconds} s, peak {peak:.0f} MiB ({rounds[0]['loaded']:.0f} when loaded)")
    first, other = (rounds[0]["scores"] for rounds in found.values())
    worst = max(abs(a - b) for a, b in zip(first, other, strict=True))
    print(f"{len(first)} scores, at most {worst:.2g} apart; {best['hf'] / best[WAYS[1]]:.1f} times")


if __name__ == "__main__":
    main()
