"""Which texts must not stand in the training rows, and what becomes of rows that hold them."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings


class ContaminationSettings(Settings):
    """Training rows are compared with the test rows, and with files of yours."""

    test: bool = True
    """Compare training rows with the project's own test rows."""

    against: tuple[str, ...] = ()
    """Files of public benchmarks, relative to metier.yaml, in any format that data files may have: every text in them
    counts, whatever its column is called."""

    words: int = Field(13, ge=5, le=100)
    """So many words in a row that are the same are a leak. A shorter question is one when all of it is the same."""

    action: Literal["flag", "drop"] = "flag"
    """What becomes of a training row with a leak: `flag` lists it, `drop` takes it out."""
