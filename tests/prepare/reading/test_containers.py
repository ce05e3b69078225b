"""Every way in which people keep rows: the same thirty rows come out of each, with the line they stand on."""

import bz2
import gzip
import json
import lzma
import sqlite3
import zipfile

import pyarrow as arrow
import pytest
from pyarrow import feather

from metier.prepare.reading.hub import chosen_files
from tests.prepare.workshop import refused, rows, tickets

RECORDS = [dict(row) for row in tickets(30)]
LINES = "".join(json.dumps(row) + "\n" for row in RECORDS).encode()
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in RECORDS)


def texts(result):
    return {row.text for split in rows(result).values() for row in split}


def expect_all(result):
    assert texts(result) == {row["text"] for row in RECORDS}


def packed_zstd(data):
    return arrow.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("gz", gzip.compress),
        ("zst", packed_zstd),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("jsonl", gzip.compress),
    ],
)
def test_packed_files_whatever_they_are_called(workshop, suffix, pack):
    result = workshop.prepare(workshop.write(f"t.jsonl.{suffix}", pack(LINES)))
    expect_all(result)
    assert any(row.source == f"t.jsonl.{suffix}:1" for split in rows(result).values() for row in split)


def test_arrow_files_and_streams(workshop):
    table = arrow.Table.from_pylist(RECORDS)
    feather.write_feather(table, workshop.folder / "t.feather")
    expect_all(workshop.prepare("t.feather"))
    with arrow.OSFile(str(workshop.folder / "t.arrow"), "wb") as out, arrow.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    expect_all(workshop.prepare("t.arrow"))
    (workshop.folder / "broken.arrow").write_bytes((workshop.folder / "t.arrow").read_bytes()[:300])
    assert "damaged Arrow data" in str(_message(workshop, "broken.arrow"))


def sheet(cells):
    """Write one sheet of a workbook by hand, as the format's standard says."""
    lines = "".join(
        "<row>" + "".join(
            f"<c><v>{cell}</v></c>" if isinstance(cell, int | float) else f'<c t="inlineStr"><is><t>{cell}</t></is></c>'
            for cell in line
        ) + "</row>" for line in cells
    )  # fmt: skip
    return (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f"<sheetData>{lines}</sheetData></worksheet>"
    )


def workbook(path, sheets):
    names = list(sheets)
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="xml" ContentType="application/xml"/></Types>',
        )
        book.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        book.writestr(
            "xl/workbook.xml",
            '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
            f'xmlns:r="{relations}"><sheets>'
            + "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(names, 1))
            + "</sheets></workbook>",
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            + "".join(
                f'<Relationship Id="r{n}" Type="{relations}/worksheet" Target="worksheets/s{n}.xml"/>'
                for n in range(1, len(names) + 1)
            )
            + "</Relationships>",
        )
        for number, name in enumerate(names, 1):
            book.writestr(f"xl/worksheets/s{number}.xml", sheet(sheets[name]))


TABLE = [["text", "label"], *([row["text"], row["label"]] for row in RECORDS)]


def test_a_workbook(workshop):
    workbook(workshop.folder / "t.xlsx", {"Rows": TABLE, "Empty": []})
    result = workshop.prepare("t.xlsx")
    expect_all(result)
    assert "t.xlsx:2" in {row.source for split in rows(result).values() for row in split}


def test_a_workbook_with_several_sheets_asks_for_one(workshop):
    workbook(workshop.folder / "t.xlsx", {"One": TABLE, "Two": TABLE[:12]})
    assert "2 sheets with rows: One, Two; wanted: one; do: say which: data.train: t.xlsx#One" in refused(
        workshop, "t.xlsx"
    )
    expect_all(workshop.prepare("t.xlsx#One"))
    assert workshop.prepare("t.xlsx#Two").rows_in == 11
    assert "no sheet 'Tow'; wanted: one of One, Two; do: did you mean 'Two'?" in "".join(
        str(error) for error in [_message(workshop, "t.xlsx#Tow")]
    )


def _message(workshop, name, **settings):
    with pytest.raises(ValueError) as caught:
        workshop.prepare(name, **settings)
    return caught.value


def test_whole_numbers_of_a_workbook_have_no_point(workshop):
    workbook(workshop.folder / "t.xlsx", {"S": [["text", "label"], *([f"t {n}", n % 3] for n in range(30))]})
    assert {row.label for split in rows(workshop.prepare("t.xlsx")).values() for row in split} == {"0", "1", "2"}


def test_a_table_without_a_header(workshop):
    name = workshop.write("t.csv", CSV.partition("\n")[2])
    assert "no column 'text'" in refused(workshop, name, columns={"text": "text"})
    columns = {"text": "column 1", "label": "column 2"}
    result = workshop.prepare(name, read={"header": False}, columns=columns)
    expect_all(result)
    workbook(workshop.folder / "t.xlsx", {"S": TABLE[1:]})
    expect_all(workshop.prepare("t.xlsx", read={"header": False}, columns=columns))


def test_a_table_whose_first_row_is_none_says_what_to_set(workshop):
    asked = "A question of some length that nobody takes for the name of anything, number"
    name = workshop.write("t.csv", "".join(f'"{asked} {n}?",{n}\n' for n in range(30)))
    assert "if it is a row: prepare.read.header: false" in refused(workshop, name)


def test_folders_patterns_and_archives(workshop):
    for n in range(3):
        workshop.lines(f"data/part-{n}.jsonl", RECORDS[n * 10 : n * 10 + 10])
    workshop.write("data/README.md", "# About")
    workshop.write("data/.hidden.jsonl", "no")
    expect_all(workshop.prepare("data"))
    expect_all(workshop.prepare("data/part-*.jsonl"))
    assert "no file fits this pattern" in str(_message(workshop, "data/*.csv"))
    with zipfile.ZipFile(workshop.folder / "t.zip", "w") as archive:
        for n in range(3):
            archive.writestr(f"inner/part-{n}.jsonl.gz", gzip.compress(LINES[:10_000] if n == 0 else b"\n"))
        archive.writestr("__MACOSX/._x.jsonl", "no")
    result = workshop.prepare("t.zip#inner/part-0.jsonl.gz")
    expect_all(result)
    assert {row.source.partition(":")[0] for split in rows(result).values() for row in split} == {
        "t.zip/inner/part-0.jsonl.gz"
    }
    assert "no file 'inner/part-9.jsonl.gz' in it" in str(_message(workshop, "t.zip#inner/part-9.jsonl.gz"))


def test_a_file_named_twice(workshop):
    name = workshop.write("t.jsonl", LINES)
    assert "named as train and again as test" in refused(workshop, {"train": name, "test": name})


@pytest.mark.parametrize("key", ["data", "rows"])
def test_rows_in_one_object(workshop, key):
    expect_all(workshop.prepare(workshop.write("t.json", json.dumps({"version": 1, key: RECORDS}))))
    expect_all(workshop.prepare(workshop.write("u.json", json.dumps({"version": 1, key: RECORDS}, indent=1))))


def test_records_under_their_ids_and_pairs_under_a_key(workshop):
    expect_all(
        workshop.prepare(workshop.write("t.json", json.dumps({str(n): row for n, row in enumerate(RECORDS)}, indent=1)))
    )
    pairs = {"train": [list(row.values()) for row in RECORDS], "test": [["t", "l"]]}
    name = workshop.write("u.json", json.dumps(pairs, indent=1))
    message = str(_message(workshop, name))
    assert "one JSON object with 2 lists in it (train, test); wanted: a list of objects, or one object" in message
    assert message.endswith(f"do: say which, for example data: {{train: {name}#train, test: {name}#test}}")
    expect_all(workshop.prepare("u.json#train", columns={"text": "column 1", "label": "column 2"}))
    assert "no 'tset' in it; wanted: one of train, test; do: did you mean 'test'?" in str(
        _message(workshop, "u.json#tset")
    )


def test_a_page_of_conversations_as_intercom_exports_it(workshop):
    part = {"type": "conversation_part", "part_type": "comment", "author": {"type": "admin"}}
    talks = [
        {"id": str(n), "source": {"body": f"<p>where is {n}</p>", "author": {"type": "user"}},
         "conversation_parts": {"conversation_parts": [part | {"body": f"<p>there is {n}</p>"}]}}
        for n in range(30)
    ]  # fmt: skip
    export = {"type": "conversation.list", "conversations": talks, "pages": {"next": None}}
    for name, indent in (("t.json", None), ("u.json", 1)):
        result = workshop.prepare(workshop.write(name, json.dumps(export, indent=indent)))
        said = [[turn.content for turn in row.messages] for split in rows(result).values() for row in split]
        assert sorted(said) == sorted([f"where is {n}", f"there is {n}"] for n in range(30))


def test_files_that_are_called_like_splits_are_not_mixed_without_a_word(workshop):
    held_out = [{"text": f"held {n}", "label": "ab"[n % 2]} for n in range(20)]
    names = [
        workshop.lines("shop/train.jsonl", RECORDS),
        workshop.lines("shop/web-dev.jsonl", held_out[:10]),
        workshop.lines("shop/test-00000-of-00001.jsonl", held_out[10:]),
    ]
    (said,) = [warning for warning in workshop.prepare("shop").warnings if "names say otherwise" in warning]
    assert "shop/web-dev.jsonl and shop/test-00000-of-00001.jsonl; to keep that: data.validation, data.test" in said
    named = workshop.prepare(dict(zip(("train", "validation", "test"), names, strict=True)))
    assert not [warning for warning in named.warnings if "names say otherwise" in warning]
    assert len(rows(named)["test"]) == 10
    workshop.lines("test/train-a.jsonl", RECORDS)
    workshop.lines("test/train-latest.jsonl", held_out)
    assert not [warning for warning in workshop.prepare("test").warnings if "names say otherwise" in warning]


def test_a_file_of_pairs_is_refused_with_its_text_and_its_label(workshop):
    pairs = {
        "train": [[f"what is the state of order {n}", ("order", "bill")[n % 2]] for n in range(30)],
        "test": [["t", "l"]],
    }
    name = workshop.write("u.json", json.dumps(pairs))
    message = str(_message(workshop, f"{name}#train"))
    assert "prepare.columns: {text: column 1, label: column 2}" in message


def test_xml(workshop):
    pairs = "".join(f'<pair id="{n}"><q>question {n}</q><a>answer {n}</a></pair>' for n in range(30))
    name = workshop.write("t.xml", f"<doc><title>x</title><pairs>{pairs}</pairs></doc>")
    result = workshop.prepare(name, columns={"prompt": "q", "completion": "a", "group": "id"})
    assert sum(result.counts.values()) == 30
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><d><r><q>&b;</q><a>x</a></r></d>'
    assert "XML that declares entities" in str(_message(workshop, workshop.write("b.xml", bomb)))


def test_a_query(workshop):
    with sqlite3.connect(workshop.folder / "shop.db") as database:
        database.execute("create table tickets (text text, label text, at date)")
        database.executemany(
            "insert into tickets values (?, ?, '2026-01-01')", [tuple(row.values()) for row in RECORDS]
        )
    database.close()
    url = f"sqlite:///{workshop.folder / 'shop.db'}"
    query = {"sql": url, "query": "select text, label from tickets order by text", "name": "tickets"}
    result = workshop.prepare({"train": query})
    expect_all(result)
    assert "tickets:1" in {row.source for split in rows(result).values() for row in split}
    assert workshop.prepare({"train": query}).reused
    wrong = str(_message(workshop, {"train": query | {"query": "select nothing from nowhere"}}))
    assert wrong.startswith("query 'select nothing from nowhere': ")
    assert "no rows" in str(_message(workshop, {"train": query | {"query": "select text from tickets where 0"}}))
    assert "is not set in the environment" in str(_message(workshop, {"train": query | {"sql": "$METIER_NO_SUCH"}}))


def test_a_query_takes_its_url_from_the_environment(workshop, monkeypatch):
    sqlite3.connect(workshop.folder / "shop.db").close()
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{workshop.folder / 'shop.db'}")
    rows_of = " union ".join(f"select 'text {n}' as text, 'l' as label" for n in range(20))
    assert workshop.prepare({"train": {"sql": "$SHOP_URL", "query": rows_of}}).rows_in == 20


def test_the_hub_without_a_network_says_what_to_do(workshop, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = str(_message(workshop, "hub:org/name#test"))
    assert message.startswith("hub:org/name#test: the hub cannot be reached")
    assert "hf download org/name --repo-type dataset --local-dir data; then data.train: data" in message
    assert "no data set's name" in str(_message(workshop, "hub:name"))


def test_which_files_of_the_hub_are_meant():
    converted = ["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet", "README.md"]
    assert chosen_files(converted, None, "train", "hub:a/b") == converted[:2]
    assert chosen_files(["data/train-00000-of-00002.parquet"], None, "train", "hub:a/b") == [
        "data/train-00000-of-00002.parquet"
    ]
    with pytest.raises(ValueError, match=r"2 configurations: de, en.*hub:a/b/de"):
        chosen_files(["de/train/0.parquet", "en/train/0.parquet"], None, "train", "hub:a/b")
    assert chosen_files(["de/train/0.parquet", "en/train/0.parquet"], "en", "train", "hub:a/b") == [
        "en/train/0.parquet"
    ]
    with pytest.raises(ValueError, match="no split 'dev'; wanted: one of test, train"):
        chosen_files(["x/train/0.parquet", "x/test/0.parquet"], None, "dev", "hub:a/b")
    with pytest.raises(ValueError, match="no configuration 'fr'"):
        chosen_files(["de/train/0.parquet"], "fr", "train", "hub:a/b")


@pytest.mark.parametrize(
    ("name", "content", "layout"),
    [
        ("rows", LINES, "JSON, by objects in it"),
        ("rows.csv", LINES, "JSON, by objects in it"),
        ("rows.txt", LINES, "JSON, by objects in it"),
        ("rows.data", CSV.replace(",", "\t").encode(), "delimited text, by lines of as many fields"),
    ],
)
def test_content_decides_and_is_told(workshop, name, content, layout):
    expect_all(workshop.prepare(workshop.write(name, content)))
    assert workshop.heard.choices[0].reason.startswith(layout)


def test_the_layout_can_be_named(workshop):
    name = workshop.write("t.jsonl", LINES.replace(b"\n", b"\n\n"))
    assert workshop.prepare(name, read={"layout": "text", "chunk": {"size": 200}}).rows_in > 3
    assert workshop.heard.choices[0].value == "text"


def test_turns_of_a_table_are_put_together(workshop):
    table = "ticket_id,time,author,message\n" + "".join(
        f"{n},2026-01-01 10:0{2 - turn}:00,{who},{said} {n}\n"
        for n in range(20) for turn, (who, said) in enumerate([("agent", "a"), ("customer", "q")])
    )  # fmt: skip
    result = workshop.prepare(workshop.write("t.csv", table))
    row = rows(result)["train"][0]
    assert [turn.role for turn in row.messages] == ["user", "assistant"]
    assert row.group is not None
    named = workshop.write("u.csv", table.replace("agent", "Ann").replace("customer", "Bob"))
    assert "nobody said who this speaker is" in str(_message(workshop, named))
    assert sum(workshop.prepare(named, read={"ours": ["ann"]}).counts.values()) == 20


def test_flat_messages_of_a_tree_are_hung_up(workshop):
    flat = [
        {"message_id": f"{n}{kind}", "parent_id": parent and f"{n}{parent}", "role": role, "text": f"{kind} {n}"}
        for n in range(12)
        for kind, parent, role in [("b", "a", "assistant"), ("a", None, "prompter"), ("c", "zz", "assistant")]
    ]
    result = workshop.prepare(workshop.lines("t.jsonl", flat), most_bad_share=0.5)
    assert result.dropped == {"a reply to a message that is not there": 12}
    assert [turn.content.partition(" ")[0] for turn in rows(result)["train"][0].messages] == ["a", "b"]


def test_foreign_templates_are_taken_off_unless_that_is_switched_off(workshop):
    records = [{"prompt": f"### Instruction:\nSay {n}.\n\n### Response:", "answer": f"{n}</s>"} for n in range(30)]
    name = workshop.lines("t.jsonl", records)
    row = rows(workshop.prepare(name))["train"][0]
    assert row.messages[0].content.startswith("Say ")
    assert not row.messages[1].content.endswith("</s>")
    assert "taken off: alpaca, end token </s>" in workshop.heard.choices[0].reason
    row = rows(workshop.prepare(name, read={"unwrap": False}))["train"][0]
    assert row.messages[1].content.endswith("</s>")
