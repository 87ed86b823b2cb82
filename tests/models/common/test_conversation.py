import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers, processors

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.chat_encoder import ChatEncoder
from rm_value_tasks.models.common.conversation import Conversation, messages_of
from rm_value_tasks.models.common.sentence_pairs import PairEncoder
from tests import tiny

USER = {"role": "user", "content": "What is the best thing ever?"}


def rendered(tokenizer, messages):
    """The tokens by transformers' own one-step rendering: one BOS if the template has it."""
    return tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]


def answer(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize("style", tiny.TEMPLATES)
@pytest.mark.parametrize(
    "text", ["freedom", "New York", "two\nlines", "trailing ", "<b>bold</b>", "naïve", "愛"]
)
def test_tokens_are_those_of_the_chat_template(style, text):
    tokenizer = tiny.chat_tokenizer(style)
    encoder = ChatEncoder(tokenizer)
    # Twice the same context, so that the joined halves are used as well as the rendering.
    first, second = encoder.encode([(USER["content"], " love"), (USER["content"], " " + text)])
    assert first["input_ids"] == rendered(tokenizer, [USER, answer("love")])
    assert second["input_ids"] == rendered(tokenizer, [USER, answer(text)])
    assert encoder.describe()["bos_count"] == (0 if style == "chatml" else 1)


@given(st.text(max_size=20))
def test_any_answer_is_encoded_as_rendered(text):
    tokenizer = tiny.chat_tokenizer("llama3")
    context = Conversation("rendered", [USER])
    (tokens,) = ChatEncoder(tokenizer).encode([(context, text)])
    assert tokens["input_ids"] == rendered(tokenizer, [USER, answer(text)])


def test_paper_bos_is_doubled_and_recorded():
    tokenizer = tiny.chat_tokenizer("llama3")
    encoder = ChatEncoder(tokenizer, bos="paper")
    (tokens,) = encoder.encode([("Q", " A")])
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Q"}, answer("A")], tokenize=False
    )
    assert tokens["input_ids"] == tokenizer(text)["input_ids"]
    assert tokens["input_ids"][:2] == [tokenizer.bos_token_id] * 2
    assert encoder.describe()["bos_count"] == 2


def test_a_bos_that_the_template_forgets_is_added_once():
    tokenizer = tiny.chat_tokenizer("llama3")
    tokenizer.chat_template = tokenizer.chat_template.replace("{{ bos_token }}", "")
    (tokens,) = ChatEncoder(tokenizer).encode([("Q", " A")])
    assert tokens["input_ids"].count(tokenizer.bos_token_id) == 1
    assert tokens["input_ids"][0] == tokenizer.bos_token_id


def test_a_bos_that_the_template_doubles_is_kept_once():
    tokenizer = tiny.chat_tokenizer("llama3")
    (expected,) = ChatEncoder(tokenizer).encode([("Q", " A")])
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    encoder = ChatEncoder(tokenizer)
    assert encoder.encode([("Q", " A")]) == [expected]
    assert encoder.describe()["bos_count"] == 1


def test_turns_survive_lm_evals_string_and_its_request_cache():
    history = [{"role": "system", "content": "Be brief."}, USER]
    context = Conversation("<rendered>", history)
    again = pickle.loads(pickle.dumps(context))
    assert again == "<rendered>"
    assert messages_of(again, " love") == [*history, answer(" love")]


def test_a_generation_prefix_is_part_of_the_answer():
    context = Conversation("...", [USER, answer("The answer is")])
    assert messages_of(context, " love") == [USER, answer("The answer is love")]


def test_lm_evals_delimiter_is_not_part_of_the_answer():
    assert messages_of("Q", " love")[-1] == answer("love")
    assert messages_of("Q", "  love")[-1] == answer(" love")


def test_a_template_without_system_turns_gets_none_as_in_lm_eval():
    tokenizer = tiny.chat_tokenizer("gemma")
    context = Conversation("...", [{"role": "system", "content": "Be brief."}, USER])
    (tokens,) = ChatEncoder(tokenizer).encode([(context, "love")])
    assert tokens["input_ids"] == rendered(tokenizer, [USER, answer("love")])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "no chat template.*chat_template=FILE"),
        ("{{ messages[0]['content'] }}", "leaves out or changes the answer 'freedom'"),
        ("{{ raise_exception('never') }}", r"refuses a conversation.*never"),
    ],
)
def test_unusable_templates_are_refused(template, message):
    tokenizer = tiny.chat_tokenizer("llama3")
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=message):
        ChatEncoder(tokenizer).encode([("Q", " A")])


def test_a_context_rendered_elsewhere_is_not_rendered_twice():
    tokenizer = tiny.chat_tokenizer("llama3")
    text = tokenizer.apply_chat_template([USER], tokenize=False, add_generation_prompt=True)
    with pytest.raises(ModelError, match="nest two templates.*--apply_chat_template"):
        ChatEncoder(tokenizer).encode([(text, "love")])


def test_an_unknown_bos_rule_is_refused():
    with pytest.raises(ModelError, match="neither 'one' nor 'paper'"):
        ChatEncoder(tiny.chat_tokenizer("llama3"), bos="two")


def test_pairs_are_encoded_as_the_tokenizer_does():
    tokenizer = tiny.bert_tokenizer()
    (tokens,) = PairEncoder(tokenizer).encode([("best thing ever?", " love")])
    expected = tokenizer("best thing ever?", "love")
    assert tokens["input_ids"] == expected["input_ids"]
    assert tokens["token_type_ids"] == expected["token_type_ids"]
    with pytest.raises(ModelError, match="one question and one answer"):
        PairEncoder(tokenizer).encode([(Conversation("", [USER, answer("a"), USER]), "b")])


@pytest.mark.parametrize("style", tiny.TEMPLATES)
def test_a_token_between_the_halves_is_the_conversation(style):
    tokenizer = tiny.chat_tokenizer(style)
    words = [t for t in tokenizer.get_vocab() if t.isascii() and t.isalpha() and len(t) > 1]
    words = [word for word in words if len(tokenizer.tokenize(word)) == 1][:20]
    assert len(words) == 20
    encoder = ChatEncoder(tokenizer)
    before, after = (half["input_ids"] for half in encoder.halves(USER["content"]))
    for word in words:
        token = tokenizer.convert_tokens_to_ids(word)
        assert [*before, token, *after] == rendered(tokenizer, [USER, answer(word)])
    assert encoder.describe()["bos_count"] == (0 if style == "chatml" else 1)


@pytest.mark.parametrize("options", [{"bos": "paper"}, {"closed": True}])
def test_halves_have_the_special_tokens_of_whole_conversations(options):
    tokenizer = tiny.chat_tokenizer("llama3")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A <|eot_id|>",
        special_tokens=[
            (name, tokenizer.convert_tokens_to_ids(name))
            for name in ("<|begin_of_text|>", "<|eot_id|>")
        ],
    )
    encoder = ChatEncoder(tokenizer, **options)
    before, after = (half["input_ids"] for half in encoder.halves("Q"))
    (whole,) = encoder.encode([("Q", " A")])
    middle = tokenizer("A", add_special_tokens=False).input_ids
    assert [*before, *middle, *after] == whole["input_ids"]
    assert after == [tokenizer.eos_token_id] * 2


def test_the_second_half_gets_no_space_that_only_a_text_s_start_gets():
    tokenizer = tiny.chat_tokenizer("gemma")
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]  # as Llama 2
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}.\n{% endfor %}"
    _, after = ChatEncoder(tokenizer).halves("Q")
    assert tokenizer.convert_ids_to_tokens(after["input_ids"]) == [".", "<0x0A>"]


def test_a_template_that_acts_on_answers_has_no_halves():
    tokenizer = tiny.chat_tokenizer("llama3")
    tokenizer.chat_template = (
        "{{ messages[0]['content'] }}: {{ messages[-1]['content'] }}"
        "{{ messages[-1]['content'] | length }}"
    )
    with pytest.raises(ModelError, match="different text around different answers"):
        ChatEncoder(tokenizer).halves("Q")


def test_halves_of_a_pair():
    tokenizer = tiny.bert_tokenizer()
    before, after = PairEncoder(tokenizer).halves("freedom or love?")
    expected = tokenizer("freedom or love?", "love")
    token = tokenizer.convert_tokens_to_ids("love")
    assert [*before["input_ids"], token, *after["input_ids"]] == expected["input_ids"]
    types = [*before["token_type_ids"], 1, *after["token_type_ids"]]
    assert types == expected["token_type_ids"]
