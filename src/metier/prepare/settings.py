"""Which files are read, and how they become a snapshot."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from metier.core.settings import Settings
from metier.prepare.augment.settings import AugmentSettings
from metier.prepare.balance.settings import BalanceSettings
from metier.prepare.cleaning.settings import CleanSettings
from metier.prepare.contamination.settings import ContaminationSettings
from metier.prepare.duplicates.settings import DedupeSettings
from metier.prepare.protect.settings import ProtectSettings
from metier.prepare.reading.settings import Column, QuerySettings, ReadSettings, SourceSettings
from metier.prepare.synthesise.settings import SynthesiseSettings
from metier.text.formats import ColumnRole, FormatName


def _kind_of(value: Any) -> str:
    """Tell how a source is written, so that a message speaks of that form alone."""
    if isinstance(value, QuerySettings) or (isinstance(value, Mapping) and value.keys() & {"sql", "query"}):
        return "Query"
    return "Entry" if isinstance(value, SourceSettings | Mapping) else "Name"


def _one_or_several(value: Any) -> str:
    return "Several" if isinstance(value, list | tuple) else "One"


Source = Annotated[
    Annotated[str, Tag("Name")] | Annotated[QuerySettings, Tag("Query")] | Annotated[SourceSettings, Tag("Entry")],
    Discriminator(_kind_of),
]
"""One thing to read rows from."""


class DataSettings(Settings):
    """What to read, relative to metier.yaml. A plain name stands for `{train: <name>}`.

    A name is a file, a folder, a pattern such as `tickets/*.jsonl` or a ZIP archive; `book.xlsx#Sheet2` or
    `file.json#key` is a part of one; `hub:org/name#split` a data set of the hub. Or it is a query:
    `{sql: sqlite:///shop.db, query: select …}`. Where files differ, `{path: faq.csv, columns: {text: body}, weight: 2}`
    says what is true of one.
    """

    train: Annotated[
        Annotated[Source, Tag("One")] | Annotated[tuple[Source, ...], Tag("Several")], Discriminator(_one_or_several)
    ]
    """What to learn from, one thing or several: JSON, CSV, Parquet, Arrow, workbooks, XML, mail, PDF, Word, HTML,
    Markdown or text, told by their content; packed ones (.gz, .zst, .bz2, .xz, .zip) too."""

    validation: Source | None = None
    """What is measured while training, taken whole. null: a share of the training rows is set aside."""

    test: Source | None = None
    """What the result is judged on, taken whole. null: a share of the training rows is set aside."""

    @model_validator(mode="before")
    @classmethod
    def _from_plain_name(cls, value: Any) -> Any:
        return {"train": value} if isinstance(value, str | list | tuple) else value

    @field_validator("train")
    @classmethod
    def _named(cls, value: Source | tuple[Source, ...]) -> Source | tuple[Source, ...]:
        if not value or (isinstance(value, tuple) and not all(value)):
            raise ValueError("name at least one file")
        return value

    @model_validator(mode="after")
    def _mixed_in_training(self) -> "DataSettings":
        weights = [source.weight if isinstance(source, SourceSettings) else None for source in self.train_files]
        if any(weights) and not all(weights):
            raise ValueError("a mixture needs a weight for every entry of data.train")
        for source in (self.validation, self.test):
            if isinstance(source, SourceSettings) and source.weight is not None:
                raise ValueError("held-out rows are taken as they are: a weight only means something in data.train")
        return self

    @property
    def train_files(self) -> tuple[Source, ...]:
        """What to learn from, one thing or many, as a tuple."""
        return self.train if isinstance(self.train, tuple) else (self.train,)


class SplitSettings(Settings):
    """Which rows are held out."""

    by: Literal["random", "time"] = "random"
    """`random`: every row's place is drawn by its content. `time`: the latest rows by the `time` column are held out,
    the test after the validation, so that the model learns from the past and is judged on what came later."""

    stratify: bool = True
    """Give every label its share of each split (in labelled rows, when split at random)."""

    group_inputs: bool = True
    """Keep rows that ask the same (same text, same first user turn) in one split, as if they were a group."""


class FurtherSettings(Settings):
    """What no snapshot depends on: who prepares it, and what commands of their own make of its rows."""

    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Processes of this machine that read, clean and protect rows. `auto`: one for each core where the files are large
    enough for it to pay, else none but the command itself. The snapshot is the same, byte for byte."""

    run_on: Literal["here", "ray"] = "here"
    """Where rows are read, cleaned and protected. `ray`: on the machines of the Ray cluster that RAY_ADDRESS names (one
    is started here when there is none), `workers` or as many as it has processors; `metier prepare --on ray` says so
    too. The snapshot is the same, byte for byte."""

    augment: AugmentSettings = AugmentSettings()
    """What `metier augment` makes of the training rows."""

    synthesise: SynthesiseSettings = SynthesiseSettings()
    """What `metier synthesise` asks a teacher for."""


class PrepareSettings(Settings):
    """From files to a snapshot. Shares are parts of 1."""

    format: Literal["auto"] | FormatName = "auto"
    """What the rows look like. `auto`: recognised in each file by its columns, and printed."""

    columns: dict[ColumnRole, Column] = Field(default_factory=dict)
    """What the columns are for when their names do not say it, e.g. `{text: body, label: queue, group: customer}`.
    Several are put together, an empty line between them (`text: [subject, body]`); `fields.summary` is a value inside
    another, `comments.0.body` one in a list.
    Rows of one `group` never come into two splits; `slice` is reported on its own; `weight` multiplies a row's loss;
    `time` is when a row came about, `difficulty` a number that says how hard it is; rows whose `synthetic` is true are
    only trained on."""

    read: ReadSettings = ReadSettings()
    """How files become records."""

    clean: CleanSettings = CleanSettings()
    """Which cleaning rules run, and what each does with what it finds."""

    dedupe: DedupeSettings = DedupeSettings()
    """Rows that say the same."""

    contamination: ContaminationSettings = ContaminationSettings()
    """Training rows that hold what the model is judged on."""

    max_rows: int | None = Field(None, ge=3)
    """Keep at most this many rows of the training files, drawn by their content. null: all."""

    most_bad_share: float = Field(0.1, ge=0, le=1)
    """Largest share of the rows of one file that may be unusable (broken, empty, of another format) and is dropped
    with a reason; above it the file is refused. 0: refuse at the first."""

    validation_share: float = Field(0.1, ge=0, le=0.5)
    """Share of the training rows set aside for validation when `data.validation` names no file. 0: none."""

    test_share: float = Field(0.1, ge=0, le=0.5)
    """Share of the training rows set aside for the test when `data.test` names no file. 0: none."""

    split: SplitSettings = SplitSettings()
    """How rows are dealt out to the splits."""

    balance: BalanceSettings = BalanceSettings()
    """How often the training rows are trained on, how much each weighs, and in which order they come."""

    protect: ProtectSettings = ProtectSettings()
    """What is done about personal data and secrets; by default they are counted and reported."""

    further: FurtherSettings = FurtherSettings()
    """How many processes work, and what `metier augment` and `metier synthesise` make: no snapshot depends on it."""

    keep: tuple[str, ...] = ()
    """Rows that no rule may change or drop, by source (`tickets.jsonl:1042`) or id as in `decisions.jsonl` of the
    snapshot; `@FILE` names a file with one a line. Copies of held-out rows are dropped all the same."""

    moved: ClassVar[Mapping[str, str]] = {
        "stratify": "split.stratify", "group_inputs": "split.group_inputs", "encoding": "read.encoding",
    }  # fmt: skip

    @model_validator(mode="after")
    def _leaves_rows(self) -> "PrepareSettings":
        if self.validation_share + self.test_share > 0.9:
            raise ValueError("validation_share and test_share together leave less than a tenth of the rows to train on")
        return self
