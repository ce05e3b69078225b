"""The preflight: each check passes on sound rows and fails on the fault planted for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metier.core.errors import ProofError
from metier.core.progress import Silent
from metier.core.types import Message, Row
from metier.text.proof import Finding, Proof, check, paint
from metier.text.rendered import render_rows
from tests.text.bases import (
    CHAT,
    FORGETFUL,
    NEXT_STOPS,
    REWRITING,
    SHARED,
    base,
    chat,
    labelled,
    opened,
    plain,
    sentence_piece_base,
)

TALKS: list[Row] = [
    chat(
        ("user", f"the card {number}"),
        ("assistant", "is lost"),
        ("user", "ok"),
        ("assistant", "bye"),
        row_id=str(number),
    )
    for number in range(4)
]
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def _broken(proof: Proof) -> dict[str, Finding]:
    return {finding.name: finding for finding in proof.findings if not finding.ok}


def _with_template(folder: Path, source: str, **config: object) -> Proof:
    return check(TALKS, opened(base(folder, template=source, **config)))


def test_sound_rows_pass(tmp_path: Path):
    proof = check([*TALKS, labelled("q", "a"), plain("some text")], opened(base(tmp_path)))
    assert proof.ok
    proof.raise_if_broken()
    assert proof.counts["rows"] == proof.counts["sequences"] == 6
    assert 0 < proof.counts["learnt tokens"] < proof.counts["tokens"]


def test_a_base_without_template_passes(tmp_path: Path):
    assert check(TALKS, opened(sentence_piece_base(tmp_path), max_tokens=120)).ok


def test_no_trained_token(tmp_path: Path):
    rows = [chat(("user", "q"), Message(role="assistant", content="a", weight=0.0))]
    assert "no row is left" in _broken(check(rows, opened(base(tmp_path))))["learnt tokens"].detail


def test_a_sequence_that_teaches_nothing(tmp_path: Path):
    renderer = opened(base(tmp_path))
    rendered = render_rows(TALKS, renderer, Silent())
    weights = rendered.weights.copy()
    weights[rendered.offsets[1] : rendered.offsets[2]] = 0
    finding = _broken(check(TALKS, renderer, rendered=replace(rendered, weights=weights)))["learnt tokens"]
    assert "1 sequences teach nothing (rows.jsonl:1)" in finding.detail


def test_the_stop_token_is_not_trained(tmp_path: Path):
    proof = _with_template(tmp_path, CHAT.replace("<|end|>", ""))
    assert "do not end with a token" in _broken(proof)["stop tokens"].detail


def test_the_stop_token_loses_its_weight(tmp_path: Path):
    """The fault of masking pad where pad is the stop: all looks well, and the model never stops."""
    renderer = opened(base(tmp_path))
    rendered = render_rows(TALKS, renderer, Silent())
    weights = np.where(rendered.ids == 4, np.float32(0), rendered.weights)
    assert "stop tokens" in _broken(check(TALKS, renderer, rendered=replace(rendered, weights=weights)))


def test_the_stop_token_is_not_one_a_server_stops_at(tmp_path: Path):
    finding = _broken(check(TALKS, opened(base(tmp_path, stops=(2,), eos_token="<eos>"))))["stop tokens"]
    assert "'<|end|>' (id 4)" in finding.detail
    assert "generation_config.json" in finding.do


def test_a_base_that_stops_nowhere(tmp_path: Path):
    proof = check(TALKS, opened(base(tmp_path, stops=(), eos_token=None)))
    assert "none at all" in _broken(proof)["stop tokens"].detail


def test_a_stop_given_by_the_next_message_is_learnt(tmp_path: Path):
    assert not _broken(_with_template(tmp_path, NEXT_STOPS, stops=(3,), eos_token="<|role|>"))


def test_double_beginning(tmp_path: Path):
    finding = _broken(_with_template(tmp_path, "<bos>" + CHAT))["beginning"]
    assert "4 sequences begin twice with <bos>" in finding.detail


def test_missing_beginning(tmp_path: Path):
    headless = CHAT.replace("{{ bos_token }}", "")
    assert _with_template(tmp_path / "a", headless).ok  # a base that never asks for one
    finding = _broken(_with_template(tmp_path / "b", headless, add_bos_token=True))["beginning"]
    assert "4 sequences do not begin with <bos>" in finding.detail


def test_a_template_file_without_the_beginning_that_the_base_s_own_has(tmp_path: Path):
    (tmp_path / "t.jinja").write_text(CHAT.replace("{{ bos_token }}", ""), encoding="utf-8")
    renderer = opened(base(tmp_path / "b"), template=str(tmp_path / "t.jinja"))
    assert "beginning" in _broken(check(TALKS, renderer))


def test_a_base_without_beginning_needs_none(tmp_path: Path):
    proof = _with_template(tmp_path, CHAT.replace("{{ bos_token }}", ""), bos_token=None)
    assert proof.ok


def test_answers_lost_by_length_are_counted(tmp_path: Path):
    rows = [labelled("the card " * (40 if number < 3 else 1), "a", number) for number in range(20)]
    finding = _broken(check(rows, opened(base(tmp_path), max_tokens=64)))["rows lost"]
    assert "3 of 20 rows (3 too long)" in finding.detail
    assert "rows.jsonl:0" in finding.detail
    assert "text.max_tokens (now 64)" in finding.do


def test_answers_lost_by_label(tmp_path: Path):
    """Six rows in a thousand are few, unless they are all there is of one label."""
    rows = [labelled("ok", "common", number) for number in range(200)]
    rows += [labelled("the card " * 40, "rare", 200 + number) for number in range(6)]
    finding = _broken(check(rows, opened(base(tmp_path), max_tokens=64)))["rows lost"]
    assert "most of a label: 'rare' 6 of 6" in finding.detail
    fewer = [*rows[:200], *rows[200:204]]
    assert check(fewer, opened(base(tmp_path), max_tokens=64)).ok


def test_most_lost_share_decides(tmp_path: Path):
    rows = [labelled("the card " * (40 if number < 2 else 1), "a", number) for number in range(20)]
    folder = base(tmp_path)
    assert check(rows, opened(folder, max_tokens=64)).ok
    assert not check(rows, opened(folder, max_tokens=64, most_lost_share=0.05)).ok


def test_rows_the_template_refuses_are_lost(tmp_path: Path):
    source = "{% if messages | length > 2 %}{{ raise_exception('too many') }}{% endif %}" + CHAT
    finding = _broken(_with_template(tmp_path, source))["learnt tokens"]
    assert "refused by the chat template (4)" in finding.detail


def test_a_template_that_rewrites_what_was_said_is_refused(tmp_path: Path):
    proof = _with_template(tmp_path, REWRITING)
    assert "not how the whole begins" in _broken(proof)["prefix"].detail
    with pytest.raises(ProofError, match=r"prefix: rows\.jsonl:0"):
        proof.raise_if_broken()


def test_a_template_that_forgets_is_split(tmp_path: Path):
    proof = _with_template(tmp_path, FORGETFUL)
    assert proof.ok
    assert proof.counts["sequences"] == 8
    assert any("4 rows became one sequence for each answer" in finding.detail for finding in proof.findings)


def test_a_template_that_drops_answers(tmp_path: Path):
    cut = CHAT.replace("{{ message.content }}", "{{ message.content[:5] }}")
    assert "4 of 4 rows lose text" in _broken(_with_template(tmp_path, cut))["answers"].detail


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (
            "{{ message.content if message.role != 'system' }}",
            "1 of 1 rows lose text of a user or system turn",
        ),
        ("{{ message.content | replace('pay', '') if message.role == 'user' else message.content }}", "lose text of a"),
        ("{{ message.content }}", "1 of 1 rows have functions that the template does not write (rows.jsonl:row)"),
    ],
)
def test_a_template_that_drops_what_was_asked_is_doubted(written: str, found: str, tmp_path: Path):
    tools = ({"type": "function", "function": {"name": "find", "parameters": {}}},)
    row = chat(("system", "Be brief."), ("user", "pay it"), ("assistant", "done"), tools=tools)
    told = CHAT.replace("{% for", "{{ tools | tojson if tools }}{% for", 1)
    sound = check([row], opened(base(tmp_path / "a", template=told)))
    assert sound.ok
    assert not sound.doubts
    deaf = (CHAT if written == "{{ message.content }}" else told).replace("{{ message.content }}", written)
    proof = check([row], opened(base(tmp_path / "b", template=deaf)))
    assert proof.ok
    (doubt,) = proof.doubts
    assert found in doubt
    assert "text.template" in doubt


def test_a_template_that_drops_tool_calls(tmp_path: Path):
    rows = [chat(("user", "q"), Message(role="assistant", tool_calls=(CALL,)))]
    assert check(rows, opened(base(tmp_path / "a"))).ok
    deaf = CHAT.replace("message.tool_calls or []", "[]")
    assert "answers" in _broken(check(rows, opened(base(tmp_path / "b", template=deaf))))


def test_the_error_names_every_fault(tmp_path: Path):
    with pytest.raises(ProofError) as caught:
        _with_template(tmp_path, "<bos>" + CHAT, stops=(2,), eos_token="<eos>").raise_if_broken()
    assert "stop tokens:" in caught.value.found
    assert "beginning:" in caught.value.found
    assert caught.value.exit_code == 2


def test_painting_shows_every_token_and_what_is_learnt(tmp_path: Path):
    renderer = opened(base(tmp_path))
    assert paint(TALKS[0], renderer) == [
        ("<bos><|role|>user\nthe card 0<|end|>\n<|role|>assistant\n", False),
        ("is lost<|end|>", True),
        ("\n<|role|>user\nok<|end|>\n<|role|>assistant\n", False),
        ("bye<|end|>", True),
    ]
    assert paint(chat(("user", "q")), renderer)[0][0].startswith("dropped: nothing to learn")
    assert ("some text<eos>", True) in paint(plain("some text"), renderer)


def test_painting_a_split_conversation(tmp_path: Path):
    pieces = paint(TALKS[0], opened(base(tmp_path, template=FORGETFUL)))
    assert [text for text, learnt in pieces if learnt] == ["(thought)\nis lost<|end|>", "(thought)\nbye<|end|>"]


@pytest.mark.parametrize("name", ["weights/stories260K", "tokenizers/minimind-6400", "tokenizers/mistral-v3-rebuilt"])
def test_real_bases_pass(name: str):
    if not (SHARED / name).is_dir():
        pytest.skip("the shared tokenizers are not here")
    rows = [*TALKS, labelled("where is my card <|im_end|></s>", "card_arrival"), plain("Once upon a time</s>")]
    assert check(rows, opened(SHARED / name, max_tokens=400)).ok
