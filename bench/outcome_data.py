"""The tasks of the outcome run: real labelled texts as files for us, and as the very same tokens for the peers."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.places import cache, shared
from metier.core.types import LabelledRow, Sequence
from metier.model.find import Base, find
from metier.text.asking import Prompt, prompt
from metier.text.render import open_renderer, render
from metier.text.settings import TextSettings

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A data set for a base. `train` and `test` are CSV files; `rows` holds the training rows as tokens."""

    data: str
    base: Base
    train: Path
    test: Path
    rows: Path


def banking77() -> tuple[list[Pair], list[Pair]]:
    """Return (text, label) of the official training and test split."""
    return _csv(shared() / "data/banking77/train.csv"), _csv(shared() / "data/banking77/test.csv")


def clinc150() -> tuple[list[Pair], list[Pair]]:
    """Return (text, label) of the official training and test split, without the out-of-scope queries."""
    splits = json.loads((shared() / "data/clinc150/data_full.json").read_text(encoding="utf-8"))
    train, test = ([(text, label) for text, label in splits[name]] for name in ("train", "test"))
    return train, test


DATA = {"banking77": banking77, "clinc150": clinc150}


def base_of(name: str) -> Base:
    """Find a base by name: bundled, or among the weights that stand beside the repository."""
    folder = shared() / "weights" / name
    return find(str(folder) if folder.is_dir() else name, Path.cwd())


def open_task(data: str, base: str, *, train_rows: int | None, test_rows: int) -> Task:
    """Write the files of a task unless they are there.

    Args:
        data: a name in `DATA`.
        base: a bundled base or one of the shared ones.
        train_rows: at most this many training rows, evenly spread; None: all.
        test_rows: likewise for the test.
    """
    found = base_of(base)
    folder = cache() / "outcome" / f"{data}-{base}-{train_rows or 'all'}-{test_rows}"
    task = Task(data=data, base=found, train=folder / "train.csv", test=folder / "test.csv", rows=folder / "rows.jsonl")
    if task.rows.is_file():
        return task
    folder.mkdir(parents=True, exist_ok=True)
    train, test = DATA[data]()
    train, test = _spread(train, train_rows or len(train)), _spread(test, test_rows)
    _write_csv(task.train, train)
    _write_csv(task.test, test)
    renderer = open_renderer(found.folder, TextSettings())
    lines = [json.dumps(_tokens(render(row, renderer))) for row in _labelled(train)]
    task.rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return task


def questions(task: Task) -> list[Prompt]:
    """Return what each model is asked, with the right answers."""
    renderer = open_renderer(task.base.folder, TextSettings())
    return [prompt(row, renderer) for row in _labelled(_csv(task.test))]


def _tokens(rendered: object) -> dict[str, list[int]]:
    """Return a rendered row as a trainer wants it: ids, and labels with -100 where nothing is learnt."""
    assert isinstance(rendered, tuple)
    (sequence,) = rendered
    assert isinstance(sequence, Sequence)
    learnt = sequence.weights > 0
    ids = sequence.ids.tolist()
    return {"input_ids": ids, "labels": [token if yes else -100 for token, yes in zip(ids, learnt, strict=True)]}


def _labelled(pairs: Iterable[Pair]) -> list[LabelledRow]:
    return [
        LabelledRow(id=f"row-{number}", source=f"bench:{number}", text=text, label=label)
        for number, (text, label) in enumerate(pairs)
    ]


def _spread(pairs: list[Pair], most: int) -> list[Pair]:
    count = min(most, len(pairs))
    return [pairs[place * len(pairs) // count] for place in range(count)]


def _csv(path: Path) -> list[Pair]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["category"]) for row in csv.DictReader(stream)]


def _write_csv(path: Path, pairs: list[Pair]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "category"))
        writer.writerows(pairs)
