"""Chat templates: the same text as transformers, chosen with a reason, arguments as the template wants them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from metier.core.errors import ModelError, SettingsError
from metier.core.types import Message
from metier.text.settings import TextSettings
from metier.text.template import Beginnings, Template, TemplateRefusal, choose, open_template, plain_source
from metier.text.tokenizer import Tokenizer
from metier.text.turns import as_seen
from tests.text.bases import CHAT, SHARED, base

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather <now> & later, für Städte",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln"}}}
TALKS: dict[str, tuple[list[dict[str, Any]], list[Any] | None]] = {
    "one": ([{"role": "user", "content": "Hi <b>you</b> & me"}], None),
    "two": ([{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "Yes\n"}], None),
    "system": ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], None),
    "long": (
        [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "A?"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\nB"},
            {"role": "user", "content": "C?"},
            {"role": "assistant", "content": "D"},
        ],
        None,
    ),
    "tools": (
        [
            {"role": "user", "content": "Weather in Köln?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": '{"degrees": 3}', "tool_call_id": "call_1"},
            {"role": "assistant", "content": "3 degrees."},
        ],
        TOOLS,
    ),
}
REAL = sorted(SHARED.glob("tokenizers/**/*tokenizer_config.json"))


def _real(path: Path) -> tuple[Template, dict[str, str]]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if "chat_template" not in data:
        pytest.skip("no template")
    names = {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in data.items()
        if name.endswith("_token") and isinstance(value, (str, dict))
    }
    return open_template(data["chat_template"], path.parent.name, variables=names, today=date.today()), names


@pytest.mark.parametrize(
    "path", REAL, ids=lambda path: path.name.removesuffix("tokenizer_config.json") or path.parent.name
)
def test_real_templates_print_what_transformers_prints(path: Path):
    theirs = pytest.importorskip("transformers.utils.chat_template_utils")
    jinja2 = pytest.importorskip("jinja2")
    template, names = _real(path)
    for messages, tools in TALKS.values():
        for generation in (False, True):
            arguments = {"tools": tools, "chat_template": template.source, "add_generation_prompt": generation}
            try:
                (wanted,), _ = theirs.render_jinja_template([messages], **arguments, **names)
            except (jinja2.TemplateError, TypeError):
                with pytest.raises(TemplateRefusal):
                    template.render(messages, tools, generation=generation)
            else:
                assert template.render(messages, tools, generation=generation) == wanted
    template.close()


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{% if m.role == 'x' %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% generation %}{% set x = 1 %}{{ m.content }}{% endgeneration %}{{ x }}{% endfor %}",
        "{{ messages | tojson }}{{ messages | tojson(indent=2) }}{{ '<' | tojson }}",
        "{{ strftime_now('%Y-%m-%d') }}{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}{{ dict(a=1) }}",
        "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    ],
)
def test_the_dialect_is_that_of_transformers(source: str):
    theirs = pytest.importorskip("transformers.utils.chat_template_utils")
    messages = TALKS["one"][0]
    (wanted,), _ = theirs.render_jinja_template([messages], chat_template=source)
    template = open_template(source, "t", variables={}, today=date.today())
    assert template.render(messages, None, generation=False) == wanted


def test_the_base_s_own_template_is_taken_first(tmp_path: Path):
    template, (choice,) = choose(Tokenizer.load(base(tmp_path)), TextSettings())
    assert template.source == CHAT
    assert choice.reason == "the base brings it"


def test_a_file_is_taken_when_named(tmp_path: Path):
    path = tmp_path / "mine.jinja"
    path.write_text("mine", encoding="utf-8")
    template, (choice,) = choose(Tokenizer.load(base(tmp_path / "b")), TextSettings(template=str(path)))
    assert template.render([], None, generation=False) == "mine"
    assert choice.value == str(path)


def test_a_missing_file_is_explained(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"gone\.jinja"):
        choose(Tokenizer.load(base(tmp_path)), TextSettings(template="gone.jinja"))


def test_a_base_without_one_gets_the_plain_one(tmp_path: Path):
    template, (choice,) = choose(Tokenizer.load(base(tmp_path, template=None)), TextSettings())
    assert template.pinned
    assert (choice.value, choice.reason) == ("plain", "the base has no chat template")
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    assert template.render(messages, None, generation=True) == "<bos>System:\nS\n\nUser:\nQ\n\nAssistant:\n"
    answered = [*messages, {"role": "assistant", "content": "A"}]
    assert template.render(answered, None, generation=False).endswith("Assistant:\nA<|end|>")


def test_the_plain_template_shows_tools_and_calls(tmp_path: Path):
    template, _ = choose(Tokenizer.load(base(tmp_path, template=None)), TextSettings())
    verbatim = {**CALL, "function": {"name": "weather", "arguments": '{"city":  "Köln"}'}}
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "", "tool_calls": [verbatim]}]
    text = template.render(messages, TOOLS, generation=False)
    assert "Weather <now> & later, für Städte" in text
    assert text.endswith('Assistant:\n{"name": "weather", "arguments": {"city":  "Köln"}}<|end|>')


@pytest.mark.parametrize("source", ["{% for", "{{ a | nofilter }", "{% endfor %}", "{{ (" * 5000])
def test_a_broken_template_is_found_when_opened(source: str):
    with pytest.raises(ModelError):
        open_template(source, "broken", variables={})


def test_a_template_with_an_unknown_filter_refuses():
    template = open_template("{{ 1 | nofilter }}", "t", variables={})
    with pytest.raises(TemplateRefusal, match="nofilter"):
        template.render([], None, generation=False)


def test_refusals_are_per_conversation_and_quoted():
    source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}ok"
    template = open_template(source, "t", variables={})
    bad = Beginnings([{"role": "system", "content": ""}], None, [(1, False)])
    good = Beginnings([{"role": "user", "content": ""}], None, [(1, False), (1, True)])
    first, second = template.render_cuts([bad, good])
    assert isinstance(first, TemplateRefusal)
    assert "no system here" in str(first)
    assert second == ["ok", "ok"]


@pytest.mark.parametrize(
    ("printed", "parsed"),
    [
        ("{{ c.function.arguments }}", False),
        ("{{ c.function.arguments | tojson }}", True),
        ("{{ c.function.arguments.items() }}", True),
    ],
)
def test_how_arguments_are_wanted_is_found_by_trying(printed: str, parsed: bool):
    source = "{% for m in messages %}{% for c in m.tool_calls or [] %}" + printed + "{% endfor %}{% endfor %}"
    assert open_template(source, "t", variables={}).parsed_arguments is parsed


DEEPSEEK = (
    "{% for m in messages %}{% if m.role == 'assistant' and m.content is none %}{% for c in m.tool_calls %}"
    "{{ '[call]' + c.function.name + '\n' + c.function.arguments + '[end]' }}{% endfor %}{% endif %}"
    "{% if m.role == 'assistant' and m.content is not none %}{{ m.content + '[end]' }}{% endif %}{% endfor %}"
)
"""Shows calls only beside no text at all, and their arguments as text."""


def test_a_turn_that_only_calls_has_no_text_where_the_template_wants_none():
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": '{"x": 1}'}}
    for source, null in ((DEEPSEEK, True), (DEEPSEEK.replace("is none", "== ''"), False)):
        template = open_template(source, "t", variables={})
        assert (template.null_content, template.parsed_arguments, template.short_ids) == (null, False, False)
        turns = [as_seen(Message(role="assistant", tool_calls=(call,)), template)]
        written = template.render([{"role": "user", "content": "q"}, *turns], None, generation=False)
        assert written.startswith('[call]find\n{"x": 1}[end]')
        kept = as_seen(Message(role="assistant", content="said", tool_calls=(call,)), template)
        assert kept["content"] == "said"


def test_the_day_is_fixed_unless_set():
    source = "{{ strftime_now('%d %b %Y') }}"
    assert open_template(source, "t", variables={}).render([], None, generation=False) == "01 Jan 2025"
    other = open_template(source, "t", variables={}, today=date(2026, 2, 3))
    assert other.render([], None, generation=False) == "03 Feb 2026"
    assert other.digest != open_template(source, "t", variables={}).digest


def test_pinned_templates_are_those_we_carry():
    assert open_template(plain_source(), "t", variables={}).pinned
    assert not open_template(plain_source() + "x", "t", variables={}).pinned


def test_pinned_and_sandboxed_print_the_same():
    pinned = open_template(plain_source(), "t", variables={"bos_token": "<s>", "eos_token": "</s>"})
    boxed = open_template("{# same #}" + plain_source(), "t", variables={"bos_token": "<s>", "eos_token": "</s>"})
    for messages, tools in TALKS.values():
        assert pinned.render(messages, tools, generation=True) == boxed.render(messages, tools, generation=True)
