"""Hostile templates: time, memory, output and attributes are out of their reach."""

from typing import Any

import pytest

from metier.core.errors import ModelError
from metier.text.sandbox import Sandbox
from metier.text.template import TemplateRefusal, open_template

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def _ask(box: Sandbox, **fields: Any) -> dict[str, Any]:
    request = {"messages": [], "tools": None, "cuts": [(0, False)], "variables": {}} | fields
    return box.ask([request])[0]


@pytest.mark.parametrize(
    "source",
    [LOOP, "{{ 10 ** (10 ** 8) }}", "{% set n = namespace(x=10) %}{% set n.x = n.x ** (n.x ** 8) %}{{ n.x }}"],
    ids=["nested loops", "a constant computed while compiling", "a power"],
)
def test_time_is_bounded(source: str):
    box = Sandbox(source, "hostile", "2025-01-01", seconds=0.7)
    with pytest.raises(ModelError, match="hostile: took more than"):
        _ask(box)
    box.close()


@pytest.mark.parametrize(
    "source",
    [
        "{% set n = namespace(x='aaaaaaaaaa') %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{{ 'a' * 10 ** 10 }}",
        "{% for i in range(99999) %}" + "a" * 1000 + "{% endfor %}",
    ],
    ids=["doubling", "repetition", "output"],
)
def test_memory_and_output_are_bounded(source: str):
    box = Sandbox(source, "hostile", "2025-01-01")
    with pytest.raises(ModelError, match="MiB of memory"):
        _ask(box)
    box.close()


@pytest.mark.parametrize(
    "source",
    [
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ lipsum.__globals__ }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
    ],
)
def test_the_interpreter_is_out_of_reach(source: str):
    try:
        seen = open_template(source, "hostile", variables={}).render([], None, generation=False)
    except TemplateRefusal:
        return
    assert seen == ""  # Jinja prints what may not be seen as nothing


def test_the_child_knows_nothing_of_the_parent(monkeypatch: pytest.MonkeyPatch):
    """Even the interpreter that a template would escape into starts without environment and cannot write a file."""
    monkeypatch.setenv("SECRET", "1")
    box = Sandbox("ok", "t", "2025-01-01")
    assert _ask(box) == {"texts": ["ok"]}
    assert box._child is not None
    with open(f"/proc/{box._child.pid}/environ", "rb") as stream:
        assert b"SECRET" not in stream.read()
    with open(f"/proc/{box._child.pid}/limits") as stream:
        limits = {line[:25].strip(): line[25:].split()[0] for line in stream}
    assert limits["Max file size"] == "0"
    assert int(limits["Max address space"]) <= 512 << 20
    box.close()


def test_one_child_serves_all_requests_and_a_killed_one_is_replaced():
    source = "{% if messages %}" + LOOP + "{% endif %}ok"
    box = Sandbox(source, "t", "2025-01-01", seconds=2)
    assert _ask(box) == {"texts": ["ok"]}
    first = box._child
    assert _ask(box) == {"texts": ["ok"]}
    assert box._child is first
    with pytest.raises(ModelError):
        _ask(box, messages=[{"role": "user"}], cuts=[(1, False)])
    assert first is not None
    assert first.poll() is not None
    assert _ask(box) == {"texts": ["ok"]}
    box.close()


def test_a_dropped_sandbox_takes_its_child_along():
    box = Sandbox("ok", "t", "2025-01-01")
    _ask(box)
    child = box._child
    del box
    assert child is not None
    assert child.poll() is not None


def test_lone_surrogates_pass_the_pipe():
    box = Sandbox("{{ messages[0] }}", "t", "2025-01-01")
    assert _ask(box, messages=["a\ud800"], cuts=[(1, False)]) == {"texts": ["a\ud800"]}
    box.close()
