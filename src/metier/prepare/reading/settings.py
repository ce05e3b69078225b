"""How files become records: headers, sheets and keys, documents in chunks, who is our side of a conversation."""

import codecs
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from metier.core.settings import Settings
from metier.prepare.reading.part import Layout
from metier.text.formats import ColumnRole, FormatName


class QuerySettings(Settings):
    """A query whose answer is read as a file."""

    sql: str = Field(min_length=1)
    """Where the database is, as a SQLAlchemy URL (`sqlite:///shop.db`, `postgresql+psycopg://user@host/name`), or
    `$NAME` for one that stands in the environment: passwords do not belong into files."""

    query: str = Field(min_length=1)
    """What to ask. The answer's columns are those of the rows; add an `order by`, so that it is the same next time."""

    name: str = Field("query", pattern="^[a-z0-9][a-z0-9._-]{0,40}$")
    """What messages and sources call the answer."""


def _one_or_several(value: Any) -> str:
    return "Several" if isinstance(value, list | tuple) else "One"


Column = Annotated[
    Annotated[str, Tag("One")] | Annotated[tuple[str, ...], Field(min_length=1), Tag("Several")],
    Discriminator(_one_or_several),
]
"""A column by its name, the way to a value inside one (`fields.summary`), or several to put together."""


class SourceSettings(Settings):
    """One thing to read, with what is true of it alone."""

    path: Annotated[str, Field(min_length=1)] | QuerySettings
    """A file, a folder, a pattern, an archive, a data set of the hub, or a query: what could stand here by itself."""

    format: Literal["auto"] | FormatName = "auto"
    """What its rows look like. `auto`: as `prepare.format` says."""

    columns: dict[ColumnRole, Column] = Field(default_factory=dict)
    """What its columns are for, laid over `prepare.columns`."""

    weight: float | None = Field(None, gt=0)
    """Its part of a mixture: of the training rows, weights 3 and 1 make three quarters and one. Rows are left out or
    repeated for it (`prepare.balance.rows`, `most_times`). null: rows come as often as they are there."""


class ChunkSettings(Settings):
    """How documents (PDF, Word, HTML, Markdown, text) are cut into rows. Sizes are in characters."""

    size: int = Field(4000, ge=100)
    """Most characters of a row. A section, a paragraph, a sentence are kept whole where they fit; four characters are
    about one token of English."""

    overlap: int = Field(0, ge=0)
    """Characters from the end of a row that the next one of the same section begins with, from a word's start on."""

    headings: bool = True
    """Begin every row with the headings above it, as one line: `Guide > Install > Linux`."""

    @model_validator(mode="after")
    def _goes_on(self) -> "ChunkSettings":
        if self.overlap > self.size // 2:
            raise ValueError("overlap is more than half of size: most of a row would be repeated")
        return self


class ReadSettings(Settings):
    """How files become records."""

    layout: Literal["auto"] | Layout = "auto"
    """What the files are. `auto`: told from their first bytes, then from their names."""

    encoding: str = "auto"
    """Text encoding of the files. `auto`: UTF-8, or UTF-16/32 when the file begins with its mark."""

    header: bool = True
    """Whether the first row of tables (CSV, TSV, workbooks) names the columns. false: they are called `column 1` …"""

    chunk: ChunkSettings = ChunkSettings()
    """How documents are cut into rows."""

    ours: tuple[str, ...] = ()
    """Who is our side, whose turns are learnt: names in the speaker's column, or mail addresses (`@acme.com` is
    everybody there). Empty: words such as agent, support and assistant decide; mails become text rows."""

    unwrap: bool = True
    """Take a foreign prompt template (Alpaca, ChatML, Llama …) and its end tokens off rows that carry one."""

    longest: int = Field(64, ge=1)
    """Most MiB (of a million characters) of one record; a longer one is dropped and the next one read."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value == "auto":
            return value
        try:
            "".encode(value)
            return codecs.lookup(value).name
        except (LookupError, ValueError) as error:
            raise ValueError("no such text encoding; for example utf-8, latin-1, cp1252, utf-16") from error
