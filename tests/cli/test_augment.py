"""`metier augment`: a file of changed copies, and a page that says so."""

import json

from tests.prepare.synthesise.kitchen import labelled


def test_it_writes_a_file_and_tells_of_it(metier, tmp_path):
    lines = "".join(json.dumps(record) + "\n" for record in labelled())
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "metier.yaml").write_text("base: metier-tiny\ndata: rows.jsonl\n", encoding="utf-8")
    result = metier(
        "augment",
        "--project",
        str(tmp_path),
        "--prepare.further.augment.ways",
        "[typos, casing]",
        "--prepare.further.augment.copies",
        "2",
    )
    assert result.code == 0
    assert "rows made of" in result.out
    assert "add data/augmented.jsonl to data.train" in result.out
    written = (tmp_path / "data" / "augmented.jsonl").read_text(encoding="utf-8").splitlines()
    told = json.loads(metier("augment", "--project", str(tmp_path), "--json").out)
    assert told["rows"] > 0
    assert {json.loads(line)["method"] for line in written} == {"typos", "casing"}
