"""Versions of a model, `support@7`: found by number or alias, and checked byte by byte against their signature.

A version is an artefact in `.metier/versions/<name>/<number>/`. It is written once (by `metier promote`) and never
changed; which alias means which version is in the database (`core.aliases`). Serving, comparing and promoting all find
versions here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.core import artefact, signature
from metier.core.aliases import Aliases
from metier.core.errors import DataError, InputError, SignatureError

KIND = "version"
FACTS = "version.json"
HISTORY = "history.jsonl"
RESTORED = "restored.json"
"""In a run that was laid out again from a version: of which."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version that stands in a store; `path` is laid out as a run is."""

    name: str
    number: int
    path: Path

    @property
    def reference(self) -> str:
        """How it is called: `support@7`."""
        return f"{self.name}@{self.number}"


def parse(reference: str) -> tuple[str, int | str]:
    """Split `support@7` or `support@production` into a name and a number or an alias.

    Raises:
        InputError: it is of another form.
    """
    name, _, which = reference.partition("@")
    if _ID.fullmatch(name) and _NUMBER.fullmatch(which):
        return name, int(which)
    return require_id(name, "the name of a version"), require_alias(which)


def require_id(text: str, what: str) -> str:
    """Return a name that may stand in a path.

    Raises:
        InputError: it is none.
    """
    if not _ID.fullmatch(text):
        wanted = "NAME@7 or NAME@production, of small letters, digits, `.`, `_`, `-`"
        raise InputError(f"{text[:80]!r}: not {what}", wanted)
    return text


def require_alias(text: str) -> str:
    """Return the name of an alias; a number is none, for it would hide a version.

    Raises:
        InputError: it is none.
    """
    if text.isdigit():
        raise InputError(f"alias {text[:80]!r}: a number", "a name such as production")
    return require_id(text, "an alias")


def shelf(store: Path, name: str) -> Path:
    """Return where all versions of a name stand."""
    return store / "versions" / require_id(name, "the name of a version")


def keys(store: Path) -> Path:
    """Return the folder of trusted public keys."""
    return store / "keys"


def numbers(store: Path, name: str) -> list[int]:
    """Return the numbers of the versions of a name that stand there whole, in order."""
    folder = shelf(store, name)
    found = [path.name for path in folder.iterdir() if _NUMBER.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(int(number) for number in found if artefact.exists(folder / number, KIND))


def listed(store: Path) -> list[Version]:
    """Return all versions of a store, by name and number."""
    folder = store / "versions"
    names = sorted(path.name for path in folder.iterdir() if _ID.fullmatch(path.name)) if folder.is_dir() else []
    return [at(store, name, number) for name in names for number in numbers(store, name)]


def at(store: Path, name: str, number: int) -> Version:
    """Return the version of a name and number, whether or not it exists."""
    return Version(name=name, number=number, path=shelf(store, name) / str(number))


def find(store: Path, reference: str) -> Version:
    """Find a version by `NAME@NUMBER` or `NAME@ALIAS`; its content is not checked yet.

    Raises:
        InputError: there is none; lists what there is.
    """
    return resolve(store, reference, lambda: meant(store))


def meant(store: Path) -> dict[tuple[str, str], int]:
    """Return what every alias means, (name, alias) -> number, as the database says now."""
    with Aliases(store) as aliases:
        return {key: move.number for key, move in aliases.all().items()}


def resolve(store: Path, reference: str, meanings: Callable[[], Mapping[tuple[str, str], int]]) -> Version:
    """Find a version as `find` does, with aliases from somewhere that may remember them; asked only for an alias."""
    name, which = parse(reference)
    if isinstance(which, str):
        known = {alias: number for (owner, alias), number in meanings().items() if owner == name}
        if which not in known:
            raise InputError(f"{reference}: no such alias", f"one of: {', '.join(known) or 'none yet'}", _PROMOTE)
        which = known[which]
    version = at(store, name, which)
    if not artefact.exists(version.path, KIND):
        there = ", ".join(version.reference for version in listed(store)) or "none yet"
        raise InputError(f"{name}@{which}: no such version", f"one of: {there}", _PROMOTE)
    return version


_PROMOTE = "metier promote makes one, metier versions lists them"


def checked(version: Version, store: Path) -> dict[str, Any]:
    """Check every byte of a version, and that a trusted key has signed exactly this; return its facts.

    Raises:
        SignatureError: a file was changed, added, removed or replaced by a link, the version stands under another
            number, or it is not signed by a trusted key.
    """
    try:
        manifest = artefact.verify(version.path, KIND)
        text = (version.path / signature.FILE).read_text(encoding="utf-8")
        facts = artefact.read_json(version.path / FACTS)
        called = f"{facts['name']}@{facts['number']}"
    except (DataError, OSError, ValueError, LookupError, TypeError) as error:
        found = error.found if isinstance(error, DataError) else str(error)
        raise SignatureError(f"{version.reference}: {found}", "the version as it was signed", _DO) from error
    try:
        _require_plain(version.path, {*manifest.files, artefact.MANIFEST})
        files = {name: entry["sha256"] for name, entry in manifest.files.items() if name != signature.FILE}
        signer = signature.check(text, files, signature.trusted_in(keys(store)))
        if called != version.reference:
            raise SignatureError(f"holds {called}", version.reference)
    except SignatureError as error:
        raise SignatureError(f"{version.reference}: {error.found}", error.wanted, error.do or _DO) from error
    return facts | {"signer": signer}


_DO = "do not use it; metier rollback goes back to the version before"


def open_version(store: Path, reference: str) -> Version:
    """Find a version and check it; raises as `find` and `checked` do."""
    version = find(store, reference)
    checked(version, store)
    return version


def _require_plain(folder: Path, known: set[str]) -> None:
    """Refuse links, and files that the manifest does not name."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise SignatureError(f"{name}: a link", "a file of its own")
        if not path.is_dir() and name not in known:
            raise SignatureError(f"{name}: was never signed", "only files that were signed")
