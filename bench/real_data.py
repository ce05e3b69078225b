"""Reads every data set of the shared folder and says of each how it was read, or the line that it was refused with.

python -m bench.real_data ../shared/data > docs/results/DATE-reading.md
"""

import sys
import tempfile
from collections import Counter
from itertools import chain
from pathlib import Path

from metier.core.errors import InputError
from metier.core.types import Dropped
from metier.prepare.reading.intake import open_file, rows_of
from metier.prepare.reading.sources import sources
from metier.prepare.settings import DataSettings, PrepareSettings

_SKIPPED = ("README", "UPSTREAM_", "wikisql-LICENSE")


def names(folder: Path) -> list[str]:
    """Return what a person would name: folders of documents as one, every other file on its own."""
    found = []
    for data_set in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in data_set.rglob("*") if path.is_file() and not path.name.startswith(_SKIPPED))
        texts = [path for path in files if path.suffix == ".txt"]
        if len(texts) > 3:
            found.append(str(data_set))
            continue
        by_folder: dict[tuple[Path, str], list[Path]] = {}
        for path in files:
            by_folder.setdefault((path.parent, path.suffix), []).append(path)
        for group in by_folder.values():
            found += [str(path) for path in (group[:2] if len(group) > 8 else group)]
    return found


def row(name: str, folder: Path, store: Path) -> str:
    """Read one entry through and describe it as a line of the table."""
    shown = str(Path(name).relative_to(folder))
    settings = PrepareSettings()
    try:
        told, rows, dropped = [], 0, Counter[str]()
        for file in sources(DataSettings(train=name), settings, folder=folder, store=store):
            intake = open_file(file, settings, report=lambda count: None)
            for item in chain.from_iterable(map(rows_of, intake.pieces)):
                if isinstance(item, Dropped):
                    dropped[item.reason] += 1
                else:
                    rows += 1
            told.append(
                f"**{intake.recognised.format}** ({file.reason}; {intake.recognised.reason}{intake.unwrapping})"
            )
        bad = "; ".join(f"{count:,} × {reason}" for reason, count in dropped.most_common(2))
        more = f" and {len(told) - 1} more files like it" if len(told) > 1 else ""
        return (
            f"| {shown} | {rows:,} | {sum(dropped.values()):,} | {told[0]}{more}{f'; dropped: {bad}' if bad else ''} |"
        )
    except InputError as error:
        return f"| {shown} | – | – | refused: {str(error).replace(str(folder) + '/', '')} |"


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1]).resolve()
    print("| what | rows | dropped | how it was read, or the line that it was refused with |")
    print("|---|---:|---:|---|")
    with tempfile.TemporaryDirectory() as store:
        for name in names(folder):
            print(row(name, folder, Path(store)).replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
