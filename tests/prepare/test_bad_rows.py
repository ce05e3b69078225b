"""Bad rows among good ones are dropped with their line and their reason; too many of them refuse the file."""

import json

import pytest

from tests.prepare.workshop import dropped, refused, rows, tickets

GOOD = [json.dumps(row) for row in tickets(30)]


def test_broken_json_is_dropped_with_its_line_and_column(workshop):
    lines = [*GOOD[:6], '{"text": "cut', *GOOD[6:]]
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join(lines)))
    rows(result)
    (item,) = dropped(result)
    assert (item.source, item.reason) == ("t.jsonl:7", "broken JSON")
    assert "column 10" in item.detail


def test_too_many_broken_lines_are_refused_with_the_first(workshop):
    lines = ["{", "{'text': 'x'}", '{"text": "x"} {"text": "y"}', '{"text": ', "7"]
    message = refused(workshop, workshop.write("t.jsonl", "\n".join([*GOOD, *lines])))
    assert message.startswith("t.jsonl: 5 of 35 rows cannot be used: 4 × broken JSON, first at t.jsonl:31 (")
    assert "1 × not a JSON object, first at t.jsonl:35 (it is a number); wanted: rows" in message
    assert "prepare.most_bad_share" in message


def test_most_bad_share_is_the_limit(workshop):
    name = workshop.write("t.jsonl", "\n".join([*GOOD, "{broken", "{broken"]))
    assert "t.jsonl: 2 of 32 rows cannot be used: 2 × broken JSON, first at t.jsonl:31" in refused(
        workshop, name, most_bad_share=0
    )
    assert workshop.prepare(name, most_bad_share=0.1).dropped == {"broken JSON": 2}


def test_a_file_of_which_nothing_can_be_read(workshop):
    message = refused(workshop, workshop.write("t.jsonl", "one\ntwo\nthree\n"))
    assert message.startswith("t.jsonl:1: broken JSON (Expecting value in column 1); none of the first 3 rows")


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ('{"text": NaN, "label": "a"}', "not strict JSON", "NaN"),
        ('{"text": "x", "label": "a", "score": -Infinity}', "not strict JSON", "Infinity"),
        ('{"text": "x", "label": "a", "score": 1e999}', "not strict JSON", "1e999 is too large"),
        ('{"text": "x", "label": "a", "text": "y"}', "not strict JSON", "the key 'text' stands there twice"),
        ('["text", "label"]', "not a JSON object", "a list"),
        ('"text"', "not a JSON object", "a text"),
        ("null", "not a JSON object", "null"),
        ("17", "not a JSON object", "a number"),
        ("true", "not a JSON object", "true or false"),
        ("[" * 100_000, "JSON nested too deeply", ""),
        ('{"text": ' + "9" * 5000 + "}", "broken JSON", "limit"),
        ('{"text": "x", "label": "a"},', "broken JSON", "column 28"),
        ('{"text": "x\u0000", "label": "a"}', "a NUL byte in the JSON", "column 12"),
        ('{"text": "half \\ud800", "label": "a"}', "half a character (a lone surrogate)", ""),
        ('{"text": "x", "label": "\\udc00"}', "half a character (a lone surrogate)", ""),
        ('{"text": null, "label": "a"}', "'text' is missing", ""),
        ('{"label": "a"}', "'text' is missing", ""),
        ('{"text": "x"}', "'label' is missing", ""),
        ('{"text": "  \\n", "label": "a"}', "'text' is empty", ""),
        ('{"text": "x", "label": " "}', "'label' is empty", ""),
        ('{"text": ["x"], "label": "a"}', "'text' is not text", "list"),
        ('{"text": "x", "label": {"a": 1}}', "'label' is not a name", "dict"),
        (
            '{"text": "x", "label": "a", "weight": "heavy"}',
            "the weight of the row is not a number of at least 0",
            "heavy",
        ),
        ('{"text": "x", "label": "a", "weight": -1}', "the weight of the row is not a number of at least 0", "-1"),
        ('{"text": "x", "label": "a", "weight": true}', "the weight of the row is not a number of at least 0", "True"),
        ('{"text": "x", "label": "a", "weight": 0}', "the weight of the row is 0", ""),
        ('{"text": "x", "label": "a", "group": ["a"]}', "'group' is not a name", "list"),
    ],
)
def test_one_bad_line_among_good_ones_is_counted_by_its_reason(workshop, line, reason, detail):
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join([*GOOD[:11], line, *GOOD[11:]])))
    rows(result)
    (item,) = dropped(result)
    assert (item.source, item.reason) == ("t.jsonl:12", reason)
    assert detail in item.detail
    assert result.counts["train"] + result.counts["validation"] + result.counts["test"] == 30


def test_escaped_nul_and_paired_surrogates_are_text(workshop):
    line = '{"text": "nul \\u0000 and \\ud83d\\ude00", "label": "a"}'
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join([line, *GOOD])), clean={"unicode": "off"})
    assert "nul \0 and 😀" in {row.text for split in rows(result).values() for row in split}


def test_half_a_character_in_a_column_that_has_to_be_written_anew(workshop):
    line = '{"text": "x", "label": "a", "id": "\\ud800"}'
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join([line, *GOOD])))
    rows(result)
    assert result.dropped == {"half a character (a lone surrogate)": 1}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "'messages' is empty"),
        ("[{", "'messages' is text that is not JSON"),
        ("[NaN]", "'messages' is text that is not JSON"),
        (3, "'messages' is not a list"),
        (["user"], "a turn is not an object"),
        ([{"role": "user", "content": "q"}], "no assistant turn"),
        ([{"role": "assistant", "content": "a", "weight": 0}], "every assistant turn has weight 0"),
        ([{"role": "assistant", "content": "a", "weight": "x"}], "the weight of a turn is not a number of at least 0"),
        ([{"role": "narrator", "content": "a"}], "a turn has an unknown role"),
        ([{"content": "a"}], "a turn has an unknown role"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}], "a turn says nothing"),
        ([{"role": "user", "content": 3}], "the content of a turn is not text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "a turn has a part that is not text"),
        ([{"role": "assistant", "tool_calls": ["x"]}], "'tool_calls' is not a list of objects"),
        ([{"role": "assistant", "function_call": {}}], "'function_call' is the old form of a tool call"),
        ([{"role": "tool", "content": "x", "tool_call_id": 3}], "'tool_call_id' of a turn is not text"),
    ],
)
def test_one_bad_conversation_among_good_ones(workshop, messages, reason):
    good = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]} for n in range(30)
    ]
    result = workshop.prepare(workshop.lines("t.jsonl", [*good, {"messages": messages}]))
    rows(result)
    (item,) = dropped(result)
    assert (item.source, item.reason) == ("t.jsonl:31", reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tools": [1]}, "'tools' is not a list of objects"),
        ({"tools": {"name": "x"}}, "'tools' is not a list"),
        ({"parallel_tool_calls": "yes"}, "'parallel_tool_calls' is not true or false"),
    ],
)
def test_one_bad_set_of_tools_among_good_ones(workshop, change, reason):
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    good = [
        {"messages": [{"role": "user", "content": f"q{n}"}, *talk[1:]], "tools": [], "parallel_tool_calls": True}
        for n in range(30)
    ]
    result = workshop.prepare(workshop.lines("t.jsonl", [*good, {"messages": talk, **change}]))
    assert result.dropped == {reason: 1}


def test_mixed_formats_are_refused_with_their_shares(workshop):
    other = [{"instruction": f"do {n}", "output": "done"} for n in range(20)]
    message = refused(workshop, workshop.lines("t.jsonl", [*tickets(30), *other]))
    assert "t.jsonl: two formats mixed: 60% label, 40% alpaca; wanted: one format a file" in message


def test_a_few_rows_of_another_format_are_dropped(workshop):
    result = workshop.prepare(workshop.lines("t.jsonl", [*tickets(60), {"instruction": "do", "output": "done"}]))
    assert result.dropped == {"'text' is missing": 1}


def test_unknown_format_lists_the_columns(workshop):
    message = refused(workshop, workshop.lines("t.jsonl", [{"foo": "a", "bar": "b"}] * 5))
    assert message.startswith("t.jsonl: no known format (columns: 'foo', 'bar'); wanted: messages")
    assert "prepare.columns" in message
