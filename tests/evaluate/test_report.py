import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metier.core.errors import DataError
from metier.evaluate.report import report, verdict
from metier.report import html, markdown
from metier.report.page import as_plain, page_of
from tests.evaluate.conftest import Workplace


def test_the_report_begins_with_the_answer_and_shows_the_evidence(labels: Workplace, evaluated: dict[str, Any]) -> None:
    found = report(labels.run)
    assert found.verdict.good is True
    assert found.verdict.text.startswith("better: accuracy ")
    assert "against the base's" in found.verdict.text
    titles = [table.title for table in found.tables]
    assert titles[0] == "Measured on the same held-out rows"
    assert any(title.startswith("What was forgotten") for title in titles)
    assert any(title.startswith("By slice") for title in titles)
    assert "Label by label, weakest first" in titles
    assert [figure.kind for figure in found.figures] == ["bars"]
    assert len(found.examples) == 20
    assert all(entry.source.startswith("rows.jsonl:") for entry in found.examples)
    assert [name for name, _ in found.examples[0].outputs] == ["base", "tuned"]
    facts = dict(found.facts)
    assert facts["rows asked"] == f"{evaluated['verdict']['rows']} of the test split"
    assert str(facts["forgotten?"]).startswith("forgot something")
    assert "test split opened" in facts
    assert facts["always the most frequent answer"].startswith("would be right in 2")


def test_every_face_can_show_it(labels: Workplace, records: Workplace, evaluated: dict[str, Any]) -> None:
    assert evaluated
    records.evaluate()
    for place in (labels, records):
        page = page_of(report(place.run))
        text = html.render(page)
        assert "What was forgotten" in text
        assert "<svg" in text
        assert "Rows worth reading" in text
        assert report(place.run).verdict.text.partition(", difference ")[2] in markdown.render(page)
        json.dumps(as_plain(page))


def test_json_tasks_show_their_fields(records: Workplace) -> None:
    records.evaluate()
    found = report(records.run)
    assert "Field by field" in [table.title for table in found.tables]
    assert [figure.title for figure in found.figures] == ["How often each field is right"]


def test_many_openings_are_a_warning(spoiled: Workplace) -> None:
    for _ in range(2):
        spoiled.evaluate()
    assert "the less it is a test" in str(dict(report(spoiled.run).facts)["test split opened"])


def test_a_run_without_evaluation_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no evaluation"):
        report(tmp_path)


def test_reports_comparisons_and_settings_need_no_torch() -> None:
    code = (
        "import sys\n"
        "import metier.evaluate.report, metier.evaluate.compare, metier.evaluate.retain, metier.evaluate.settings\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "src", "PATH": ""})


def test_a_constant_answer_is_nothing_to_be_glad_of(evaluated: dict[str, Any]) -> None:
    found = dict(evaluated)
    found["verdict"] = evaluated["verdict"] | {"tuned": {"value": 0.5, "low": 0.4, "high": 0.6}}
    plain = found | {"retention": None, "commonest": {"value": "a", "share": 0.2}}
    assert ". But: " not in verdict(plain).text
    constant = verdict(found | {"retention": None, "commonest": {"value": "a", "share": 0.45}}).text
    assert constant.endswith(". But: not shown to be better than always answering the most frequent (45.0 %)")
    assert verdict(found | {"commonest": None}).text.endswith(". But: it forgot some general text (below)")


def test_the_fields_of_json_answers_have_their_constant_too(evaluated: dict[str, Any]) -> None:
    decided = evaluated["verdict"] | {"name": "field_f1", "tuned": {"value": 0.5, "low": 0.45, "high": 0.6}}
    fields = [{"rows": 10, "commonest": {"share": 0.8}}, {"rows": 30, "commonest": {"share": 0.4}}]
    found = evaluated | {"verdict": decided, "fields": fields, "fields_left_out": 0, "retention": None}
    assert "most frequent (50.0 %)" in verdict(found).text
