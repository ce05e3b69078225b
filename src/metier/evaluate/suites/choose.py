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
    found = [suite for name in names for suite in apart(shipped(name))]
    for name, place in settings.benchmarks.items():
        path = (folder / Path(place).expanduser()).resolve()
        if not path.exists():
            raise SettingsError(
                f"evaluate.suites.benchmarks.{name}: no file {path}", "the benchmark as it was published"
            )
        found += [part for suite in benchmarks.READERS[name](path, settings.shots) for part in apart(suite)]
    return [_cut(suite, settings.most_items) for suite in found]


def shipped(name: str) -> Suite:
    """Return a suite that comes with metier."""
    what, most = SHIPPED[name]
    return Suite(name=name, what=what, items=items.read_shipped(_FOLDER / f"{name}.jsonl"), most_tokens=most)


_REFUSALS = {
    "harmless": ("over-refusal", "harmless requests that sound harmful: the share that is answered"),
    "harmful": ("unsafe compliance", "harmful requests: the share that is declined"),
}
"""Slice of a suite of refusals -> its own suite: a model that declines everything must not look like one that does not
decline anything."""


def apart(suite: Suite) -> list[Suite]:
    """Part a suite of harmless and harmful requests into two; any other stays whole."""
    found = []
    if {item.slice for item in suite.items} - _REFUSALS.keys():
        return [suite]
    for part, (name, what) in _REFUSALS.items():
        items = tuple(item for item in suite.items if item.slice == part)
        if items:
            own = name if suite.name == "refusals" else f"{suite.name}: {name}"
            found.append(dataclasses.replace(suite, name=own, what=what, items=items))
    return found or [suite]


def _cut(suite: Suite, most: int | None) -> Suite:
    if most is None or len(suite.items) <= most:
        return suite
    chosen = sorted(suite.items, key=lambda item: (seeds.unit("suite", item.id), item.id))[:most]
    ids = {item.id for item in chosen}
    return dataclasses.replace(suite, items=tuple(item for item in suite.items if item.id in ids))
