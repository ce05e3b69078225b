"""Any text file looked through line by line, and pseudonyms in it led back with the key."""

import re
from collections import Counter
from pathlib import Path

from metier.core.errors import DataError, InputError
from metier.core.report import Report, Table, Verdict
from metier.prepare.protect.settings import ProtectSettings
from metier.prepare.protect.stage import open_detector
from metier.prepare.protect.tally import Tally
from metier.prepare.protect.vault import map_path, read_key, read_map


def look(file: Path, settings: ProtectSettings, *, folder: Path) -> Tally:
    """Count what stands in the lines of a text file.

    Raises:
        DataError: it cannot be read as UTF-8 text.
    """
    find = open_detector(settings, folder)
    tally = Tally()
    allow = frozenset(value.lower() for value in settings.allow)
    lines = _text(file).split("\n")
    for number, (line, spans) in enumerate(zip(lines, find.many(lines), strict=True), 1):
        counts = Counter(span.entity for span in spans if line[span.start : span.end].lower() not in allow)
        if counts:
            tally.add(counts, f"{file.name}:{number}")
    return tally


def revealed(file: Path, settings: ProtectSettings, *, folder: Path, store: Path) -> tuple[str, int]:
    """Return the text of a file with pseudonyms led back, and how many were.

    Raises:
        SettingsError: there is no key.
        DataError: the file or the map cannot be read with it.
        InputError: no map was kept for this key.
    """
    key = read_key(settings.key_file, folder)
    known = read_map(map_path(store, key), key)
    if not known:
        raise InputError(f"{map_path(store, key)}: no map of this key", "a snapshot that was pseudonymised with it")
    text = _text(file)
    alternatives = sorted(known, key=len, reverse=True)
    count = 0
    for part in range(0, len(alternatives), 500):
        batch = alternatives[part : part + 500]
        pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, batch)) + r")(?!\w)")
        text, replaced = pattern.subn(lambda match: known[match.group()], text)
        count += replaced
    return text, count


def report(file: Path, found: Tally) -> Report:
    """Tell what was found where; values are never shown."""
    total = found.values.total()
    rows = tuple(
        (entity, count, found.rows[entity], ", ".join(found.places[entity][:5]))
        for entity, count in found.values.most_common()
    )
    text = f"{total:,} values of personal data or secrets" if total else "no personal data and no secrets found"
    return Report(
        title=f"Personal data in {file.name}",
        verdict=Verdict(text=text, good=not total),
        tables=(Table(title="Found", columns=("kind", "values", "lines", "for example in"), rows=rows),)
        if rows
        else (),
        command=f"metier protect {file}",
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error})", "a UTF-8 text file") from error
