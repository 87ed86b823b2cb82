"""Templates are trusted once they have been seen to keep what they are given."""

import datetime
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common import template as templates
from rm_value_tasks.models.common.chat_encoder import ChatEncoder
from rm_value_tasks.models.common.chat_templates import use_chat_template
from rm_value_tasks.models.common.conversation import Conversation
from rm_value_tasks.models.common.template import DATE, Template
from tests import tiny


def each(content, user=None):
    """A template that writes turns one after the other, the user's perhaps otherwise."""
    user = user or content
    return (
        "{% for m in messages %}{{ m['role'] }}: {% if m['role'] == 'assistant' %}"
        f"{content}{{% else %}}{user}{{% endif %}}<|im_end|>\n{{% endfor %}}"
    )


PLAIN = "{{ m['content'] }}"
JSON = "{{ m['content'] | tojson }}"
CUT = "{{ m['content'].split('[/think]')[-1] }}"
LISTS = (
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
)
QWEN = "{{ m['content'].split('</think>')[-1].lstrip('\\n') }}"
RAISES = "{% if m['role'] != 'user' %}{{ raise_exception('users only') }}{% endif %}" + PLAIN


def tokenizer(template):
    found = tiny.chat_tokenizer("chatml")
    found.chat_template = template
    return found


def plain(own, question, answer):
    """As ``transformers`` alone has it, one conversation at a time."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    text = own.apply_chat_template(turns, tokenize=False)
    return own(text, add_special_tokens=False).input_ids


TEMPLATES = {
    "chatml": tiny.CHATML,
    "trimmed": each("{{ m['content'] | trim }}"),
    "json": each(JSON, PLAIN),
    "json both": each(JSON),
    "cut": each(CUT, PLAIN),
    "thoughts": each(QWEN, PLAIN),
}
OTHER_THOUGHTS = "{{ m['content'].split('</thought>')[-1].split('</seed:think>')[-1] }}"
TEMPLATES["last turn"] = (  # as ChatGLM4's: what an empty answer leaves is the question
    "{% for m in messages %}{% if m['content'] %}{{ m['role'] }}\n{{ m['content'] }}{% endif %}"
    "{% endfor %}"
)
TEMPLATES["other thoughts"] = each(OTHER_THOUGHTS, PLAIN)
ANSWERS = [
    "",
    "<thought>hm</thought>four",
    "<seed:think>hm</seed:think>four",
    'It is "four".',
    "[think]two and two[/think]four",
    "<think>two</think>four",
    "four",
    " love",
    "{{ 7 * 7 }}",
    "a\\nb",
    "日本",
]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_scored_is_what_the_template_writes(name, answer):
    own = tokenizer(TEMPLATES[name])
    for question in ("What is 2+2?", "  <b>{x}</b> "):
        for continuation in (answer, "plain"):
            (found,) = ChatEncoder(own).encode([(question, " " + continuation)])
            assert found["input_ids"] == plain(own, question, continuation)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(TEMPLATES)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(
        st.text(st.sampled_from("ab <>/[]{}\"'\\%#&|`~\n\té☃thinkx"), max_size=12),
        min_size=1,
        max_size=4,
    ),
)
def test_any_text_is_scored_as_the_template_writes_it(name, question, answers):
    own = tokenizer(TEMPLATES[name])
    encoder = ChatEncoder(own)
    try:
        expected = [plain(own, question, answer) for answer in answers]
        found = encoder.encode([(question, " " + answer) for answer in answers])
    except (IndexError, ModelError):
        return  # an empty question ends in the generation prompt, or the like
    assert [each["input_ids"] for each in found] == expected


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (each(PLAIN, LISTS), "leaves out or changes the question 'freedom'"),
        (each(PLAIN, "{{ m['content'] | upper }}"), "changes the question 'freedom'"),
        (each(PLAIN, "{{ m['content'] | striptags }}"), "changes the question '"),
        (each("{{ m['content'] | e }}", PLAIN), "changes the answer '"),
        (each("{{ m['content'][:12] }}", PLAIN), "changes the answer '"),
        (each("{{ m['content'].split('<')[0] }}", PLAIN), "changes the answer 'What is 2 < 3"),
        (each(RAISES), "refuses a conversation of .*: users only"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("{% for i in range(10**9) %}x{% endfor %}", "OverflowError: Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{% include 'secrets' %}", "TypeError: no loader"),
        ("{{ messages[", "TemplateSyntaxError"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    ],
)
def test_a_template_that_cannot_be_trusted_is_refused(template, said):
    with pytest.raises(ModelError, match=said) as refused:
        ChatEncoder(tokenizer(template))
    assert "\n" not in str(refused.value)


def test_a_template_without_an_end_is_stopped(monkeypatch):
    monkeypatch.setattr(templates, "_SECONDS", 0.5)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    start = time.monotonic()
    with pytest.raises(ModelError, match="did not end within"):
        ChatEncoder(tokenizer(endless))
    assert time.monotonic() - start < 20


def test_the_day_is_pinned_and_recorded():
    dated = "{{ strftime_now('%d %b %Y') }}" + tiny.CHATML
    own = tokenizer(dated)
    encoder = ChatEncoder(own)
    text = encoder.template.render([{"role": "user", "content": "Q"}])
    assert text.startswith("26 Jul 2024<|im_start|>user\nQ")
    assert encoder.settings()["template_date"] == DATE
    other = ChatEncoder(own, template_date="2026-11-28")
    assert other.template.render([{"role": "user", "content": "Q"}]).startswith("28 Nov 2026")
    assert other.encode([("Q", " A")]) != encoder.encode([("Q", " A")])
    assert other.settings()["rendering_sha256"] != encoder.settings()["rendering_sha256"]
    # transformers' own clock is back where it was
    today = own.apply_chat_template([{"role": "user", "content": "Q"}], tokenize=False)
    assert today.startswith(f"{datetime.datetime.now():%d %b %Y}")
    assert ChatEncoder(tokenizer(tiny.CHATML)).settings()["template_date"] is None
    for wrong in ("tomorrow", "", "2024-13-01"):
        with pytest.raises(ModelError, match="template_date=.* is no date like 2024"):
            Template(own, date=wrong)


def test_named_templates():
    named = {"default": tiny.CHATML, "tool_use": each(PLAIN)}
    own = tokenizer(dict(named))
    use_chat_template(own, None)
    encoder = ChatEncoder(own)
    assert encoder.template.text == named["default"]
    assert encoder.template.choose(True) == named["default"]
    assert encoder.template.choose("tool_use") == named["tool_use"]
    expected = plain(tokenizer(named["tool_use"]), "Q", "A")
    assert encoder.encode([("Q", " A")])[0]["input_ids"] == expected
    assert (
        encoder.settings()["chat_template_sha256"]
        != ChatEncoder(tokenizer(tiny.CHATML)).settings()["chat_template_sha256"]
    )
    with pytest.raises(ModelError, match=r"no chat template 'rag'.*default, tool_use"):
        encoder.template.choose("rag")
    chosen = tokenizer(dict(named))
    use_chat_template(chosen, "tool_use")
    assert chosen.chat_template == named["tool_use"]
    none = tokenizer({"a": tiny.CHATML, "b": tiny.LLAMA3})
    with pytest.raises(ModelError, match=r"several chat templates and none called default.*a, b"):
        use_chat_template(none, None)


def test_a_named_template_that_loses_the_question_is_refused():
    own = tokenizer({"default": tiny.CHATML, "lists": each(PLAIN, LISTS)})
    use_chat_template(own, None)
    with pytest.raises(ModelError, match="changes the question"):
        ChatEncoder(own).template.choose("lists")


@pytest.mark.parametrize("form", ["jinja", "json", "config", "list", "folder", "saved"])
def test_a_template_is_read_from_what_transformers_writes(tmp_path, form):
    contents = {
        "jinja": ("t.jinja", tiny.LLAMA3),
        "json": ("chat_template.json", json.dumps({"chat_template": tiny.LLAMA3})),
        "config": ("tokenizer_config.json", json.dumps({"x": 1, "chat_template": tiny.LLAMA3})),
        "list": (
            "tokenizer_config.json",
            json.dumps({"chat_template": [{"name": "default", "template": tiny.LLAMA3}]}),
        ),
        "folder": ("chat_template.json", json.dumps({"chat_template": tiny.LLAMA3})),
    }
    if form == "saved":
        tiny.chat_tokenizer("llama3").save_pretrained(tmp_path)
        path = tmp_path
    else:
        name, text = contents[form]
        (tmp_path / name).write_text(text)
        path = tmp_path if form == "folder" else tmp_path / name
    own = tiny.chat_tokenizer("chatml")
    use_chat_template(own, str(path))
    assert own.chat_template == tiny.LLAMA3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.jinja", None, "cannot be read"),
        ("latin.jinja", b"\xff\xfe", "cannot be read"),
        ("bad.json", b"{", "cannot be read"),
        ("deep.json", b"[" * 100000, "cannot be read"),
        ("other.json", b'{"a": 1}', "holds no chat template"),
        ("list.json", b'{"chat_template": [1]}', "holds no chat template"),
        ("empty.jinja", b"", "holds no chat template"),
        ("folder", "folder", "holds no chat template"),
    ],
)
def test_what_holds_no_template_is_refused(tmp_path, name, content, said):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as refused:
        use_chat_template(tiny.chat_tokenizer("chatml"), str(path))
    assert "\n" not in str(refused.value)


def test_a_system_text_is_kept_or_left_out_and_told_or_refused():
    system = {"role": "system", "content": "Be brief."}
    context = Conversation("", [system, {"role": "user", "content": "Q"}])
    kept = ChatEncoder(tokenizer(tiny.CHATML))
    assert "system\nBe brief." in kept._tokenizer.decode(
        kept.encode([(context, "A")])[0]["input_ids"]
    )
    assert kept.describe()["system_text_left_out"] is False
    left = ChatEncoder(tokenizer(tiny.GEMMA))
    left.encode([(context, "A")])
    assert left.describe()["system_text_left_out"] is True
    silent = "{% for m in messages %}{% if m['role'] != 'system' %}" + each(PLAIN)[24:-13]
    silent += "{% endif %}{% endfor %}"
    assert left.template.takes([{"role": "user", "content": "Q"}])
    dropped = ChatEncoder(tokenizer(silent))
    with pytest.raises(ModelError, match="leaves out or changes the system text"):
        dropped.encode([(context, "A")])


LAST = (  # Mistral's of 2024: the system text goes into the last turn, if it is the user's
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n\n"
    "{% endif %}{{ m['content'] }}[/INST]{% elif m['role'] == 'assistant' %} {{ m['content'] }}"
    "{% endif %}{% endfor %}"
)


def test_a_system_text_may_be_kept_before_an_answer_and_lost_with_one():
    system = {"role": "system", "content": "Be brief."}
    asked = {"role": "user", "content": "Q"}
    template = ChatEncoder(tokenizer(LAST)).template
    assert "Be brief." in template.render_kept([system, asked], add_generation_prompt=True)
    with pytest.raises(ModelError, match="changes the system text"):
        template.render_kept([system, asked, {"role": "assistant", "content": "A"}])


@pytest.mark.parametrize("answer", ["<", ">", "|", "<|im_end|>", "a step", "one\n\ntwo"])
def test_steps_of_answers_that_the_ending_holds_too(answer):
    own = tiny.chat_tokenizer("chatml")
    step = own.convert_tokens_to_ids("<|endoftext|>")
    encoder = ChatEncoder(own, step=step)
    (found,) = encoder.encode([("Q", " " + answer)])
    head = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    text = head + "<|endoftext|>".join(part.strip() for part in answer.split("\n\n"))
    assert found["input_ids"] == [*own(text, add_special_tokens=False).input_ids, step]


def test_a_template_that_takes_questions_alone_serves_language_models():
    alone = "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}\n{% endif %}"
    own = tokenizer({"default": each(PLAIN, LISTS), "alone": alone + "{% endfor %}"})
    use_chat_template(own, None)
    template = Template(own, answers=False)
    for use in (template.check, lambda: template.choose("default")):
        with pytest.raises(ModelError, match="changes the question"):
            use()
    assert template.choose("alone") == alone + "{% endfor %}"
    rendered = template.render([{"role": "user", "content": "What?"}], add_generation_prompt=True)
    assert rendered == "Q: What?\n"
