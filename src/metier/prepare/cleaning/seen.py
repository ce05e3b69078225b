"""What second looks learn about the whole set, beside their decisions."""

from dataclasses import dataclass, field

from metier.core.types import Reasoned


@dataclass(slots=True)
class Seen:
    """Is filled while the rows are looked at: rows by language, and what was left out and why."""

    languages: dict[str, int] = field(default_factory=dict)
    choices: list[Reasoned] = field(default_factory=list)
