"""What is served: the base, every version and its aliases, every trained run, the names that jobs gave; no torch."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from metier.core import artefact, registry
from metier.core.aliases import Aliases
from metier.core.errors import InputError, MetierError
from metier.core.settings import build
from metier.model.find import Base, find, read_json
from metier.model.stored import is_in_bfloat16
from metier.text import targets
from metier.text.settings import TextSettings

_ADAPTER = "adapter_config.json"
_REMEMBERED_SECONDS = 0.5
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,80}")
Kind = Literal["base", "adapter", "whole", "head"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model that answers: `name`, its base, the folder of what was trained (None: the base itself), how it renders.

    `digest`: of what was trained, or of the base, by its content. `kind`: the base, an adapter that is mixed with
    others, a model of its own, or one with a head of classes.
    """

    name: str
    base: Base
    folder: Path | None
    text: TextSettings
    created: int
    kind: Kind
    digest: str

    @property
    def tokenizer_folder(self) -> Path:
        """Where its tokenizer and template are."""
        return self.base.folder if self.folder is None else self.folder


Stamps = tuple[tuple[str, int, int, int], ...]
Mixable = Callable[[Path], bool]


class Catalogue:
    """The models of a project.

    Args:
        folder: the project's, in which a base may be named.
        store: its `.metier`.
        base: served under its own name, rendered by `text`.
        text: how the base's prompts are rendered.
        mixable: tells whether an adapter can be mixed with others.
    """

    def __init__(self, folder: Path, store: Path, base: Base, *, text: TextSettings, mixable: Mixable) -> None:
        self._folder = folder
        self._store = store
        self._mixable = mixable
        self._base = Served(
            name=base.name, base=base, folder=None, text=text, created=0, kind="base", digest=base.digest
        )
        self._known: dict[Path, tuple[float, Served]] = {}
        self._aliases = Aliases(store)
        self._meant: tuple[float, Mapping[tuple[str, str], int]] = (-_REMEMBERED_SECONDS, {})
        self._checked: dict[Path, tuple[float, Stamps]] = {}
        self.names: Callable[[], Mapping[str, Path]] = dict
        """Further names -> folders of runs: those that jobs gave."""

    def find(self, name: str) -> Served | None:
        """Return the model of that name; None: there is none.

        Raises:
            SignatureError: it is a version, and not what was signed.
        """
        if name == self._base.name:
            return self._base
        if "@" in name:
            return self._version(name)
        named = self.names().get(name)
        run = named if named is not None else self._store / "runs" / name
        if named is None and not _ID.fullmatch(name):
            return None
        served = self._run(run)
        return replace(served, name=name) if served is not None else None

    def all(self) -> list[Served]:
        """Return everything that is served, the base first."""
        runs = sorted((self._store / "runs").glob("*")) if (self._store / "runs").is_dir() else []
        found = [served for run in runs if (served := self._run(run)) is not None]
        named = [replace(served, name=name) for name, run in self.names().items() if (served := self._run(run))]
        return [self._base, *self._versions(), *found, *named]

    def _versions(self) -> list[Served]:
        """Return what versions and aliases mean; one that cannot be served hides no other."""
        names = [version.reference for version in registry.listed(self._store)]
        found = []
        for name in [*(f"{owner}@{alias}" for owner, alias in sorted(self._meanings())), *names]:
            try:
                found.append(self._version(name))
            except (MetierError, OSError):
                continue
        return [served for served in found if served is not None]

    def _version(self, name: str) -> Served | None:
        try:
            version = registry.resolve(self._store, name, self._meanings)
        except InputError:
            return None
        self._check(version)
        served = self._run(version.path)
        return replace(served, name=name) if served is not None else None

    def _meanings(self) -> Mapping[tuple[str, str], int]:
        """Return what aliases mean; asked of the database twice a second at most."""
        now = time.monotonic()
        if now - self._meant[0] >= _REMEMBERED_SECONDS:
            self._meant = (now, {key: move.number for key, move in self._aliases.all().items()})
        return self._meant[1]

    def _check(self, version: registry.Version) -> None:
        """Check a version's signature when it is first asked for, and again when one of its files has been touched."""
        now, known = time.monotonic(), self._checked.get(version.path)
        if known is not None and now - known[0] < _REMEMBERED_SECONDS:
            return
        stamps = _stamps(version.path)
        if known is None or known[1] != stamps:
            self._checked.pop(version.path, None)
            registry.checked(version, self._store)
        self._checked[version.path] = (now, stamps)

    def _run(self, run: Path) -> Served | None:
        """Return a trained run, looked at again only when it has changed."""
        manifest = run / "model" / artefact.MANIFEST
        if not manifest.is_file() or not (run / "summary.json").is_file():
            return None
        changed = manifest.stat().st_mtime
        known = self._known.get(run)
        if known is None or known[0] != changed:
            try:
                known = (changed, self._read(run, changed))
            except (MetierError, OSError, ValueError, KeyError):  # one that cannot be served hides no other
                return None
            self._known[run] = known
        return known[1]

    def _read(self, run: Path, changed: float) -> Served:
        model = run / "model"
        digest = artefact.verify(model, "model").digest
        facts = artefact.read_json(run / "settings.json")
        text = build(TextSettings, {**facts["plan"]["text"], "template": "auto"}, str(run))
        named = facts["base"]
        if named["digest"] == self._base.base.digest:
            base = self._base.base
        elif named["kind"] == "config":
            base = Base(name=named["name"], folder=Path(named["folder"]), kind="config", digest=named["digest"])
        else:
            base = find(named["name"] if named["kind"] != "folder" else named["folder"], self._folder)
        if targets.read(model) is not None:
            kind: Kind = "head"
        elif (model / _ADAPTER).is_file() and read_json(model / _ADAPTER) and self._mixable(model):
            bits = artefact.read(model, "model").facts.get("quantise", "none")
            exact = bits == "none" or (bits == "bfloat16" and is_in_bfloat16(base.folder))
            kind = "adapter" if exact else "whole"
        else:
            kind = "whole"
        return Served(name=run.name, base=base, folder=model, text=text, created=int(changed), kind=kind, digest=digest)


def _stamps(folder: Path) -> Stamps:
    """Return what changes when a file of a folder is touched: names, sizes, times, places on the disk."""
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return tuple((path.name, state.st_size, state.st_mtime_ns, state.st_ino) for path, state in found)


def listed(models: Iterable[Served]) -> list[dict[str, object]]:
    """Return models as /v1/models lists them."""
    return [
        {
            "id": served.name, "object": "model", "created": served.created, "owned_by": "metier",
            "parent": served.base.name if served.folder is not None else None,
        }
        for served in models
    ]  # fmt: skip
