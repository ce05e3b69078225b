"""Documents and mails become rows of text: below their headings, whole where they fit, grouped by document."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.core.errors import DataError
from metier.prepare.reading.chunks import Block, chunks
from metier.prepare.reading.document import markdown_blocks, text_blocks
from metier.prepare.reading.settings import ChunkSettings
from metier.prepare.reading.web import blocks_of
from metier.prepare.settings import PrepareSettings
from tests.prepare.workshop import refused, rows

WORDS = (
    "river", "stone", "letter", "window", "garden", "winter", "engine", "market", "candle", "harbour", "ladder",
    "mirror", "bridge", "orchard", "signal", "copper", "feather", "lantern", "meadow", "thunder", "violin", "basket",
)  # fmt: skip


def prose(seed, sentences):
    """Return sentences that do not repeat themselves."""
    said = []
    for number in range(sentences):
        words = [WORDS[(seed * 31 + number * 17 + place * (7 + seed % 5)) % len(WORDS)] for place in range(6)]
        said.append(f"The {' '.join(words)} {seed}.{number}.")
    return " ".join(said)


STORY = "".join(f"Paragraph {n}: {prose(n, 5)}\n\n" for n in range(60))


def texts(result):
    return [row.text for split in rows(result).values() for row in split]


def test_plain_text_in_one_document_is_split_by_stretches(workshop):
    result = workshop.prepare(workshop.write("t.txt", STORY), read={"chunk": {"size": 700}})
    found = texts(result)
    assert all(len(text) <= 700 for text in found)
    assert sum(text.count("Paragraph") for text in found) == 60
    assert result.counts["test"] > 0
    assert {row.source for split in rows(result).values() for row in split} > {"t.txt:1", "t.txt:5"}


def test_the_size_of_a_chunk_counts(workshop):
    name = workshop.write("t.txt", STORY)
    assert workshop.prepare(name, read={"chunk": {"size": 500}}).rows_in > workshop.prepare(name).rows_in


def test_a_folder_of_documents_is_one_source_whose_documents_are_groups(workshop):
    for n in range(12):
        workshop.write(f"books/{n}.md", f"# Book {n}\n\n{prose(n, 6)}\n\n## Part\n\nmore of {n} {prose(n + 50, 6)}")
    result = workshop.prepare("books")
    found = rows(result)
    assert {row.group for split in found.values() for row in split} == {f"books/{n}.md" for n in range(12)}
    by_split = [{row.group for row in split} for split in found.values()]
    assert not by_split[0] & by_split[1]
    assert any(text.startswith("Book 3 > Part\n\nmore of 3") for text in texts(result))
    assert workshop.heard.choices[0].name == "format of books"


def test_headings_may_be_left_out(workshop):
    name = workshop.write("t.md", "".join(f"# H{n}\n\ntext {n} is here\n\n" for n in range(30)))
    assert "H1\n\ntext 1 is here" in texts(workshop.prepare(name))
    assert "text 1 is here" in texts(workshop.prepare(name, read={"chunk": {"headings": False}}))


def test_overlap_repeats_the_end_of_the_row_before(workshop):
    name = workshop.write("t.txt", STORY)
    found = texts(workshop.prepare(name, read={"chunk": {"size": 600, "overlap": 100}}))
    assert any(".\n\nParagraph" in text and not text.startswith("Paragraph") for text in found)
    with pytest.raises(ValueError, match="overlap is more than half of size"):
        PrepareSettings.model_validate({"read": {"chunk": {"size": 100, "overlap": 60}}})


SAID = st.text(min_size=1, max_size=400).filter(str.strip)
BLOCKS = st.lists(st.builds(Block, st.just(()) | st.just(("A", "B")), SAID, st.just(1)))


@given(BLOCKS, st.integers(100, 300), st.integers(0, 50), st.booleans())
def test_chunks_fit_and_lose_nothing(blocks, size, overlap, headings):
    found = list(chunks(blocks, ChunkSettings(size=size, overlap=overlap, headings=headings)))
    assert all(len(chunk.text) <= size for chunk in found)
    if not overlap:
        said = "".join("".join(chunk.text.removeprefix("A > B\n\n").split()) for chunk in found)
        for mark in set("".join("".join(block.text.split()) for block in blocks)) - set("\"'”’)]"):
            assert said.count(mark) == sum(block.text.count(mark) for block in blocks)


@given(st.text())
def test_no_text_breaks_the_readers_of_markup(text):
    for read in (blocks_of, markdown_blocks, text_blocks):
        assert all(block.text.strip() for block in read(text))


def test_markdown_keeps_code_together_and_reads_both_kinds_of_headings():
    blocks = markdown_blocks(
        "Title\n===\n\none\ntwo\n\n```\n# no heading\n\ncode\n```\n\n## Sub ##\nthree\n\nUnder\n---\nfour\n"
    )
    assert [(block.headings, block.text, block.line) for block in blocks] == [
        (("Title",), "one\ntwo", 4),
        (("Title",), "```\n# no heading\n\ncode\n```", 7),
        (("Title", "Sub"), "three", 14),
        (("Title", "Under"), "four", 18),
    ]


def test_html_without_its_scripts():
    page = (
        "<html><head><title>no</title><style>p {}</style></head><body><nav>no</nav><h1>A</h1>"
        "<p>one &amp; <b>two</b></p><script>no</script><h2>B</h2><ul><li>x<li>y</ul><pre> a\n  b</pre></body>"
    )
    assert [(block.headings, block.text) for block in blocks_of(page)] == [
        (("A",), "one & two"), (("A", "B"), "- x"), (("A", "B"), "- y"), (("A", "B"), " a\n  b"),
    ]  # fmt: skip


def pdf(pages):
    """Write a PDF by hand, a line of text a page."""
    count = len(pages)
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>"]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(count))
    bodies.append(b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count))
    bodies.append(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for number, text in enumerate(pages):
        said = b"BT /F1 12 Tf 72 700 Td (%s) Tj ET" % text.encode() if text else b""
        resources = b"/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
        bodies.append(b"<</Type/Page/Parent 2 0 R%s/Contents %d 0 R>>" % (resources, 5 + 2 * number))
        bodies.append(b"<</Length %d>>stream\n%s\nendstream" % (len(said), said))
    out, places = io.BytesIO(b"%PDF-1.4\n"), []
    out.seek(0, 2)
    for number, body in enumerate(bodies, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (len(bodies) + 1, start))
    return out.getvalue()


def test_a_pdf(workshop):
    name = workshop.write("t.pdf", pdf([f"This is page {n}. {prose(n, 3)}" for n in range(1, 31)]))
    result = workshop.prepare(name, read={"chunk": {"size": 250}})
    assert any(text.startswith("This is page 7.") for text in texts(result))
    assert "t.pdf:7" in {row.source for split in rows(result).values() for row in split}


def test_a_pdf_of_pictures_says_what_to_do(workshop):
    name = workshop.write("t.pdf", pdf(["", ""]))
    assert "t.pdf: a PDF without text (pictures of pages); wanted: text; do: run OCR over it first" in refused(
        workshop, name
    )


def test_a_word_document(workshop):
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Part {n}</w:t></w:r></w:p>'
        f"<w:p><w:r><w:t>Text number {n} is here.</w:t></w:r></w:p>" for n in range(20)
    )  # fmt: skip
    with zipfile.ZipFile(workshop.folder / "t.docx", "w") as book:
        book.writestr("[Content_Types].xml", '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
                      '<Default Extension="xml" ContentType="application/xml"/></Types>')  # fmt: skip
        book.writestr("_rels/.rels", f'<Relationships xmlns="{relations}"><Relationship Id="r1" Type="{office}" '
                      'Target="word/document.xml"/></Relationships>')  # fmt: skip
        book.writestr("word/styles.xml", f'<w:styles xmlns:w="{main}"><w:style w:type="paragraph" w:styleId="Heading1">'
                      '<w:name w:val="heading 1"/></w:style></w:styles>')  # fmt: skip
        book.writestr("word/document.xml", f'<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>')
    found = texts(workshop.prepare("t.docx"))
    assert any(text.endswith("Text number 7 is here.") for text in found)
    with pytest.raises(DataError, match="damaged ZIP data"):
        workshop.prepare(workshop.write("u.docx", (workshop.folder / "t.docx").read_bytes()[:500]))


MAILS = """From c
From: Customer <c{n}@home.org>
Subject: Help {n}
Message-ID: <{n}@x>
Date: Mon, 05 Jan 2026 10:00:00 +0000

Where is parcel {n}?

From u
From: us@acme.com
Subject: Re: Help {n}
References: <{n}@x>
Date: Mon, 05 Jan 2026 11:00:00 +0000

On its way, {n}.

On Monday c wrote:
> Where is it?

"""


def test_mails_are_texts_and_with_our_side_named_conversations(workshop):
    name = workshop.write("box.mbox", "".join(MAILS.format(n=n) for n in range(20)))
    found = texts(workshop.prepare(name))
    assert len(found) == 40
    assert "On its way, 3." in found
    result = workshop.prepare(name, read={"ours": ["@acme.com"]})
    row = rows(result)["train"][0]
    assert [turn.role for turn in row.messages] == ["user", "assistant"]
    assert row.messages[0].content.startswith("Where is parcel")
    assert sum(result.counts.values()) == 20


ODD_MAILS = (
    "Content-Type: text/plain; charset=nonsense\n\nMy lamp {n} broke, café style.\n",
    "Content-Type: multipart/mixed; boundary=zz\n\n--zz\nContent-Type: text/html\n\n<p>Parcel {n} is lost</p>\n--zz\n",
    "Content-Type: text/plain; charset=nonsense\nContent-Transfer-Encoding: base64\n\n/+9{n:04}//w==\n",
)


def test_mails_in_an_unknown_encoding_are_read_as_utf_8_or_counted(workshop):
    mails = [f"From u\nFrom: c@x.org\nSubject: {n}\n{ODD_MAILS[n % 3].format(n=n)}\n" for n in range(60)]
    result = workshop.prepare(workshop.write("box.mbox", "".join(mails)), most_bad_share=0.5)
    found = texts(result)
    assert "My lamp 3 broke, café style." in found
    assert "Parcel 4 is lost" in found
    assert result.dropped == {"a message without text, or in no known encoding": 20}


def test_a_mailbox_without_a_text_says_what_is_wanted(workshop):
    told = refused(workshop, workshop.write("box.mbox", "From u\nFrom: c@x.org\nSubject: 1\n\n\n"))
    assert "its only row cannot be read; wanted: messages with text; do: look at the file there" in told
