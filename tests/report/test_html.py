import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from metier.core.report import Report, Table, Verdict
from metier.report import html
from metier.report.page import page_of
from tests.report import samples

VOID = {"meta", "link", "br", "wbr"}


class Balanced(HTMLParser):
    """Collects tags and fails on one that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def text() -> str:
    return html.render(samples.page())


@pytest.fixture(scope="module")
def parsed(text) -> Balanced:
    parser = Balanced()
    parser.feed(text)
    return parser


def test_every_element_is_closed(parsed):
    assert parsed.open == []


def test_the_verdict_comes_before_all_else(text):
    body = text[text.index("<body>") :]
    assert body.index("Better: field accuracy") < body.index("Is it better than the base?")
    assert 'class="verdict yes"' in body


@pytest.mark.parametrize(("good", "name", "word"), [(False, "no", "No"), (None, "maybe", "Cannot tell")])
def test_other_verdicts_have_their_own_tone_and_word(good, name, word):
    text = html.render(replace(samples.page(good), chapters=()))
    assert f'class="verdict {name}"' in text
    assert f'<p class="word">{word}</p>' in text


def test_nothing_is_fetched_and_nothing_runs(text, parsed):
    assert "<script" not in text
    assert "default-src 'none'" in text
    links = [value for name, value in parsed.attributes if name in {"src", "href", "xlink:href", "action"}]
    assert all(value.startswith("#") or value == "data:," for value in links)
    assert "http" not in text.replace('http-equiv="', "")
    assert not re.search(r"@import|url\((?!#)", text)


def test_what_users_and_models_wrote_is_escaped_and_shown(text):
    assert "<b>asap</b>" not in text
    assert "&lt;b&gt;asap&lt;/b&gt;" in text
    assert "seconds␛[31m" in text


def test_differences_are_marked_and_equal_answers_said_to_be(text):
    assert "<mark>delivery</mark>" in text
    assert "✓ the same" in text


def test_ids_are_unique(text):
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_a_long_table_is_cut_and_kept_whole_below():
    table = Table(title="t", columns=("name",), rows=tuple((f"row {number}.",) for number in range(60)))
    text = html.render(page_of(Report(title="r", verdict=Verdict(text="v", good=None), tables=(table,))))
    assert "all 60 rows" in text
    assert text.count("row 0.") == 2
    assert text.count("row 59.") == 1


def test_a_table_of_numbers_leads_and_one_of_words_follows_the_figures():
    def order(cell: str) -> bool:
        table = Table(title="the table", columns=("a",), rows=((cell,),))
        report = replace(samples.training(), tables=(table,))
        text = html.render(page_of(report))
        return text.index("the table") < text.index("<figure>")

    assert order("12 %")
    assert not order("words")


def test_intervals_stand_below_their_value_and_long_names_may_break():
    rows = (("a_long_name <b>", "66.7 % (53.4 to 77.8)"),)
    table = Table(title="t", columns=("label", "share"), rows=rows)
    text = html.render(page_of(Report(title="r", verdict=Verdict(text="v", good=None), tables=(table,))))
    assert "66.7 % <small>(53.4 to 77.8)</small>" in text
    assert "a_<wbr>long_<wbr>name &lt;b&gt;" in text


def test_long_facts_are_set_one_below_the_other():
    def drawn(value: str) -> str:
        return html.render(page_of(Report(title="r", verdict=Verdict(text="v", good=None), facts=(("name", value),))))

    assert '<dl class="list">' in drawn("a value that is much longer than a tile")
    assert '<dl class="facts">' in drawn("short")


def test_an_answer_with_nothing_in_common_is_called_different_and_not_marked_all_over(text):
    assert "✗ different" in text
    assert "<mark>The" not in text


def test_the_numbers_behind_a_figure_can_be_read():
    table = html.numbers(samples.training().figures[0])
    assert table.columns == ("step", "training", "validation")
    assert table.rows[0][2] is None
    assert table.rows[29][2] is not None


def test_the_same_page_gives_the_same_bytes(text):
    assert html.render(samples.page()) == text
