"""A project folder to put data files into, and the one call that prepares them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from metier.core.errors import DataError
from metier.core.progress import Silent
from metier.core.types import Dropped, Reasoned, Row
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import SnapshotResult, prepare
from metier.text.rows import load_split

SPLITS = ("train", "validation", "test")


class Heard(Silent):
    """A listener that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.choices: list[Reasoned] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def chose(self, choice: Reasoned) -> None:
        self.choices.append(choice)


@dataclass
class Workshop:
    """A user's folder."""

    folder: Path
    heard: Heard = field(default_factory=Heard)

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def lines(self, name: str, records: Iterable[Any]) -> str:
        return self.write(name, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))

    def prepare(self, data: Any, seed: int = 0, **settings: Any) -> SnapshotResult:
        return prepare(
            DataSettings.model_validate(data), PrepareSettings.model_validate(settings),
            folder=self.folder, store=self.folder / ".metier", seed=seed, progress=self.heard,
        )  # fmt: skip

    def snapshots(self) -> list[Path]:
        store = self.folder / ".metier" / "snapshots"
        return sorted(store.iterdir()) if store.is_dir() else []


def dropped(result: SnapshotResult) -> list[Dropped]:
    """Read back what was dropped."""
    return [
        Dropped(
            source=entry["source"],
            reason=entry["reason"],
            detail=entry["detail"],
            rule=entry["rule"],
            row_id=entry["id"],
        )
        for entry in decisions(result)
        if entry["action"] == "drop"
    ]


def decisions(result: SnapshotResult) -> list[dict[str, str]]:
    """Read back everything that was decided."""
    text = (result.path / "decisions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def raw(result: SnapshotResult, split: str) -> list[dict[str, Any]]:
    """Read the lines of a split as they stand in the file."""
    return [json.loads(line) for line in raw_lines(result, split)]


def raw_lines(result: SnapshotResult, split: str) -> list[str]:
    return (result.path / f"{split}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]


def rows(result: SnapshotResult) -> dict[str, list[Row]]:
    """Read every split as rows, and check that the books balance."""
    found = {split: load_split(result.path, split) for split in SPLITS}
    assert {split: len(found[split]) for split in SPLITS} == result.counts
    assert result.rows_in + result.repeated == sum(result.counts.values()) + sum(result.dropped.values())
    assert len(dropped(result)) == sum(result.dropped.values())
    ids = [row.id for split in SPLITS for row in found[split]]
    assert len(set(ids)) == len(ids)
    return found


def tickets(count: int, labels: tuple[str, ...] = ("refund", "delivery", "praise")) -> list[Mapping[str, str]]:
    """Return labelled rows, all different."""
    return [{"text": f"message number {place}", "label": labels[place % len(labels)]} for place in range(count)]


def refused(workshop: Workshop, data: Any, **settings: Any) -> str:
    """Prepare, expect a refusal that leaves nothing on disk, and return its message."""
    with pytest.raises(DataError) as caught:
        workshop.prepare(data, **settings)
    assert workshop.snapshots() == []
    assert caught.value.exit_code == 2
    assert caught.value.wanted
    return str(caught.value)
