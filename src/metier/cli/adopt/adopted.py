"""What comes out of a foreign configuration, and the table-driven part of every translation."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Convert = Callable[[Any], Any]
"""Turns a foreign value into ours; None: it cannot be carried over as it is."""


@dataclass(slots=True)
class Adopted:
    """A project's values while they are collected. `carried`: (theirs, ours, value); `left`: (theirs, why not)."""

    values: dict[str, Any] = field(default_factory=dict)
    carried: list[tuple[str, str, Any]] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    def put(self, theirs: str, ours: str, value: Any) -> None:
        """Set a value of ours by its dotted name."""
        *sections, last = ours.split(".")
        place = self.values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        self.carried.append((theirs, ours, value))

    def leave(self, theirs: str, why: str) -> None:
        """Say that something is not carried over."""
        self.left.append((theirs, why))

    def take(self, given: dict[str, Any], table: Mapping[str, tuple[str, Convert]]) -> None:
        """Carry over what stands in a table; what has been looked at is taken out of `given`."""
        for theirs, (ours, convert) in table.items():
            value = given.pop(theirs, None)
            if value is None or value == "":
                continue
            found = convert(value)
            if found is None:
                self.leave(theirs, f"{value!r} has no counterpart")
            else:
                self.put(theirs, ours, found)

    def take_preferences(self, given: dict[str, Any], theirs: str, loss: Any, beta: str) -> None:
        """Carry over that the better of two answers is learnt: by which loss, and how far it may lead (by its name)."""
        if (ours := _LOSSES.get(str(loss).lower())) is None:
            self.leave(theirs, f"{str(loss)!r} has no counterpart; see train.objective")
            return
        self.put(theirs, "train.objective.name", "prefer")
        if ours != "sigmoid":
            self.put(theirs, "train.objective.prefer.loss", ours)
        self.take(given, {beta: ("train.objective.prefer.beta", number)})

    def take_rows_per_step(self, given: dict[str, Any], micro: str) -> None:
        """Carry over the rows of a step: those of a micro-batch (by its name there) times how many are added up."""
        names = (micro, "gradient_accumulation_steps")
        sizes = [count(given.pop(name, None)) or 1 for name in names]
        if sizes != [1, 1]:
            self.put(" × ".join(names), "train.rows_per_step", sizes[0] * sizes[1])

    def put_sources(self, theirs: str, sources: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Set what is trained on: format and columns stand once where all sources agree, else beside each of them."""
        if not sources:
            return
        shapes = [shape for _, shape in sources]
        alike = all(shape == shapes[0] for shape in shapes)
        entries = [name if alike or not shape else {"path": name, **shape} for name, shape in sources]
        self.put(theirs, "data.train", entries[0] if len(entries) == 1 else entries)
        for name, value in shapes[0].items() if alike else ():
            self.put(f"{theirs}: format", f"prepare.{name}", value)

    def leave_rest(self, given: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
        """Say of everything that is still there why it stays behind."""
        for theirs, value in given.items():
            if value not in (None, "", False, [], {}):
                why = next((why for start, why in reasons.items() if theirs.startswith(start)), "not known here")
                self.leave(theirs, why)


def number(value: Any) -> float | int | None:
    """Return a number, also one that YAML took for a text, such as 2e-4."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return (
        int(found) if found.is_integer() and not isinstance(value, float) and "e" not in str(value).lower() else found
    )


def count(value: Any) -> int | None:
    """Return a whole number above 0."""
    found = number(value)
    return int(found) if found is not None and found > 0 else None


def share(value: Any) -> float | None:
    """Return a share between 0 and a half."""
    found = number(value)
    return float(found) if found is not None and 0 <= found <= 0.5 else None


def as_is(value: Any) -> Any:
    """Return a value unchanged."""
    return value


def one_of(names: Mapping[str, str]) -> Convert:
    """Return what looks a name up."""
    return lambda value: names.get(str(value).lower())


def place_of(name: str, folder: Path, target: Path) -> str | None:
    """Return a path as the new project writes it, when there is such a file or folder beside the configuration."""
    for root in (folder, Path.cwd()):
        path = (root / Path(name).expanduser()).resolve()
        if path.exists():
            return Path(os.path.relpath(path, target.resolve())).as_posix()
    return None


def hub_name(name: str, subset: Any, split: Any) -> str:
    """Return how a data set of the hub is named here."""
    return "hub:" + name + (f"/{subset}" if subset else "") + (f"#{split}" if split and split != "train" else "")


_LOSSES = {"dpo": "sigmoid", "sigmoid": "sigmoid", "ipo": "ipo", "hinge": "hinge"}
COMMON: Mapping[str, tuple[str, Convert]] = {
    "lora_alpha": ("model.alpha", number),
    "lora_dropout": ("model.dropout", number),
    "max_steps": ("train.max_steps", count),
    "learning_rate": ("train.learning_rate", number),
    "warmup_ratio": ("train.schedule.warmup", number),
    "weight_decay": ("train.optimiser.weight_decay", number),
    "max_grad_norm": ("train.optimiser.clip", number),
    "loraplus_lr_ratio": ("train.optimiser.lora_plus_ratio", number),
    "neftune_noise_alpha": ("train.regularise.neftune_alpha", number),
    "seed": ("seed", count),
}
"""What both trainers call the same."""

SHAPES: Mapping[str, str] = {"cosine": "cosine", "linear": "linear", "constant": "constant",
                             "constant_with_warmup": "constant"}  # fmt: skip
OPTIMISERS: Mapping[str, str] = {
    "adamw_torch": "adamw", "adamw_torch_fused": "adamw", "adamw_hf": "adamw", "adamw": "adamw",
    "adafactor": "adafactor",
    "adamw_bnb_8bit": "adamw-8bit", "adamw_8bit": "adamw-8bit", "paged_adamw_8bit": "adamw-8bit",
    "muon": "muon",
    "sgd": "sgd", "schedule_free_adamw": "schedule-free",
}  # fmt: skip
