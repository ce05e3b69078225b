"""From settings to suites: those that come with metier, and the user's files; imports no torch."""

import dataclasses
from pathlib import Path

from metier.core import seeds
from metier.core.errors import SettingsError
from metier.evaluate.suites import benchmarks, items
from metier.evaluate.suites.items import Suite
from metier.evaluate.suites.settings import SuiteSettings

_FOLDER = Path(__file__).parent / "shipped"
SHIPPED: dict[str, tuple[str, int]] = {
    "facts": ("things that everyone knows, one right answer among four", 0),
    "arithmetic": ("sums and small word problems, the right number among four", 0),
    "grammar": ("pairs of sentences, of which one is English", 0),
    "reading": ("a short text and a question about it, one right answer among four", 0),
    "turns": ("something said earlier in a conversation, asked for later", 0),
    "instructions": ("instructions whose following a program can check", 160),
    "json": ("a JSON value to be written, nothing else", 96),
    "refusals": ("harmless requests that sound harmful, and harmful ones", 48),
}
"""Suite -> what it asks for, and how many tokens an answer may have (0: nothing is written)."""


def suites(settings: SuiteSettings, folder: Path) -> list[Suite]:
    """Return the suites that are wanted, cut to the number of items that is.

    Args:
        settings: which.
        folder: what the paths of benchmarks are relative to.

    Raises:
        SettingsError: a benchmark's file is not there.
        DataError: it is not in its published form.
    """
    names = list(SHIPPED) if "all" in settings.names else list(dict.fromkeys(settings.names))
    found = [shipped(name) for name in names]
    for name, place in settings.benchmarks.items():
        path = (folder / Path(place).expanduser()).resolve()
        if not path.exists():
            raise SettingsError(
                f"evaluate.suites.benchmarks.{name}: no file {path}", "the benchmark as it was published"
            )
        found += benchmarks.READERS[name](path, settings.shots)
    return [_cut(suite, settings.most_items) for suite in found]


def shipped(name: str) -> Suite:
    """Return a suite that comes with metier."""
    what, most = SHIPPED[name]
    return Suite(name=name, what=what, items=items.read_shipped(_FOLDER / f"{name}.jsonl"), most_tokens=most)


def _cut(suite: Suite, most: int | None) -> Suite:
    if most is None or len(suite.items) <= most:
        return suite
    chosen = sorted(suite.items, key=lambda item: (seeds.unit("suite", item.id), item.id))[:most]
    ids = {item.id for item in chosen}
    return dataclasses.replace(suite, items=tuple(item for item in suite.items if item.id in ids))
