import json
import math

import numpy as np

from metier.core.report import Figure, Series, Verdict
from metier.report.page import COLOURS, answer_sentence, answer_word, as_plain, colours, page_of
from tests.report import samples


def test_a_page_becomes_json_whatever_numbers_it_holds():
    figure = Figure(title="f", kind="lines", series=(Series(name="a", x=np.arange(2), y=[math.nan, np.float32(0.5)]),))
    plain = json.loads(json.dumps(as_plain({"page": samples.page(), "figure": figure}), allow_nan=False))
    assert plain["page"]["verdict"]["good"] is True
    assert plain["figure"]["series"][0] == {"name": "a", "x": [0, 1], "y": [None, 0.5], "low": None, "high": None}


def test_a_page_of_one_report_takes_its_verdict():
    page = page_of(samples.training())
    assert page.verdict == samples.training().verdict
    assert [chapter.report.title for chapter in page.chapters] == ["Training"]


def test_every_verdict_has_a_word():
    assert [answer_word(Verdict(text="", good=good)) for good in (True, False, None)] == ["Yes", "No", "Cannot tell"]
    assert answer_word(Verdict(text="", good=None, asked=False)) == "Note", "nothing was asked"
    assert answer_word(Verdict(text="", good=False, asked=False)) == "No", "what is answered was asked"


def test_base_is_neutral_and_a_series_keeps_its_colour_over_the_page():
    names = [f"s{number}" for number in range(9)]
    figures = [Figure(title="", kind="bars", series=tuple(Series(name=name, x=[], y=[]) for name in names))] * 2
    found = colours(figures)
    assert found["base"] == 0
    assert found["s0"] == 1
    assert all(1 <= found[name] < COLOURS for name in names)


def test_a_sentence_does_not_repeat_its_word_and_begins_with_a_capital():
    assert answer_sentence(Verdict(text="cannot tell: 7 rows", good=None)) == "7 rows"
    assert answer_sentence(Verdict(text="better: +3 points", good=True)) == "Better: +3 points"
    assert answer_sentence(Verdict(text="", good=True)) == ""
