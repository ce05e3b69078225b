"""The repairs of texts, one planted fault a rule, and what each must leave alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, TextRow
from metier.prepare.cleaning import characters, degenerate, encoding, html, mail, refusals
from metier.prepare.cleaning.boilerplate import remover
from metier.prepare.cleaning.texts import answers, asked, pieces, rebuilt

CAFE = "Un café crème à Zürich"


@pytest.mark.parametrize("times", [1, 2])
def test_text_decoded_wrongly_is_repaired(times):
    broken = CAFE
    for _ in range(times):
        broken = broken.encode().decode("cp1252")
    assert encoding.repair()(broken) == CAFE


@pytest.mark.parametrize("text", [CAFE, "plain", "&amp; stays", "Ärger, naïve, piñata", "日本語のテキスト"])
def test_good_text_is_left_alone(text):
    assert encoding.repair()(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\u00a0b\u2009c", "a b c"),
        ("e\u0301", "é"),
        ("bell\x07 nul\x00", "bell nul"),
        ("turn\u202eed", "turned"),
        ("two\u2028lines\x85three", "two\nlines\nthree"),
        ("hidden\U000e0049\U000e0050 order", "hidden order"),
        ("soft\u00adhyphen", "softhyphen"),
    ],
)
def test_invisible_and_exotic_characters_go(text, wanted):
    assert characters.composed(text) == wanted


FLAG = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize("text", ["👨‍👩‍👧", FLAG, "می‌خواهم", "tab\tand\nline\r\n", "全角　空白", "ﬁ ½ Ⅷ"])
def test_characters_with_a_meaning_stay(text):
    assert characters.composed(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (" a \r\nb\t\rc  \n", "a\nb\nc"),
        ("a\n\n\n\n\n\nb", "a\n\n\nb"),
        ("    def f():\n        return 1\n", "    def f():\n        return 1"),
        ("\n\n\tindented\nnot\n", "\tindented\nnot"),
        (" one line", "one line"),
        ("a  b\tc", "a  b\tc"),
    ],
)
def test_space_that_means_nothing_goes(text, wanted):
    assert characters.tidied(text) == wanted


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_repairs_are_done_once_and_for_all(text):
    for repair in (characters.composed, characters.tidied, html.without, mail.without):
        once = repair(text)
        if repair is not html.without:  # what was escaped twice is unescaped once
            assert repair(once) == once
        assert isinstance(once, str)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<p>Hello<br/>there &amp; all</p>", "Hello\nthere & all\n"),
        ("<div class='x'>a</div><style>b {}</style>", "a\n"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two\n\n"),
        ("5 &lt; 6&nbsp;ok", "5 < 6 ok"),
    ],
)
def test_what_is_left_of_html_goes(text, wanted):
    assert html.without(text) == wanted


CODE = ["use `<br>` here", "```html\n<p>x</p>\n```", "List<String> x"]


@pytest.mark.parametrize("text", [*CODE, "a < b and b > c", "AT&T", "R&D; fine", "<name>"])
def test_code_and_plain_signs_stay(text):
    assert html.without(text) == text


MAIL = """Hello,

my card does not work.

Best regards,
Ada Lovelace
Head of Engines
Tel. 0123

On Mon, 3 March 2025 at 10:11, Support <help@bank.example> wrote:
> How can we help?
> Yours
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (MAIL, "Hello,\n\nmy card does not work."),
        ("It broke.\n\n-- \nAda\nEngines Ltd", "It broke."),
        ("It broke.\nSent from my iPhone", "It broke."),
        ("Es ist kaputt.\n\nMit freundlichen Grüßen\nAda", "Es ist kaputt."),
        ("See below\n-----Original Message-----\nFrom: x\nold", "See below"),
        ("Answer\nFrom: Ada\nSent: Monday\nTo: Bob\nold", "Answer"),
        ("Hi\nThis e-mail is confidential and intended only for you.\nBye now", "Hi\n\nBye now"),
    ],
)
def test_what_mail_programs_add_goes(text, wanted):
    assert mail.without(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "On Monday I wrote: nothing.",
        "one line only, best regards, Ada",
        "> quoted only\n> nothing else",
        "Regards,\nis how it starts\n" + "and it goes on for long enough to be a text of its own\n" * 9,
        "Please send it from: my account\nand to: hers",
    ],
)
def test_what_somebody_wrote_stays(text):
    assert mail.without(text) == text


def test_named_lines_are_cut_wherever_they_stand_alone():
    removed = remover(["Sent via the  Portal", "CAUTION: external"])
    assert removed("caution: EXTERNAL\nHello\nsent via the portal") == "Hello"
    assert removed("Hello, sent via the portal") == "Hello, sent via the portal"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("As an AI language model, I do not eat.", refusals.RESIDUE),
        ("Sure! My knowledge cutoff is 2021.", refusals.RESIDUE),
        ("I'm sorry, but I can't assist with that.", refusals.REFUSAL),
        ("I’m sorry, but I can’t help with that request.", refusals.REFUSAL),
        ("Unfortunately, I cannot provide legal advice.", refusals.REFUSAL),
        ("I am unable to answer this.", refusals.REFUSAL),
        ("Es tut mir leid, aber ich kann dabei nicht helfen.", refusals.REFUSAL),
        ("Lo siento, pero no puedo ayudar.", refusals.REFUSAL),
        ("I can't believe it is so easy: add 2.", ""),
        ("I'm sorry to hear that. Your refund is on its way.", ""),
        ("Here is the plan. I can help with the rest.", ""),
        ("I'm sorry, the parcel could not be delivered.", ""),
    ],
)
def test_refusals_and_residue(text, wanted):
    assert refusals.found(text) == wanted


@pytest.mark.parametrize("text", ["...", "???", " - ", "NaN", "[object Object]", "undefined", "\u200b…"])
def test_texts_that_say_nothing(text):
    assert degenerate.found(text) == degenerate.SAYS_NOTHING


@pytest.mark.parametrize("text", ["no", "👍", "42", "None", "+", "n/a (see below)", "ok."])
def test_short_texts_that_say_something(text):
    assert degenerate.found(text) == ""


LOOP = "The refund is on its way. "


@pytest.mark.parametrize(
    "text",
    [
        "Sure. " + LOOP * 6,
        "Sure. " + LOOP * 6 + "The refund is",
        "a" * 80,
        "ha" * 40,
        "Yes\n" * 30,
        ("A longer passage that says one thing and another thing, and goes on. " * 3 + "New.\n") * 5,
    ],
)
def test_loops_are_found(text):
    assert degenerate.found(text) == degenerate.LOOPS


@pytest.mark.parametrize(
    "text",
    [
        LOOP * 2,
        "=" * 200,
        "Report\n" + "-" * 100,
        "[" + "0, " * 100 + "0]",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
        "hahaha, that is a good one",
        "row, row, row your boat, gently down the stream; merrily, merrily, merrily, merrily, life is but a dream",
    ],
)
def test_what_repeats_itself_a_little_is_no_loop(text):
    assert degenerate.found(text) == ""


TURNS = (
    Message(role="system", content="s"),
    Message(role="user", content="u"),
    Message(role="assistant", content="", tool_calls=({"id": "1"},)),
    Message(role="tool", content="t", tool_call_id="1"),
    Message(role="assistant", content="a"),
)
COMMON = {"id": "0" * 24, "source": "t:1"}
ROWS = [
    TextRow(text="d", **COMMON),
    LabelledRow(text="q", label="l", **COMMON),
    ChatRow(messages=TURNS, **COMMON),
    PreferenceRow(prompt=TURNS[:2], chosen=TURNS[4:], rejected=(Message(role="assistant", content="b"),), **COMMON),
    JudgedRow(prompt=TURNS[:2], completion=TURNS[4:], good=True, **COMMON),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_a_row_is_rebuilt_from_its_pieces(row):
    texts = [piece.text for piece in pieces(row)]
    assert "t" not in texts
    assert rebuilt(row, texts) == row
    other = rebuilt(row, [text.upper() for text in texts])
    assert [piece.text for piece in pieces(other)] == [text.upper() for text in texts]
    assert [piece.side for piece in pieces(other)] == [piece.side for piece in pieces(row)]


def test_what_is_asked_and_what_is_answered():
    assert [asked(row) for row in ROWS] == ["d", "q", "u", "u", "u"]
    assert [answers(row) for row in ROWS] == [[], [], ["a"], ["a"], ["a"]]
