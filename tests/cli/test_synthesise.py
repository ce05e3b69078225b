"""`metier synthesise`: the cost before, a yes, the page after."""

import json

from tests.prepare.synthesise.endpoint import served
from tests.prepare.synthesise.kitchen import labelled


def project(folder, url):
    lines = "".join(json.dumps(record) + "\n" for record in labelled())
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    (folder / "metier.yaml").write_text(
        "base: metier-tiny\ndata: rows.jsonl\nprepare:\n  further:\n"
        f"    synthesise: {{rows: 6, closest: 1.0, teacher: {{base_url: '{url}'}}}}\n",
        encoding="utf-8",
    )
    return "--project", str(folder)


def test_the_cost_is_shown_and_nothing_is_asked_without_a_yes(metier, tmp_path):
    with served() as endpoint:
        where = project(tmp_path, endpoint.url)
        result = metier(
            "synthesise",
            *where,
            "--prepare.further.synthesise.teacher.price-in",
            "1",
            "--prepare.further.synthesise.teacher.price-out",
            "2",
        )
        assert result.code == 2
        assert "6 rows: about 6 requests" in result.err
        assert "at your prices" in result.err
        assert "--yes" in result.err
        assert endpoint.asked == []


def test_rows_are_written_and_told(metier, tmp_path):
    with served() as endpoint:
        result = metier("synthesise", *project(tmp_path, endpoint.url), "--yes")
    assert result.code == 0
    assert "6 rows of 6 asked for are good enough" in result.out
    assert "add data/synthetic.jsonl to data.train" in result.out
    told = json.loads(metier("synthesise", *project(tmp_path, endpoint.url), "--yes", "--json").out)
    assert (told["rows"], told["asked"], told["stopped"]) == (6, 6, None)  # the endpoint is gone: all of it was paid


def test_without_an_endpoint_it_says_how_to_name_one(metier, tmp_path):
    where = project(tmp_path, "")
    result = metier("synthesise", *where, "--yes", "--prepare.further.synthesise.teacher.base-url", "null")
    assert result.code == 2
    assert "--prepare.further.synthesise.teacher.base-url" in result.err
