"""What the registry tells of versions: a list, a check, what differs."""

from pathlib import Path

from metier.core import registry
from metier.promote.registry import make, told
from tests.promote.registry.workshop import make_run, promote


def test_a_list_and_a_difference(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    store = tmp_path / ".metier"
    assert "none yet" in told.listing(store).verdict.text
    first = promote(store, make_run(store))
    second = promote(store, make_run(store, "run-2", weights=b"two", tuned=0.9))
    make.point(second, "candidate", store)
    make.back("support", "production", store, reason="slower")
    report = told.listing(store)
    assert [row[:2] for row in report.tables[0].rows] == [("support@2", "candidate"), ("support@1", "production")]
    assert report.tables[1].rows[0][1:4] == ("production", "support@1", "rolled back")
    assert report.tables[1].rows[0][-1] == "slower"
    difference = told.difference(first, second)
    assert difference.verdict.text == "another model; different: where they come from, settings"
    rows = {row[0]: row[1:] for table in difference.tables for row in table.rows}
    assert rows["run"] == ("run-1", "run-2")
    assert rows["train.learning_rate"] == ("0.1", "0.2")
    assert rows["accuracy"] == ("0.800", "0.900")
    assert told.difference(first, first).verdict.text == "the same model; nothing else differs"
    checked = told.verified(second, registry.checked(second, store))
    assert checked.verdict.text.startswith("what was signed: ")
    assert registry.checked(second, store)["parents"] == ["support@1"]
