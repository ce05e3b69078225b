"""Which training rows are left out or repeated, what each weighs, and whether easy ones come first."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from metier.core.settings import Settings

ClassKind = Literal["label", "slice", "source"]


def _require_use(settings: Settings, idle: bool, names: tuple[str, ...], why: str) -> None:
    """Refuse a setting that would change nothing."""
    fields = type(settings).model_fields
    values = settings.model_dump()
    changed = [name for name in names if values[name] != fields[name].default]
    if idle and changed:
        raise ValueError(f"{', '.join(changed)} would change nothing: {why}")


class CurriculumSettings(Settings):
    """The order in which rows are trained on, where it is not the usual shuffling."""

    by: Literal["none", "length", "rarity", "difficulty"] = "none"
    """What makes a row hard. `length`: its characters. `rarity`: the sum over its words of −ln(share of the word among
    all words), so long rows of rare words. `difficulty`: the number in the column `prepare.columns.difficulty`; rows
    without one come last."""

    first: Literal["easy", "hard"] = "easy"
    """Which end is trained on first."""

    parts: int = Field(10, ge=2)
    """The rows are cut into so many parts of one size from the first to the last; the parts come in this order, and
    rows are shuffled inside them."""

    passes: int = Field(1, ge=1)
    """Epochs that go by this order. The later ones are shuffled over all rows."""

    @model_validator(mode="after")
    def _asked_of_an_order(self) -> "CurriculumSettings":
        _require_use(self, self.by == "none", ("first", "parts", "passes"), "curriculum.by is none")
        return self


class BalanceSettings(Settings):
    """How often rows are trained on. Validation and test rows are never left out, repeated or weighed."""

    by: ClassKind = "label"
    """What a class is for `sampling` and `weighting`: rows of one label, of one slice, or from one file. Rows without
    a label or slice are left as they are."""

    most: dict[ClassKind, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """At most so many training rows of one label, slice or file, e.g. `{label: 500, source: 20000}`. The rows that
    stay are drawn by their content, so they stay when others are added."""

    sampling: Literal["none", "down", "up", "temperature"] = "none"
    """`down`: every class gets as many rows as the smallest has, `up`: as many as the largest, by repeating rows.
    `temperature`: shares go by n^(1/temperature) for a class of n rows. `none`: as they are; or by the weights of
    several sources, where `data.train` gives them."""

    temperature: float = Field(2.0, ge=1)
    """1 leaves the shares as they are, 100 makes them nearly equal."""

    rows: int | None = Field(None, ge=1)
    """Training rows after sampling, repeated ones counted; classes share them as `sampling` says. null: as many as
    there were (`down`, `up`: as many as that makes)."""

    most_times: int = Field(10, ge=1)
    """How often one row may stand in the training file. A class that would need more stays smaller, and that is
    said."""

    weighting: Literal["none", "inverse", "effective"] = "none"
    """What the loss of a row is multiplied by, beside its own weight. `inverse`: 1/n for a class of n rows.
    `effective`: (1 − beta) / (1 − beta^n), which tells classes above 1/(1 − beta) rows hardly apart. Scaled so that
    the mean over all training rows stays 1."""

    beta: float = Field(0.999, ge=0, lt=1)
    """`weighting: effective`: 0 weighs every class alike, near 1 is `inverse`."""

    curriculum: CurriculumSettings = CurriculumSettings()
    """Easy rows first, or hard ones. none: shuffled."""

    @model_validator(mode="after")
    def _asked_of_what_reads_it(self) -> "BalanceSettings":
        _require_use(self, self.sampling != "temperature", ("temperature",), "sampling is not temperature")
        _require_use(self, self.weighting != "effective", ("beta",), "weighting is not effective")
        return self
