"""Single tokens in vocabularies of every kind, trained on known lines."""

import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from rm_value_tasks import lexicons
from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons.single_tokens import is_single_token, keep_single_tokens
from rm_value_tasks.text.surface_forms import writers

CSV = b"word,category\npower,Agency\nfreedom,Agency\nlove,Communion\nkindness,Communion\n"


def train(kind, *lines):
    """A tokenizer whose merges make each line, up to its spaces, one token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=kind == "sentencepiece", unk_token="<unk>"))
    special = ["<unk>"]
    if kind == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    elif kind == "sentencepiece":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        special += [f"<0x{byte:02X}>" for byte in range(256)]
        alphabet = []
    elif kind == "dummy prefix":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        alphabet = ["\n"]
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        alphabet = []
    kinds = {"wordpiece": trainers.WordPieceTrainer}
    trainer = kinds.get(kind, trainers.BpeTrainer)(
        vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # Trained on "love" at a line's start and " power" behind a word.
        ("bytes", {"love": True, " love": False, "power": False, " power": True}),
        ("sentencepiece", {"love": True, " love": False, "power": False, " power": True}),
        # Writes a space before whatever comes first, so that no bare word is ever seen.
        ("dummy prefix", {"love": False, " love": True, "power": False, " power": True}),
        # Drops all white space.
        ("wordpiece", {"love": True, " love": True, "power": True, " power": True}),
    ],
)
def test_a_word_counts_as_it_stands_after_a_line_break(kind, expected):
    tokenizer = train(kind, "love", "a power")
    assert {text: is_single_token(text, tokenizer) for text in expected} == expected


def test_unknown_and_empty_texts_are_no_tokens():
    tokenizer = train("wordpiece", "love", "a power")
    assert tokenizer("ж").input_ids == [tokenizer.unk_token_id]
    assert not is_single_token("ж", tokenizer)
    assert not is_single_token("", tokenizer)


@pytest.fixture
def vocabularies(tmp_path):
    lines = {
        "bytes": ("power", "love", "kindness", "a power", "a love"),
        "sentencepiece": ("power", "freedom", "love", "a power", "a love", "a kindness"),
    }
    for kind, known in lines.items():
        train(kind, *known).save_pretrained(tmp_path / kind)
    return [str(tmp_path / kind) for kind in lines]


def test_words_are_kept_that_are_one_token_everywhere_in_every_form(vocabularies, caplog):
    lexicon = lexicons.parse(CSV, "mine")
    rest, dropped = keep_single_tokens(lexicon, vocabularies, writers(["lower"], ""))
    assert rest.words == ("power", "love")
    assert rest.categories == (("Agency",), ("Communion",))
    assert dropped == ("freedom", "kindness")
    assert [record.getMessage() for record in caplog.records] == [
        "single_token_in drops 2 of the 4 words of mine; left are 1 of 2 Agency, 1 of 2 Communion."
    ]
    first, _ = keep_single_tokens(lexicon, vocabularies[:1], writers(["lower"], ""))
    assert first.words == ("power", "love", "kindness")
    second, _ = keep_single_tokens(lexicon, vocabularies[1:], writers(["space"], ""))
    assert second.words == ("power", "love", "kindness")
    both, _ = keep_single_tokens(lexicon, vocabularies[1:], writers(["lower", "space"], ""))
    assert both.words == ("power", "love")


def test_a_category_must_keep_a_word(vocabularies):
    lexicon = lexicons.parse(CSV, "mine")
    with pytest.raises(DataError, match="no Agency word of the lexicon mine is one token.*bytes"):
        keep_single_tokens(lexicon, vocabularies, writers(["title"], ""))


def test_a_tokenizer_that_is_not_there_is_named(tmp_path):
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere', whose tokenizer cannot be loaded"):
        keep_single_tokens(lexicons.parse(CSV, "mine"), [nowhere], writers(["lower"], ""))
