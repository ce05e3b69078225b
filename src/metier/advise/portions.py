"""Snapshots with a part of the training rows and no other: what a quick training may see."""

import json
from collections.abc import Collection
from pathlib import Path

from metier.core import artefact, seeds
from metier.text.rows import load_split

SHARES = (0.25, 0.5, 1.0)
"""Parts of the training rows; each holds the one before."""


def portion(snapshot: Path, target: Path, share: float, *, without: Collection[str] = ()) -> int:
    """Publish a snapshot that holds a share of the training rows; its validation and test parts are empty.

    Args:
        snapshot: a prepared one.
        target: where the new one stands.
        share: of the rows, drawn by their ids.
        without: ids of rows that must not be in it.

    Returns:
        How many rows it holds.
    """
    facts = artefact.read(snapshot, "snapshot").facts
    ids = [row.id for row in load_split(snapshot, "train") if row.id not in set(without)]
    count = max(1, round(share * len(ids)))
    kept = set(sorted(ids, key=lambda row_id: (seeds.unit("portion", row_id), row_id))[:count])
    lines = (snapshot / "train.jsonl").read_text(encoding="utf-8").split("\n")
    chosen = [line for line in lines if line and json.loads(line)["id"] in kept]
    with artefact.publish(target, kind="snapshot", facts={**facts, "share": share}) as folder:
        (folder / "train.jsonl").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8", newline="\n")
        for split in ("validation", "test"):
            (folder / f"{split}.jsonl").write_text("", encoding="utf-8")
    return len(chosen)
