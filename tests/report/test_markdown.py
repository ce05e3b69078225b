from markdown_it import MarkdownIt

from metier.core.report import Example, Report, Table, Verdict
from metier.report import markdown
from metier.report.page import page_of
from tests.report import samples


def test_a_page_is_told_from_the_verdict_down():
    text = markdown.render(samples.page())
    assert text.startswith("# my-task\n\n**Yes.** Better: field accuracy 0.11 → 0.78")
    assert "| exact match | 74 | 0 | 0.4324 |" in text
    assert "- training: 3.3" in text
    assert text.endswith("```\n")


def test_texts_cannot_break_out_of_their_place():
    report = Report(
        title="a `b` <i>",
        verdict=Verdict(text="pipes | and\nlines", good=False),
        tables=(Table(title="t", columns=("x|y",), rows=(("a|b\nc <script>",),)),),
        examples=(Example(source="s", prompt="```\n# not a title\n````", reference="", outputs=()),),
    )
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown.render(page_of(report)))
    titles = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert len(titles) == 3
    assert [token.content for token in tokens if token.type == "fence"] == ["```\n# not a title\n````\n", "\n"]
    assert sum(token.type == "td_open" for token in tokens) == 1
    assert not any(child.type == "html_inline" for token in tokens for child in token.children or [])
