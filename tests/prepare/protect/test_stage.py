"""Personal data on their way through `prepare`: counted, taken out, and proven to be gone."""

import json
import shutil
from collections.abc import Sequence

import pytest

from metier.core import extras
from metier.core.errors import DataError, MissingExtraError, SettingsError
from metier.core.settings import build
from metier.prepare.protect.detect import detector
from metier.prepare.protect.settings import ProtectSettings
from metier.prepare.protect.spans import Span
from metier.prepare.protect.stage import Guard, prove
from metier.prepare.protect.vault import ENVIRONMENT, read_key, read_map
from metier.prepare.snapshot import report
from tests.prepare.protect.samples import KEY
from tests.prepare.workshop import SPLITS, Workshop, decisions, raw, rows

PEOPLE = ("Maria Lopez", "Johannes Becker", "Anna Schmidt", "Peter Miller", "Laura Carvalho")


def tickets(workshop: Workshop, count: int = 60) -> str:
    records = []
    for place in range(count):
        name = PEOPLE[place % len(PEOPLE)]
        records.append(
            {
                "text": f"Ticket {place}: my name is {name}, card 4111 1111 1111 1111."
                if place % 2
                else f"Where is parcel {place}?",
                "label": "card" if place % 2 else "parcel",
                "customer_mail": f"{name.split()[0].lower()}@corp.com",
            }
        )
    return workshop.lines("tickets.jsonl", records)


def written(result) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in result.path.iterdir())


def protect_facts(result):
    return json.loads((result.path / "manifest.json").read_text(encoding="utf-8"))["facts"]["protect"]


def test_by_default_personal_data_are_counted_and_left_alone(workshop):
    result = workshop.prepare(tickets(workshop))
    facts = protect_facts(result)
    assert facts["action"] == "count"
    assert facts["found"]["card"]["values"] == facts["found"]["person"]["rows"] == 30
    assert facts["found"]["card"]["first"][0] == "tickets.jsonl:2"
    assert "Maria Lopez" in written(result)
    table = next(table for table in report(result.path).tables if table.title.startswith("Personal data"))
    assert "card" in str(table)
    assert "Lopez" not in str(table)


def test_nothing_is_looked_for_when_so_wished(workshop):
    assert (
        "protect"
        not in json.loads(
            (workshop.prepare(tickets(workshop), protect="nothing").path / "manifest.json").read_text(encoding="utf-8")
        )["facts"]
    )


@pytest.mark.parametrize("action", ["redact", "pseudonymise", "drop"])
def test_nothing_is_left_in_anything_that_is_written(workshop, monkeypatch, action):
    monkeypatch.setenv(ENVIRONMENT, KEY)
    result = workshop.prepare(tickets(workshop), protect=action)
    rows(result)
    assert not [value for value in (*PEOPLE, "4111", "@corp.com", "Lopez") if value in written(result)]
    facts = protect_facts(result)
    assert facts["proof"] == {"rows": sum(result.counts.values()), "spared": 0, "left": 0}
    assert {entry["rule"] for entry in decisions(result) if entry["action"] != "flag"} == {"protect"}
    if action == "drop":
        assert result.dropped == {"personal data": 30}


def test_the_same_person_is_the_same_pseudonym_in_every_row(workshop, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, KEY)
    result = workshop.prepare(tickets(workshop), protect="pseudonymise")
    texts = [record["text"] for split in SPLITS for record in raw(result, split) if "my name is" in record["text"]]
    names = {text.split("my name is ")[1].split(",")[0] for text in texts}
    assert len(texts) == 30
    assert len(names) == len(PEOPLE)


def test_pseudonyms_lead_back_with_the_key_and_the_map(workshop, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, KEY)
    workshop.prepare(tickets(workshop), protect="pseudonymise")
    key = read_key(None, workshop.folder)
    known = read_map(workshop.folder / ".metier" / "protect" / f"{key.name}.map", key)
    assert set(PEOPLE) <= set(known.values())


def test_no_map_is_kept_when_so_wished(workshop, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, KEY)
    workshop.prepare(tickets(workshop), protect={"action": "pseudonymise", "keep_map": False})
    assert not (workshop.folder / ".metier" / "protect").exists()


def test_another_key_makes_another_snapshot_and_the_same_key_the_same(workshop, monkeypatch, tmp_path):
    name = tickets(workshop)
    monkeypatch.setenv(ENVIRONMENT, KEY)
    first = workshop.prepare(name, protect="pseudonymise")
    assert workshop.prepare(name, protect="pseudonymise").reused
    shutil.rmtree(workshop.folder / ".metier")
    assert workshop.prepare(name, protect="pseudonymise").digest == first.digest
    monkeypatch.setenv(ENVIRONMENT, KEY.replace("Y", "Z"))
    assert workshop.prepare(name, protect="pseudonymise").digest != first.digest


def test_pseudonyms_need_a_key(workshop, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(SettingsError, match="the key for pseudonyms"):
        workshop.prepare(tickets(workshop), protect="pseudonymise")
    with pytest.raises(SettingsError, match="no such file"):
        workshop.prepare(tickets(workshop), protect={"action": "pseudonymise", "key_file": "absent"})
    assert workshop.snapshots() == []


def test_rows_to_keep_are_not_touched_and_are_told(workshop):
    result = workshop.prepare(tickets(workshop), protect="redact", keep=["tickets.jsonl:2"])
    (shown,) = [table for table in report(result.path).tables if table.title == "Personal data"]
    assert f"the {sum(result.counts.values()):,} rows of the snapshot were looked through again" in shown.note
    assert "with 0 finds left (1 rows of prepare.keep were passed by)." in shown.note
    assert protect_facts(result)["proof"]["spared"] == 1
    assert any(entry["reason"] == "personal data kept as you wish" for entry in decisions(result))
    assert "Johannes Becker" in written(result)
    assert "Maria Lopez" not in written(result)


def test_entities_regions_and_allowed_values_change_what_is_taken_out(workshop):
    line = {"text": "Maria Lopez, maria@corp.com, 0170 1234567 is free", "label": "a"}
    name = workshop.lines("t.jsonl", [line | {"text": f"{line['text']} {place}"} for place in range(20)])

    def shown(**settings):
        return raw(workshop.prepare(name, protect={"action": "redact", **settings}), "train")[0]["text"]

    assert shown(entities=["email"]).startswith("Maria Lopez, [EMAIL], 0170")
    assert shown(regions=["DE"]).startswith("[PERSON], [EMAIL], [PHONE] is")
    assert shown(allow=["@corp.com", "Maria Lopez"]).startswith("Maria Lopez, maria@corp.com, 0170")


def test_a_group_that_is_a_person_becomes_a_number(workshop):
    records = [{"text": f"text {place}", "label": "a", "user": f"user{place % 7}@corp.com"} for place in range(70)]
    result = workshop.prepare(workshop.lines("t.jsonl", records), protect="redact", columns={"group": "user"})
    assert len({row.group for split in rows(result).values() for row in split}) == 7
    assert "@corp.com" not in written(result)


def test_a_replacement_that_leaves_something_is_caught_by_the_proof(workshop, monkeypatch):
    """Planted fault: what is written in place of a value holds the value."""
    monkeypatch.setattr("metier.prepare.protect.stage.mask", lambda entity: "write to maria@corp.com")
    with pytest.raises(DataError, match=r"jsonl:\d+: personal data left \(2 email; from tickets.jsonl:\d+\)"):
        workshop.prepare(tickets(workshop), protect="redact")
    assert workshop.snapshots() == []


def test_a_detector_that_misses_while_replacing_is_caught_by_the_proof(workshop):
    """Planted fault: the stage looks with a detector that overlooks cards; the proof looks with the whole one."""
    result = workshop.prepare(tickets(workshop), protect={"action": "redact", "entities": ["person", "email"]})
    files = [result.path / f"{split}.jsonl" for split in SPLITS]
    with pytest.raises(DataError, match="1 card"):
        prove(files, {}, detect=detector(("card",)))
    assert prove(files, {}, detect=detector(("person", "email")))["left"] == 0


class Everywhere:
    """A detector that finds an address wherever anything stands."""

    def __call__(self, text: str) -> list[Span]:
        return [Span(0, 1, "email")] if text else []

    def many(self, texts: Sequence[str]) -> list[Sequence[Span]]:
        return [self(text) for text in texts]


def test_what_can_never_be_removed_ends_in_a_refusal_and_not_in_a_loop(tmp_path):
    stubborn = Guard(ProtectSettings(action="redact"), tmp_path, detect=Everywhere())
    from metier.core.types import TextRow
    from metier.prepare.candidate import Candidate

    [item] = stubborn([Candidate(TextRow(id="1", source="a:1", text="x"), "{}", {}, "train")])
    assert isinstance(item, Candidate)


def test_a_file_protected_before_stays_as_it_is(workshop, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, KEY)
    first = workshop.prepare(tickets(workshop), protect="pseudonymise")
    texts = [record["text"] for split in SPLITS for record in raw(first, split)]
    again = workshop.lines("again.jsonl", [{"text": text, "label": "a"} for text in texts])
    second = workshop.prepare(again, protect="redact")
    assert sorted(record["text"] for split in SPLITS for record in raw(second, split)) == sorted(texts)


def test_without_the_libraries_rows_are_not_counted_and_it_is_said(workshop, monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "protect", ("no_such_library",))
    result = workshop.prepare(tickets(workshop))
    assert "pip install 'metier[protect]'" in str(result.choices)
    with pytest.raises(MissingExtraError, match="protect"):
        workshop.prepare(tickets(workshop), protect="redact")


def test_settings_are_checked():
    with pytest.raises(SettingsError, match="at least one"):
        build(ProtectSettings, {"entities": []}, "x")
    with pytest.raises(SettingsError, match="two capital letters"):
        build(ProtectSettings, {"regions": ["Germany"]}, "x")
    assert build(ProtectSettings, {}, "x").action == "count"
    with pytest.raises(SettingsError, match="model"):
        build(ProtectSettings, {"modell": "x"}, "x")
