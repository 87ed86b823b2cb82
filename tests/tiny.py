"""Tiny models of real architectures, with tokenizers trained on the spot."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from rm_value_tasks.prompts import PROMPTS

CORPUS = [prompt.text for prompt in PROMPTS] + [
    "freedom ability success power talent ambition love family friendship care trust",
    "The quick brown fox jumps over the lazy dog. Pack my box with five dozen jugs.",
    "Which animal barks? A dog. Which animal meows? A cat. user assistant system model",
]

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
TEMPLATES = {"llama3": LLAMA3, "chatml": CHATML, "gemma": GEMMA}
_SPECIAL = {
    "llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "gemma": ["<bos>", "<start_of_turn>", "<end_of_turn>"],
}
_BOS = {"llama3": "<|begin_of_text|>", "chatml": None, "gemma": "<bos>"}


def chat_tokenizer(style: str) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE (llama3, chatml) or SentencePiece-like BPE (gemma), with its template."""
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_bpe(style)),
        bos_token=_BOS[style],
        eos_token=_SPECIAL[style][-1],
        pad_token="<pad>",
        chat_template=TEMPLATES[style],
    )


@functools.cache
def _bpe(style: str) -> str:
    tokenizer = Tokenizer(models.BPE(byte_fallback=style == "gemma"))
    special = [*_SPECIAL[style], "<pad>"]
    if style == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        special += [f"<0x{byte:02X}>" for byte in range(256)]
        alphabet = []
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if _BOS[style]:
        bos = _BOS[style]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return tokenizer.to_str()


def bert_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """WordPiece with [CLS] and [SEP], no chat template."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


_DECODER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "head_dim": 8,
}

DECODERS = {
    "llama": ("Llama", "llama3", _DECODER),
    "qwen2": ("Qwen2", "chatml", {k: v for k, v in _DECODER.items() if k != "head_dim"}),
    "qwen3": ("Qwen3", "chatml", _DECODER),
    "gemma2": ("Gemma2", "gemma", {**_DECODER, "sliding_window": 16, "query_pre_attn_scalar": 8}),
    "gemma3": (
        "Gemma3Text",
        "gemma",
        {**_DECODER, "sliding_window": 16, "query_pre_attn_scalar": 8},
    ),
    "mistral": ("Mistral", "llama3", {**_DECODER, "sliding_window": 16}),
    "gpt2": ("GPT2", "chatml", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
}
ENCODERS = {
    "bert": (
        "Bert",
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
    "deberta-v2": (
        "DebertaV2",
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "relative_attention": True,
            "position_buckets": 16,
            "pos_att_type": ["p2c", "c2p"],
            "pooler_hidden_size": 32,
        },
    ),
}


def config_of(name: str, tokenizer: transformers.PreTrainedTokenizerBase, **changes):
    """The architecture's own config class, made tiny."""
    family, arguments = (
        (DECODERS[name][0], DECODERS[name][2]) if name in DECODERS else ENCODERS[name]
    )
    config_class = getattr(transformers, f"{family}Config")
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return config_class(**{"vocab_size": len(tokenizer), **arguments, **ids, **changes})


def tokenizer_of(name: str) -> transformers.PreTrainedTokenizerBase:
    return chat_tokenizer(DECODERS[name][1]) if name in DECODERS else bert_tokenizer()


def build(
    name: str, auto=transformers.AutoModelForSequenceClassification, *, seed: int = 0, **changes
) -> transformers.PreTrainedModel:
    """A randomly initialised model; weights large enough that answers differ."""
    if auto is transformers.AutoModelForSequenceClassification:
        changes = {"num_labels": 1, **changes}
    torch.manual_seed(seed)
    config = config_of(name, tokenizer_of(name), initializer_range=0.2, **changes)
    return auto.from_config(config).eval()


def save(
    folder: Path, name: str, model: transformers.PreTrainedModel | None = None, **changes
) -> Path:
    """Save a reward model and its tokenizer as a checkpoint folder."""
    (model or build(name, **changes)).save_pretrained(folder)
    tokenizer_of(name).save_pretrained(folder)
    return folder


def save_language_model(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Save a causal model of an architecture; ``bert`` is WordPiece, read left to right."""
    changes = {"is_decoder": True} if name == "bert" else {}
    model = build(name, transformers.AutoModelForCausalLM, seed=seed, **changes)
    save(folder, name, model)
    if name == "bert":  # lm-eval asks for the token that stands before a text
        tokenizer = bert_tokenizer()
        tokenizer.add_special_tokens({"bos_token": "[CLS]", "eos_token": "[SEP]"})
        tokenizer.save_pretrained(folder)
    return folder
