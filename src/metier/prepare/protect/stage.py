"""The step of `prepare` that counts, replaces or drops personal data, and the proof over what was written."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from metier.core import extras
from metier.core.errors import DataError
from metier.core.types import Dropped, Reasoned, Row
from metier.prepare.candidate import Candidate
from metier.prepare.decisions import FILE
from metier.prepare.protect.detect import Detector, detector
from metier.prepare.protect.model import with_model
from metier.prepare.protect.rewrite import Finding, findings
from metier.prepare.protect.settings import ProtectSettings
from metier.prepare.protect.spans import Entity
from metier.prepare.protect.surrogates import Surrogates, mask
from metier.prepare.protect.tally import Kept
from metier.prepare.protect.vault import Key, map_path, read_key, read_map, write_map
from metier.text.formats import Recognised
from metier.text.rows import row_of

RULE = "protect"
_RULES = 2
"""Goes up when the detectors find other things in the same text."""

_MOST_ROUNDS = 5
_TOGETHER = 1 << 8


class Unnamed(str):
    """The name of a group or slice that is to become a number."""

    __slots__ = ()


class Guard:
    """A stage: each row is looked through, and changed or dropped as the settings say.

    Args:
        settings: what to do.
        folder: what file names in the settings are relative to.
        detect: finds; None: the rules, and the model that the settings name.
        key: makes pseudonyms; None: the one that the settings name.

    Raises:
        SettingsError: pseudonyms are wanted and there is no key.
    """

    def __init__(
        self, settings: ProtectSettings, folder: Path, *, detect: Detector | None = None, key: Key | None = None
    ) -> None:
        self.settings = settings
        self._kept = Kept()
        self._detect = detect or open_detector(settings, folder)
        self._allow = frozenset(value.lower() for value in settings.allow)
        self._groups: dict[str, str] = {}
        self.key: Key | None = None
        self._surrogates: Surrogates | None = None
        if settings.action == "pseudonymise":
            self.key = key or read_key(settings.key_file, folder)
            self._surrogates = Surrogates(self.key.naming)

    @property
    def changes(self) -> bool:
        """Tell whether rows may be changed or dropped, so that there is something to prove."""
        return self.settings.action in ("redact", "pseudonymise", "drop")

    def fingerprint(self) -> str:
        """Return what the result depends on beside the settings: the key, the rules, and the lists of the libraries."""
        lists = ",".join(version(name) for name in ("faker", "phonenumbers", "python-stdnum"))
        return f"{_RULES} {self.key.name if self.key else ''} {lists}"

    def __call__(self, items: Iterable[Candidate | Dropped]) -> Iterator[Candidate | Dropped]:
        """Pass rows on, looked through, some hundred at a time."""
        waiting = iter(items)
        while part := list(islice(waiting, _TOGETHER)):
            found = findings([item.row for item in part if not isinstance(item, Dropped)], self._detect, self._allow)
            for item in part:
                yield self._masked(item) if isinstance(item, Dropped) else self._look(item, next(found))

    def _masked(self, item: Dropped) -> Dropped:
        """Take personal data out of what is told of a row that another rule has dropped."""
        return replace(item, detail=self._mask(item.detail), label=None) if self.changes and item.detail else item

    def _mask(self, text: str) -> str:
        pieces, end = [], 0
        for span in self._detect(text):
            pieces += [text[end : span.start], mask(span.entity)]
            end = span.end
        return "".join([*pieces, text[end:]])

    def _look(self, item: Candidate, finding: Finding) -> Candidate | Dropped:
        counts = finding.counts()
        if counts:
            self._kept.found.add(counts, item.row.source)
        if not self.changes:
            return item
        if item.spared:
            self._kept.spared.add(item.row.source)
            return item.flagged(RULE, "personal data kept as you wish", _told(counts)) if counts else item
        if counts and self.settings.action == "drop":
            return item.dropped(RULE, "personal data", _told(counts))
        item = item._replace(decisions=tuple(replace(one, detail=self._mask(one.detail)) for one in item.decisions))
        row = self._carried(self._rewritten(finding))
        if row is not item.row:
            return item.changed(row, RULE, "personal data", _told(counts))
        return item._replace(text="", value={})  # columns that nothing reads may hold anything: only the row is written

    def _rewritten(self, finding: Finding) -> Row:
        """Replace until nothing is found: a mark such as [PHONE] can give away the number beside it."""
        for _ in range(_MOST_ROUNDS):
            if not finding.counts():
                break
            finding = Finding.of(finding.rewritten(self._stand), self._detect, self._allow)
        return finding.row

    def _stand(self, value: str, entity: Entity) -> str:
        if self._surrogates is None:
            return mask(entity)
        written = self._surrogates.of(value, entity)
        if entity not in ("secret", "date"):
            self._remember(written, value, entity)
        return written

    def _remember(self, written: str, value: str, entity: Entity) -> None:
        known = self._kept.originals
        known[written] = value
        if entity == "person":
            parts = zip(written.split(), value.split(), strict=False)
            known.update({one: other for one, other in parts if len(one) > 9})

    def _carried(self, row: Row) -> Row:
        """Mark groups and slices that are called after a person; they get numbers instead in `settled`."""
        group, part = self._marked(row.group), self._marked(row.slice)
        return replace(row, group=group, slice=part) if group is not row.group or part is not row.slice else row

    def _marked(self, value: str | None) -> str | None:
        return Unnamed(value) if value and self._detect(value) else value

    def taken(self) -> Kept:
        """Return what was gathered since the last time, and begin anew."""
        kept, self._kept = self._kept, Kept()
        return kept

    def settled(self, row: Row) -> Row:
        """Return a row whose group and slice are numbers where they were names; equal ones stay equal."""
        return replace(row, group=self._numbered("group", row.group), slice=self._numbered("slice", row.slice))

    def _numbered(self, kind: str, value: str | None) -> str | None:
        if not isinstance(value, Unnamed):
            return value
        return self._groups.setdefault(str(value), f"{kind}-{len(self._groups) + 1}")

    def keep_map(self, store: Path, kept: Kept) -> Path | None:
        """Add what was replaced to the encrypted map of this key; returns its path, or None when none is kept."""
        if self.key is None or not self.settings.keep_map:
            return None
        path = map_path(store, self.key)
        write_map(path, self.key, read_map(path, self.key) | kept.originals)
        return path

    def facts(self, folder: Path, formats: Mapping[str, Recognised], kept: Kept) -> dict[str, Any]:
        """Return what was found and done; where rows were changed, prove first that nothing is left in the snapshot.

        `kept` is what was gathered from all rows.

        Raises:
            DataError: something is left; names the file and line, never the value.
        """
        facts: dict[str, Any] = {"action": self.settings.action, "found": kept.found.facts()}
        if self.changes:
            paths = [folder / f"{split}.jsonl" for split in ("train", "validation", "test")]
            facts["proof"] = prove(paths, formats, detect=self._detect, allow=self._allow, spared=kept.spared)
            prove_words(folder / FILE, self._detect)
        return facts


def open_guard(settings: ProtectSettings, folder: Path) -> tuple[Guard | None, Reasoned | None]:
    """Return the stage that the settings ask for; or why there is none although rows were to be counted.

    Raises:
        MissingExtraError: rows are to be changed and the libraries for it are not installed.
    """
    if settings.action == "nothing":
        return None, None
    if settings.action == "count" and extras.missing("protect"):
        reason = f"{', '.join(extras.missing('protect'))} not installed: {extras.install_line('protect')}"
        return None, Reasoned(name="personal data", value="not counted", reason=reason)
    extras.require("protect")
    return Guard(settings, folder), None


def open_detector(settings: ProtectSettings, folder: Path) -> Detector:
    """Return the detector that the settings ask for."""
    rules = detector(settings.entities, settings.regions)
    return with_model(rules, folder / Path(settings.model).expanduser(), settings.entities) if settings.model else rules


def prove(
    files: Sequence[Path], formats: Mapping[str, Recognised], *, detect: Detector, allow: Collection[str] = (),
    spared: Collection[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Look through rows as they were written; `spared` sources are those that the user keeps as they are.

    Raises:
        DataError: something is left; names the file and line, never the value.
    """
    rows = 0
    for path in files:
        with path.open(encoding="utf-8", newline="\n") as lines:
            read = (
                (number, row_of(json.loads(line), formats, f"{path.name}:{number}"))
                for number, line in enumerate(lines, 1)
            )
            while part := list(islice(read, _TOGETHER)):
                rows += len(part)
                looked = [(number, row) for number, row in part if row.source not in spared]
                found = findings([row for _, row in looked], detect, allow)
                for (number, row), finding in zip(looked, found, strict=True):
                    _require_none(f"{path.name}:{number}", row, finding, detect)
    return {"rows": rows, "spared": len(spared), "left": 0}


def _require_none(where: str, row: Row, finding: Finding, detect: Detector) -> None:
    counts = finding.counts()
    counts += Counter(span.entity for name in (row.group, row.slice) if name for span in detect(name))
    if counts:
        raise DataError(
            f"{where}: personal data left ({_told(counts)}; from {row.source})", "none after prepare.protect",
            "set prepare.protect.action: drop, name the value in prepare.protect.allow, or report this",
        )  # fmt: skip


def prove_words(path: Path, detect: Detector) -> None:
    """Look through what is told of rows in the decision file.

    Raises:
        DataError: personal data stand in it.
    """
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if detect(json.loads(line)["detail"]):
                raise DataError(
                    f"{path.name}:{number}: personal data in what a rule says of a row", "none", "report this"
                )


def _told(counts: Counter[Entity]) -> str:
    return ", ".join(f"{count} {entity}" for entity, count in counts.most_common())
