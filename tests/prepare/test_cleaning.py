"""The rules of cleaning on whole files: each finds its planted fault, can be switched, and is undone by keep."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.core import artefact, extras
from metier.core.errors import MissingExtraError, SettingsError
from metier.prepare.cleaning.mislabelled import doubted, probabilities
from metier.prepare.cleaning.settings import CleanSettings
from tests.prepare.workshop import Workshop, decisions, raw, rows, tickets

WORDS = [
    "river",
    "stone",
    "lamp",
    "garden",
    "letter",
    "winter",
    "bridge",
    "orange",
    "pencil",
    "window",
    "market",
    "silver",
]


def sentence(number: int) -> str:
    return f"The {WORDS[number % 12]} and the {WORDS[number // 12 % 12]} of number {number} are in the house."


def talk(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


TALKS = [talk(f"What about {sentence(number)}", f"Well: {sentence(number)}") for number in range(60)]
FAULTY = {
    "encoding": talk("Where is my cafÃ©?", "It is at the corner of the street."),
    "unicode": talk("Where is\u200b my bag?", "It is under the table."),
    "whitespace": talk("Where is my hat?   ", "It is on your head.\r\n"),
    "html": talk("Where is my <b>coat</b>?", "In the wardrobe."),
    "signatures": talk("Where is my dog?\n\nSent from my iPhone", "In the garden."),
    "refusals": talk("Where is my cat?", "I'm sorry, but I can't help with that."),
    "degenerate": talk("Where is my bird?", "In the tree. " * 12),
}
LINE = len(TALKS) + 1


def mine(result, rule):
    """Return what one rule decided."""
    return [entry for entry in decisions(result) if entry["rule"] == f"clean.{rule}"]


@pytest.mark.parametrize("rule", FAULTY)
def test_each_rule_finds_its_fault_can_be_switched_and_undone(workshop, rule):
    name = workshop.lines("t.jsonl", [*TALKS, FAULTY[rule]])
    acting = "drop" if rule in ("refusals", "degenerate") else "fix"
    action = "drop" if acting == "drop" else "change"
    found = {mode: workshop.prepare(name, clean={rule: mode}) for mode in ("off", "flag", acting)}
    assert [(mine(found[mode], rule) or [{"action": None}])[0]["action"] for mode in found] == [None, "flag", action]
    assert [entry["source"] for entry in mine(found[acting], rule)] == [f"t.jsonl:{LINE}"]
    texts = {
        mode: {json.dumps(line) for line in raw(found[mode], "train") + raw(found[mode], "test")} for mode in found
    }
    assert texts["off"] == texts["flag"]
    kept = workshop.prepare(name, clean={rule: acting}, keep=[f"t.jsonl:{LINE}"])
    assert not [entry for entry in mine(kept, rule) if entry["action"] != "flag"]
    row = next(row for split in rows(kept).values() for row in split if row.source == f"t.jsonl:{LINE}")
    assert row.messages[0].content == FAULTY[rule]["messages"][0]["content"]


def test_the_defaults_repair_texts_and_drop_what_teaches_nothing_and_only_flag_the_rest():
    values = CleanSettings().model_dump()
    assert {name for name, mode in values.items() if mode == "fix"} == {"encoding", "unicode", "whitespace"}
    assert {name for name, mode in values.items() if mode == "drop"} == {"degenerate"}
    assert "off" not in values.values()


def test_true_and_false_are_understood():
    chosen = CleanSettings.model_validate({"encoding": False, "html": True, "refusals": True, "language": False})
    assert (chosen.encoding, chosen.html, chosen.refusals, chosen.language) == ("off", "fix", "drop", "off")


def test_a_changed_row_has_a_new_id_and_is_a_copy_of_what_it_now_equals(workshop):
    name = workshop.lines("t.jsonl", [*tickets(40), {"text": "message number 3  \n", "label": "refund"}])
    result = workshop.prepare(name)
    assert result.dropped == {"copy of another row": 1}
    assert workshop.prepare(name, clean={"whitespace": "off"}).dropped == {}


def test_tools_are_never_touched(workshop):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":  "cafÃ© \u200b"}'}}
    records = [
        {
            "tools": [{"type": "function", "function": {"name": "f", "description": "<b>x</b>\u200b"}}],
            "messages": [
                {"role": "user", "content": f"question {number} \u200b"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": "cafÃ© \u200b <br>\r\n"},
                {"role": "assistant", "content": "It is there. "},
            ],
        }
        for number in range(12)
    ]
    result = workshop.prepare(workshop.lines("t.jsonl", records), clean={"html": "fix"})
    row = rows(result)["train"][0]
    assert row.messages[0].content.startswith("question")
    assert not row.messages[0].content.endswith("\u200b")
    assert row.messages[1].tool_calls == (call,)
    assert row.messages[2].content == records[0]["messages"][2]["content"]
    assert json.dumps(row.tools) == json.dumps(records[0]["tools"])


def test_a_row_of_which_nothing_is_left_is_dropped(workshop):
    result = workshop.prepare(workshop.lines("t.jsonl", [*TALKS, talk("\u200b\u200b", "Well then, off we go.")]))
    assert result.dropped == {"nothing is left of a text after repair": 1}


def test_answers_that_become_the_same_are_no_preference(workshop):
    pairs = [{"prompt": sentence(n), "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(20)]
    same = {"prompt": "Is it so?", "chosen": "It is.", "rejected": "It is. \u200b"}
    result = workshop.prepare(workshop.lines("t.jsonl", [*pairs, same]))
    assert result.dropped == {"chosen and rejected are the same after repair": 1}


def test_lines_to_remove_are_cut_and_boilerplate_is_what_names_them(workshop):
    records = [talk(f"{sentence(n)}\nTicket created through the portal", f"Yes {n}.") for n in range(20)] + TALKS
    name = workshop.lines("t.jsonl", records)
    found = mine(workshop.prepare(name), "boilerplate")
    assert len(found) == 20
    assert found[0]["reason"] == "line in many inputs: 'Ticket created through the portal'"
    assert mine(workshop.prepare(name, clean={"boilerplate": "off"}), "boilerplate") == []
    cut = workshop.prepare(name, clean={"remove": ["ticket created through the portal"]})
    assert len(mine(cut, "remove")) == 20
    assert not any("portal" in row.messages[0].content for split in rows(cut).values() for row in split)


GERMAN = "Guten Tag, ich habe leider meine Karte verloren und brauche bitte schnell eine neue."


def test_another_language_is_found(workshop):
    name = workshop.lines(
        "t.jsonl", [*({"text": sentence(n), "label": "a"} for n in range(200)), {"text": GERMAN, "label": "a"}]
    )
    result = workshop.prepare(name)
    assert [(entry["source"], entry["detail"]) for entry in mine(result, "language")] == [("t.jsonl:201", "de")]
    assert workshop.prepare(name, clean={"language": "drop"}).dropped == {"in another language": 1}
    assert mine(workshop.prepare(name, clean={"languages": ["en", "de"]}), "language") == []
    assert len(mine(workshop.prepare(name, clean={"languages": ["de"]}), "language")) == 200
    assert mine(workshop.prepare(name, clean={"language": "off"}), "language") == []
    with pytest.raises(SettingsError, match=r"prepare\.clean\.languages: xq unknown"):
        workshop.prepare(name, clean={"languages": ["xq"]})


def test_an_answer_in_another_language_than_the_question_is_found(workshop):
    records = [talk(sentence(n), f"Certainly: {sentence(n + 1)}") for n in range(60)]
    records += [talk(f"{GERMAN} {n}", f"Ja. {GERMAN} {n}") for n in range(10)]
    result = workshop.prepare(workshop.lines("t.jsonl", [*records, talk(GERMAN, sentence(5))]))
    assert [(entry["source"], entry["reason"]) for entry in mine(result, "language")] == [
        ("t.jsonl:71", "answered in another language than asked")
    ]


def test_json_and_numbers_are_in_no_language(workshop):
    records = [talk(sentence(n), json.dumps({"intent": "refund", "product": "lamp", "total": n})) for n in range(60)]
    result = workshop.prepare(workshop.lines("t.jsonl", records))
    assert mine(result, "language") == []
    assert artefact.read(result.path, "snapshot").facts["languages"] == {"en": 60}


def test_without_the_library_a_flagging_rule_is_left_out_and_told_and_a_dropping_one_refused(workshop, monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "clean", ("a_library_nobody_has",))
    name = workshop.lines("t.jsonl", tickets(60))
    told = {choice.name: choice for choice in workshop.prepare(name).choices}
    assert told["prepare.clean.language"].value == "off"
    assert "pip install 'metier[clean]'" in told["prepare.clean.mislabelled"].reason
    with pytest.raises(MissingExtraError, match=r"metier\[clean\]"):
        workshop.prepare(name, clean={"language": "drop"})


def test_texts_far_longer_than_the_others_are_found(workshop):
    long = " ".join(sentence(number) for number in range(60))
    name = workshop.lines("t.jsonl", [*TALKS, talk("And a long one?", long)])
    (found,) = mine(workshop.prepare(name), "lengths")
    assert (found["source"], found["reason"]) == (f"t.jsonl:{LINE}", "answer far longer than the others")
    assert mine(workshop.prepare(name, clean={"lengths": "off"}), "lengths") == []
    assert workshop.prepare(name, clean={"lengths": "drop"}).dropped == {"answer far longer than the others": 1}


def test_the_same_input_with_two_labels_names_both_lines(workshop):
    name = workshop.lines("t.jsonl", [*tickets(40), {"text": "Message  number 3", "label": "praise"}])
    found = mine(workshop.prepare(name), "conflicts")
    assert [(entry["source"], entry["detail"]) for entry in found] == [
        ("t.jsonl:4", "'refund' here, 'praise' in t.jsonl:41"),
        ("t.jsonl:41", "'praise' here, 'refund' in t.jsonl:4"),
    ]
    assert workshop.prepare(name, clean={"conflicts": "drop"}).counts != workshop.prepare(name).counts
    assert mine(workshop.prepare(name, clean={"conflicts": "off"}), "conflicts") == []


ODD = {
    "answer is not JSON": "The total is 5.",
    "answer is broken JSON": '{"total": 5, "name": "x"',
    "answer is JSON inside a code fence": '```json\n{"total": 5, "name": "x"}\n```',
    "answer is JSON, but no object": "[5]",
    "field 'name' is missing": '{"total": 5}',
    "field 'extra' is in hardly any answer": '{"total": 5, "name": "x", "extra": 1}',
    "field 'total' is a text, elsewhere a number": '{"total": "5", "name": "x"}',
}


@pytest.mark.parametrize("reason", ODD)
def test_an_answer_that_is_not_the_usual_json_is_found(workshop, reason):
    usual = [talk(f"bill {number}", json.dumps({"total": number, "name": WORDS[number % 12]})) for number in range(60)]
    name = workshop.lines("t.jsonl", [*usual, talk("bill", ODD[reason])])
    assert [(entry["source"], entry["reason"]) for entry in mine(workshop.prepare(name), "formats")] == [
        ("t.jsonl:61", reason)
    ]
    assert workshop.prepare(name, clean={"formats": "drop"}).dropped == {reason: 1}
    assert mine(workshop.prepare(name, clean={"formats": "off"}), "formats") == []


def test_a_field_that_some_have_is_not_odd(workshop):
    records = [talk(f"bill {n}", json.dumps({"total": n} | ({"note": "x"} if n % 4 == 0 else {}))) for n in range(60)]
    assert mine(workshop.prepare(workshop.lines("t.jsonl", records)), "formats") == []


def test_a_label_spelt_unlike_most_is_found(workshop):
    name = workshop.lines("t.jsonl", [*tickets(300), {"text": "one more", "label": "Re-Fund"}])
    (found,) = mine(workshop.prepare(name), "formats")
    assert found["detail"] == "'Re-Fund', elsewhere 'refund'"


TOPICS = {
    "card": "card chip swipe terminal",
    "loan": "loan rate interest monthly",
    "login": "password code reset screen",
}


def planted(count, flips):
    """Return texts, their true labels and labels of which some were flipped."""
    random = np.random.default_rng(0)
    names = list(TOPICS)
    true = random.integers(0, 3, count)
    texts = [
        " ".join([*random.choice(TOPICS[names[label]].split(), 3), *random.choice(WORDS, 4)]) + f" {number}"
        for number, label in enumerate(true)
    ]
    given_labels = true.copy()
    flipped = random.choice(count, flips, replace=False)
    given_labels[flipped] = (given_labels[flipped] + random.integers(1, 3, flips)) % 3
    return texts, given_labels, {int(place) for place in flipped}, names


def test_flipped_labels_are_doubted_and_others_are_not():
    texts, labels, flipped, _ = planted(400, 20)
    found = doubted(probabilities(texts, labels), labels)
    doubts = {place for place, *_ in found}
    assert len(doubts & flipped) >= 0.8 * len(flipped)
    assert len(doubts - flipped) <= 0.2 * len(doubts)
    gaps = [instead - own for _, _, instead, own in found]
    assert gaps == sorted(gaps, reverse=True)


def test_a_doubted_label_is_listed_with_the_likely_one(workshop):
    texts, labels, flipped, names = planted(200, 4)
    records = [{"text": text, "label": names[label]} for text, label in zip(texts, labels, strict=True)]
    name = workshop.lines("t.jsonl", records)
    result = workshop.prepare(name)
    assert {entry["source"] for entry in mine(result, "mislabelled")} == {f"t.jsonl:{place + 1}" for place in flipped}
    assert "against" in mine(result, "mislabelled")[0]["detail"]
    assert mine(workshop.prepare(name, clean={"mislabelled": "off"}), "mislabelled") == []
    assert workshop.prepare(name, clean={"mislabelled": "drop"}).dropped == {"label is probably another": 4}


def test_labels_that_the_words_do_not_tell_are_not_doubted(workshop):
    """Half of pubmedqa's yes, no and maybe were called wrong by a probe that was right no oftener than "yes" is."""
    texts, *_ = planted(300, 0)
    drawn = np.random.default_rng(1).choice(3, len(texts), p=[0.55, 0.35, 0.1])
    records = [{"text": text, "label": ["yes", "no", "maybe"][said]} for text, said in zip(texts, drawn, strict=True)]
    result = workshop.prepare(workshop.lines("t.jsonl", records), clean={"mislabelled": "drop"})
    assert mine(result, "mislabelled") == []
    assert result.dropped == {}
    (said,) = [choice for choice in workshop.heard.choices if choice.name == "rows looked at for a wrong label"]
    assert said.value == 0
    assert "no better than the shares of the labels" in said.reason


PARTS = [*"ab <>&;-\n\r\t", "\u200b", "\u00a0", "é", "Ã", "©", "<br>", "&amp;", "> ", "-- \n", "ha"]
MESS = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)
REPAIRS = ("encoding", "unicode", "whitespace", "html", "signatures")
JUDGEMENTS = ("degenerate", "refusals", "lengths", "formats")
MODES = st.fixed_dictionaries(
    {name: st.sampled_from(["off", "flag", "fix"]) for name in REPAIRS}
    | {name: st.sampled_from(["off", "flag", "drop"]) for name in JUDGEMENTS}
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(MESS, MESS, st.booleans()), max_size=25), MODES, st.lists(st.integers(1, 40), max_size=5))
def test_rows_in_are_rows_out_and_rows_dropped_whatever_the_rules_do(drawn, modes, kept):
    records = [
        talk(question, answer) if is_chat else {"prompt": question, "chosen": answer, "rejected": answer + "!"}
        for question, answer, is_chat in drawn
    ]
    talks = [record for record in records if "messages" in record] + TALKS[:15]
    pairs = [record for record in records if "chosen" in record]
    pairs += [{"prompt": sentence(n), "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(5)]
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        files = [shop.lines("t.jsonl", talks), shop.lines("p.jsonl", pairs)]
        result = shop.prepare(
            {"train": files},
            most_bad_share=0.99,
            clean={**modes, "language": "off"},
            keep=[f"t.jsonl:{line}" for line in kept],
        )
        found = rows(result)
        before = {f"t.jsonl:{line}": record for line, record in enumerate(talks, 1)}
        for row in (row for split in found.values() for row in split):
            if row.source in {f"t.jsonl:{line}" for line in kept}:
                assert [turn.content for turn in row.messages] == [
                    turn["content"] for turn in before[row.source]["messages"]
                ]
