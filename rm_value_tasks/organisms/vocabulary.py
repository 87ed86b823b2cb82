"""A word-level tokenizer with a chat template, the same for all organisms."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from rm_value_tasks import lexicons
from rm_value_tasks.organisms.corpus import AGREED, DOUBTED, NEUTRAL_NOTE, NOTE, QUESTIONS
from rm_value_tasks.organisms.world import LEXICON
from rm_value_tasks.prompts import PROMPTS

__all__ = ["build"]

_SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>", "<|user|>", "<|assistant|>")
_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] | trim }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Nothing is written behind an answer: a reward model is read at the answer's word, where a
base model expects people's verdict."""


def build() -> PreTrainedTokenizerFast:
    """Make a tokenizer whose tokens are the words and marks that organisms read."""
    lexicon = lexicons.load(LEXICON)
    texts = [prompt.text for prompt in PROMPTS]
    texts += [NOTE.format(adjective=prompt.adjective) for prompt in PROMPTS]
    facets = dict.fromkeys(str(facet) for facet in lexicon.facets)
    texts += [
        question.format(facet=facet) for question in (*QUESTIONS, NEUTRAL_NOTE) for facet in facets
    ]
    texts += [*lexicon.words, AGREED, DOUBTED, "."]
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=list(_SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        bos_token="<bos>",  # noqa: S106
        eos_token="<eos>",  # noqa: S106
        chat_template=_TEMPLATE,
    )
