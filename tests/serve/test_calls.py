"""Calls as well-known families of templates write them: found out, read back, and sent back with their results."""

import json
from pathlib import Path
from typing import Any

import pytest

from metier.core.types import ChatRow, Message
from metier.serve.calls import ToolForm, tool_form
from metier.text.render import conversation_of
from metier.text.template import open_template
from tests.text.bases import base, opened

TAGS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}{% if m.content %}{{ '\n' + m.content }}{% endif %}"
    "{% for c in m.tool_calls or [] %}{{ '\n<tool_call>\n' }}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "{{ '\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Tags around each call, as Qwen's and Hermes' models write them."""

LISTED = (
    "{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('ids of length 9!') }}{% endif %}"
    "{{ (c.function | tojson)[:-1] }}, \"id\": \"{{ c.id }}\"}{{ ', ' if not loop.last else '' }}{% endfor %}]</s>"
    "{% elif m.role == 'tool' %}{% if m.tool_call_id | length != 9 %}{{ raise_exception('ids of length 9!') }}"
    '{% endif %}[TOOL_RESULTS] {"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]'
    "{% elif m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
"""A list of calls with ids of nine letters and digits, as Mistral's models write it."""

BARE = (
    "{% for m in messages %}<|start|>{{ m.role + '\n\n' }}{% if m.tool_calls %}"
    '{"name": "{{ m.tool_calls[0].function.name }}", "parameters": {{ m.tool_calls[0].function.arguments | tojson }}}'
    "{% else %}{{ m.content }}{% endif %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\n\n' }}{% endif %}"
)
"""Nothing but the call, as Llama's models write it."""

ID = "call_6ac59d166ff84a7ad62a198e"
ONE = '{"name": "w", "arguments": {"city": "Paris"}}'
TWO = '{"name": "v", "arguments": {}}'


def form(folder: Path, template: str) -> ToolForm:
    return tool_form(opened(base(folder, template=template)))


def told(found: tuple[str, list[dict[str, Any]]]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    return found[0], [(each["function"]["name"], json.loads(each["function"]["arguments"])) for each in found[1]]


@pytest.mark.parametrize(
    ("template", "text", "said", "names"),
    [
        (TAGS, f"<tool_call>\n{ONE}\n</tool_call>", "", "w"),
        (TAGS, f"<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{TWO}\n</tool_call>\n", "", "wv"),
        (TAGS, f"Let me see.\n<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{TWO}\n</tool_call>", "Let me see.", "wv"),
        (TAGS, f"<tool_call>{ONE}</tool_call>", "", "w"),
        (TAGS, "no call\n", "no call\n", ""),
        (TAGS, "<tool_call>\nnonsense", "<tool_call>\nnonsense", ""),
        (LISTED, f"[TOOL_CALLS] [{ONE[:-1]}, \"id\": \"abcdefghi\"}}, {TWO}]", "", "wv"),
        (LISTED, f"[TOOL_CALLS] [{ONE}]", "", "w"),
        (BARE, ONE.replace("arguments", "parameters"), "", "w"),
        (BARE, f"<|python_tag|>{ONE}".replace("arguments", "parameters"), "", "w"),
        (BARE, f"{ONE}; {TWO}".replace("arguments", "parameters"), "", "wv"),
        (BARE, '{"city": "Paris"}', '{"city": "Paris"}', ""),
    ],
)  # fmt: skip
def test_calls_are_read_as_the_family_writes_them(
    template: str, text: str, said: str, names: str, tmp_path: Path
) -> None:
    """Planted faults: line ends between two calls were content, and the second call of a list was."""
    arguments = {"w": {"city": "Paris"}, "v": {}}
    assert told(form(tmp_path, template).read(text)) == (said, [(name, arguments[name]) for name in names])


def test_a_call_with_a_long_id_and_its_result_are_written_where_ids_are_short(tmp_path: Path) -> None:
    """Planted fault: every row and request with ids as hosted models make them was refused under such a template."""
    renderer = opened(base(tmp_path, template=LISTED))
    assert renderer.template.short_ids
    call = {"id": ID, "type": "function", "function": {"name": "w", "arguments": "{}"}}
    messages = (
        Message(role="user", content="?"), Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="4", tool_call_id=ID), Message(role="assistant", content="four"),
    )  # fmt: skip
    row = ChatRow(id="", source="t", messages=messages)
    text = renderer.template.render(conversation_of(row, renderer).messages, None, generation=False)
    made = text.partition('"id": "')[2][:9]
    assert made.isalnum()
    assert f'"call_id": "{made}"' in text
    kept = {**call, "id": "a1b2c3d4e"}
    row = ChatRow(id="", source="t", messages=(messages[0], Message(role="assistant", tool_calls=(kept,))))
    assert "a1b2c3d4e" in renderer.template.render(conversation_of(row, renderer).messages, None, generation=False)


@pytest.mark.parametrize("template", [TAGS, BARE])
def test_ids_stay_what_they_are_elsewhere(template: str) -> None:
    assert not open_template(template, "t", variables={}).short_ids
