"""Our checks of IFEval's instructions give the verdicts that lm-evaluation-harness gave, on the same answers.

What it gave stands here (0.4.13, printed by `python -m bench.ifeval`): how many pass, and a digest of which.
"""

import json
from typing import Any

import pytest

from bench import ifeval, places
from metier.score import constraints

pytest.importorskip("langdetect", reason="the extra 'judge' is not installed")
THEIRS = {
    "change_case:capital_word_frequency": "167 of 500 c480e29335d0b179",
    "change_case:english_capital": "50 of 500 a8e737b2475c7add",
    "change_case:english_lowercase": "41 of 780 020620c82da0ded6",
    "combination:repeat_prompt": "140 of 820 eafae22b9fb01d9c",
    "combination:two_responses": "109 of 480 bfcd772bf504339d",
    "detectable_content:number_placeholders": "47 of 540 cf5f7ef8618ab032",
    "detectable_content:postscript": "130 of 520 e4103e823e25514b",
    "detectable_format:constrained_response": "30 of 200 689e62712cdeca84",
    "detectable_format:json_format": "44 of 340 1f62c375c87733ef",
    "detectable_format:multiple_sections": "9 of 280 6ff80f678e5cab6e",
    "detectable_format:number_bullet_lists": "39 of 620 9d48cbf70e131b87",
    "detectable_format:number_highlighted_sections": "62 of 960 47afa25d93ed5495",
    "detectable_format:title": "187 of 740 ebddd7d6ce9a8840",
    "keywords:existence": "238 of 780 7d206670bce4f198",
    "keywords:forbidden_words": "580 of 980 d4b69fcb44adefa2",
    "keywords:frequency": "215 of 840 db5fe1f7f74e78b2",
    "keywords:letter_frequency": "196 of 620 d7a9fe206c6d9a64",
    "language:response_language": "9 of 620 67d8ea3f36228edd",
    "length_constraints:nth_paragraph_first_word": "4 of 240 61daec1f4fed3562",
    "length_constraints:number_paragraphs": "32 of 540 5592ac627fea9632",
    "length_constraints:number_words": "274 of 1040 885ab7602919d59e",
    "punctuation:no_comma": "414 of 1320 eeb8d8691320ced6",
    "startend:end_checker": "104 of 520 1b40e45f5fd082ed",
    "startend:quotation": "41 of 820 0f0d3f56eec4c6f1",
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """The benchmark's rows."""
    path = places.shared() / "data" / "ifeval" / "input_data.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _ours(rows: list[dict[str, Any]]) -> dict[str, str]:
    given: dict[str, list[bool]] = {}
    for row, kind, raw in ifeval.judged(rows):
        verdicts = given.setdefault(kind, [])
        verdicts += [constraints.follows(kind, answer, dict(raw) | {"kind": kind}) for answer in ifeval.answers(row)]
    return {kind: ifeval.told(found) for kind, found in sorted(given.items())}


def test_every_verdict_is_the_harness_s(rows: list[dict[str, Any]]) -> None:
    assert _ours(rows) == THEIRS


def test_one_verdict_that_differs_is_seen(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "punctuation:no_comma"
    once = iter([True])
    right = constraints.KINDS[kind]
    monkeypatch.setitem(constraints.KINDS, kind, lambda *given: right(*given) != next(once, False))
    only = [row for row in rows if kind in row["instruction_id_list"]]
    assert _ours(only)[kind] != THEIRS[kind]
