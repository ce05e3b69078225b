"""A trace proves how a template writes a conversation, or there is none."""

from typing import Any

import pytest

from metier.text import environment, trace
from metier.text.template import Beginnings, open_template
from tests.text.bases import CHAT, FORGETFUL

TURNS = [{"role": "user", "content": " hello "}, {"role": "assistant", "content": "you"}]
LOOP = "{% for m in messages %}<%s>{% endfor %}"


def _traced(source: str, turns: list[dict[str, Any]] = TURNS) -> list[trace.Trace] | None:
    compiled = environment.Compiled(source, "2025-01-01", 1000)
    request = {"messages": turns, "tools": None, "cuts": [(len(turns), False)], "variables": {}, "trace": True}
    answer = compiled.answer(request)
    return [trace.Trace.read(entry) for entry in answer["traces"]] if "traces" in answer else None


def _of_last(expression: str) -> str:
    return "{% set c = messages[-1].content %}" + expression


def test_what_is_printed_is_known_by_its_parts():
    (found,) = _traced(CHAT.replace("{{ bos_token }}", "")) or []
    assert found.parts == ("<|role|>user\n", (0, ()), "<|end|>\n<|role|>assistant\n", (1, ()), "<|end|>\n")
    assert found.questions == ()
    assert _traced(FORGETFUL.replace("{{ bos_token }}", ""))


@pytest.mark.parametrize(
    ("source", "parts", "questions"),
    [
        ("{{ c | trim }}", ((1, (("strip", None),)),), ()),
        ("{{ c.lstrip('y').rstrip() }}", ((1, (("lstrip", "y"), ("rstrip", None))),), ()),
        ("{{ 'a' + c ~ 'b' }}", ("a", (1, ()), "b"), ()),
        ("{% if c %}{{ c }}{% endif %}", ((1, ()),), ((1, (), "true", "", True),)),
        ("{{ 1 if '</t>' in c else 2 }}", ("2",), ((1, (), "holds", "</t>", False),)),
        ("{{ 1 if c == 'you' }}", ("1",), ((1, (), "equal", "you", True),)),
        ("{{ 1 if 'me' != c }}", ("1",), ((1, (), "equal", "me", False),)),
        ("{{ 1 if c.startswith('y') and c.endswith('y') }}", (), None),
        ("{{ 1 if c is string and c is defined and c is not none and c is not mapping }}", ("1",), ()),
        ("{% set d %}<{{ c }}>{% endset %}{{ d }}", ("<", (1, ()), ">"), ()),
        ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f(c) }}", ("[", (1, ()), "]"), ()),
    ],
)
def test_the_few_things_a_text_can_be_asked(source: str, parts: Any, questions: Any):
    (found,) = _traced(_of_last(source)) or []
    assert found.parts == parts
    assert questions is None or found.questions == questions


@pytest.mark.parametrize(
    "source",
    [
        "{{ c | length }}", "{{ c | upper }}", "{{ c[0] }}", "{{ c[1:] }}", "{{ c.split('o')[0] }}",
        "{{ c | tojson }}", "{% for x in c %}{{ x }}{% endfor %}", "{{ '%s' % c }}", "{{ '{}'.format(c) }}",
        "{{ [c] | join }}", "{{ [c] }}", "{{ c < 'z' }}", "{{ {'you': 1}[c] }}", "{{ c in 'you' }}",
        "{{ c | replace('y', 'z') }}", "{{ c * 2 }}", "{{ messages | tojson }}",
        "{{ messages | map(attribute='content') | join }}", "{{ c | int }}", "{{ c.upper() }}",
        "{{ messages | map(attribute='content') | map('int') | list }}", "{{ c is lower }}",
        "{{ c | default('x', true) }}", "{{ messages[0].content == c }}", "{{ c is sameas 'you' }}",
        "{{ c is in ['you'] }}", "{{ c | e }}", "{{ c | safe }}", "{{ messages | groupby('content') }}",
        "{{ messages | sort(attribute='content') }}", "{{ c.text }}", "{{ c['text'] }}", "{{ [1, 2] | random }}",
        "{{ raise_exception(c) }}", "{{ '' | default(c, true) }}", "{{ namespace(a=c) }}",
        "{% filter upper %}{{ c }}{% endfilter %}", "{{ (c ~ 'a') | length }}", "{{ (c ~ 'a') == 'youa' }}",
        "{{ c() }}",
    ],
)  # fmt: skip
def test_whatever_else_is_tried_ends_the_trace(source: str):
    assert _traced(_of_last(source)) is None


def test_a_question_that_the_template_swallows_still_ends_the_trace():
    """Jinja's `int` filter takes any error of a conversion for a reason to return its default."""
    assert _traced("{{ messages | map(attribute='content') | map('float') | sum }}") is None


def test_a_refusal_is_no_trace():
    assert _traced("{{ raise_exception('no') }}") is None


def test_the_child_traces_as_this_process_does():
    template = open_template("{{ messages[0].content | trim }}!", "small", variables={})
    assert not template.pinned
    try:
        (found,) = template.traces(Beginnings(TURNS, None, [(2, False)])) or []
        assert found == trace.Trace(((0, (("strip", None),)), "!"), ())
        assert template.traces(Beginnings([], None, [(0, False)])) is None
    finally:
        template.close()
