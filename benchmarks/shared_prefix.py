"""Time per answer: shared-prefix scoring, its peers, and the answers' own tokens alone.

Every figure of a row comes from one process, the contenders taking turns; the best of several
rounds counts, since other processes only ever slow one down. Models are random, of real
architectures. Peers score a part of the answers, since each answer costs them the same.

Peers, each with the best of several batch sizes:

- *batches*: full conversations sorted by length, padded to the longest of a batch;
- *pipeline*: ``transformers.pipeline("text-classification")`` on texts;
- *RewardBench loop*: its algorithm (tokenize and pad each batch to its longest, in the order
  given, chosen and rejected answers as two forward passes), without its package.

*Limit*: the answers' tokens with no prefix at all, in batches of one length without padding.

    python benchmarks/shared_prefix.py --quick
    python benchmarks/shared_prefix.py --curve
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from rm_value_tasks.models.prefix.forward import SharedPrefixEngine

VOCABULARY = 32000
ENDING = 2
"""Template tokens after each answer."""
ARCHITECTURES = {
    "Llama": (transformers.LlamaConfig, {}),
    "Qwen3": (transformers.Qwen3Config, {}),
    "Gemma-2": (transformers.Gemma2Config, {"attn_implementation": "eager"}),
    "Mistral, window 24": (transformers.MistralConfig, {"sliding_window": 24}),
}
PEER_BATCHES = (8, 32, 128)
LIMIT_BATCHES = (64, 256, 768)
Tokens = Sequence[int]


def build(name: str, quick: bool) -> transformers.PreTrainedModel:
    config_class, changes = ARCHITECTURES[name]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=VOCABULARY,
        hidden_size=256 if quick else 512,
        intermediate_size=688 if quick else 1376,
        num_hidden_layers=4 if quick else 8,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32 if quick else 64,
        num_labels=1,
        pad_token_id=0,
        **changes,
    )
    return transformers.AutoModelForSequenceClassification.from_config(config).eval()


def build_tokenizer() -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, "w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0")


def make_answers(kind: str, count: int) -> list[list[int]]:
    generator = random.Random(0)
    lengths = [1] * count if kind == "one token" else generator.choices((1, 2, 3, 4), k=count)
    ending = [5, 6][:ENDING]
    return [
        [generator.randrange(9, VOCABULARY) for _ in range(length)] + ending for length in lengths
    ]


def pad(batch: Sequence[Tokens]) -> dict[str, torch.Tensor]:
    longest = max(map(len, batch))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in batch])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@torch.inference_mode()
def batches(model, prefix: Tokens, answers: Sequence[Tokens], size: int) -> None:
    whole = sorted(([*prefix, *answer] for answer in answers), key=len, reverse=True)
    for start in range(0, len(whole), size):
        model(**pad(whole[start : start + size]))


def pipeline(classify, texts: Sequence[str], size: int) -> None:
    classify(list(texts), batch_size=size, function_to_apply="none")


@torch.inference_mode()
def rewardbench_loop(model, tokenizer, texts: Sequence[str], size: int) -> None:
    half = len(texts) // 2  # chosen and rejected
    for start in range(0, half, size):
        for side in (texts[:half], texts[half:]):
            inputs = tokenizer(
                list(side[start : start + size]), padding=True, truncation=True, max_length=2048,
                return_tensors="pt",
            )  # fmt: skip
            model(**inputs)


@torch.inference_mode()
def limit(model, answers: Sequence[Tokens], size: int) -> None:
    by_length: dict[int, list[Tokens]] = {}
    for answer in answers:
        by_length.setdefault(len(answer), []).append(answer)
    for same in by_length.values():
        for start in range(0, len(same), size):
            model.base_model(input_ids=torch.tensor(same[start : start + size]), use_cache=False)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, length: int, kind: str, arguments: argparse.Namespace) -> str:
    model, tokenizer = build(name, arguments.quick), build_tokenizer()
    classify = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
    prefix = [random.Random(1).randrange(9, VOCABULARY) for _ in range(length)]
    answers = make_answers(kind, arguments.answers)
    few = answers[: arguments.peer_answers]
    texts = [" ".join(f"w{token}" for token in (*prefix, *answer)) for answer in few]
    engine = SharedPrefixEngine(model.base_model, measure=True)

    def shared() -> None:
        engine.score(prefix, answers, lambda hidden: model.score(hidden)[:, 0])

    contenders: dict[tuple[str, int], tuple[Callable[[], object], int]] = {
        ("shared", 0): (shared, len(answers))
    }
    for size in LIMIT_BATCHES:
        contenders["limit", size] = (lambda s=size: limit(model, answers, s), len(answers))
    for size in PEER_BATCHES:
        contenders["batches", size] = (lambda s=size: batches(model, prefix, few, s), len(few))
        contenders["pipeline", size] = (lambda s=size: pipeline(classify, texts, s), len(few))
        contenders["rewardbench", size] = (
            lambda s=size: rewardbench_loop(model, tokenizer, texts, s),
            len(few),
        )
    shared()  # finds its sizes
    best: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for (contender, _), (work, count) in contenders.items():
            cost = 1000 * seconds(work) / count
            best[contender] = min(cost, best.get(contender, cost))
    peer = min(best["batches"], best["pipeline"], best["rewardbench"])
    columns = [f"{best[key]:.3f}" for key in ("batches", "pipeline", "rewardbench")]
    columns += [f"{best['shared']:.3f}", f"{best['limit']:.3f}"]
    columns += [f"{peer / best['shared']:.1f}x", f"{best['limit'] / best['shared']:.2f}"]
    return f"| {name} | {length} | {kind} | " + " | ".join(columns) + " |"


def peak_mib() -> float:
    """Return the peak of resident memory since the last reset, and reset it (Linux)."""
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(peak.split()[1]) / 1024


def curve(arguments: argparse.Namespace) -> None:
    model = build("Llama", arguments.quick)
    engine = SharedPrefixEngine(model.base_model)
    prefix = list(range(9, 41))
    print("\n| answers of two tokens (Llama, prefix 32) | seconds | ms per answer | peak MiB |")
    print("|---|---|---|---|")
    span = VOCABULARY - 9
    for count in (8192, 32768, 131072):
        # All different: the engine runs equal answers once.
        answers = [[9 + i % span, 9 + i // span, 5, 6] for i in range(count)]
        peak_mib()
        took = seconds(
            lambda a=answers: engine.score(prefix, a, lambda hidden: model.score(hidden)[:, 0])
        )
        print(
            f"| {count} | {took:.1f} | {1000 * took / count:.3f} | {peak_mib():.0f} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller models, fewer answers")
    parser.add_argument("--models", nargs="*", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    parser.add_argument("--prefixes", nargs="*", type=int, default=[32, 96])
    parser.add_argument("--kinds", nargs="*", default=["one token", "1-4 tokens"])
    parser.add_argument("--answers", type=int, help="default 4608, quick 768")
    parser.add_argument("--peer-answers", type=int, help="default 512, quick 128")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--curve", action="store_true", help="only cost and memory by answers")
    arguments = parser.parse_args()
    arguments.answers = arguments.answers or (768 if arguments.quick else 4608)
    arguments.peer_answers = arguments.peer_answers or (128 if arguments.quick else 512)
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    print(
        f"Milliseconds per answer; {arguments.answers} answers with {ENDING} template tokens "
        f"after each, peers on {arguments.peer_answers} of them; torch {torch.__version__}, "
        f"{arguments.threads} threads, float32, best of {arguments.rounds}.\n"
    )
    if not arguments.curve:
        print("| model | prefix | answers | batches | pipeline | RewardBench loop | "
              "shared prefix | limit | best peer / shared | limit / shared |")  # fmt: skip
        print("|---" * 10 + "|")
        for name in arguments.models:
            for length in arguments.prefixes:
                for kind in arguments.kinds:
                    print(compare(name, length, kind, arguments), flush=True)
    if arguments.curve or arguments.quick:
        curve(arguments)


if __name__ == "__main__":
    main()
