"""Which bases there are: those given, those below folders, in the Hugging Face cache, and those that come with metier.

Nothing that looks like a base is passed over in silence: what cannot be used is listed with the reason. No torch.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from metier.core.errors import ModelError
from metier.model.find import BUNDLED, Base, find, find_config

Origin = Literal["given", "below", "cache", "bundled"]

MOST_FOUND = 40
"""Most bases that are looked at, beside those given."""

_DEEPEST = 4
_TEXT_FILES = ["*.json", "*.jinja", "LICENSE*", "LICENCE*", "NOTICE*", "README.md"]
_PASSED_OVER = {"node_modules", "__pycache__", "site-packages"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A base that could be taken. `base` None: it cannot be read at all; `weights`: they are here.

    `why` says what is missing, "" where nothing is.
    """

    name: str
    origin: Origin
    folder: Path | None
    base: Base | None
    weights: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Where bases are looked for: names given, folders below which, the cache (None: not there), bundled ones."""

    given: tuple[str, ...]
    below: tuple[Path, ...] = ()
    cache: Path | None = None
    bundled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """All candidates, and how many more were found than are looked at."""

    candidates: tuple[Candidate, ...]
    more: int = 0


def hub_cache() -> Path:
    """Return the folder of the Hugging Face cache."""
    return Path(constants.HF_HUB_CACHE)


def candidates(search: Search, folder: Path) -> Shelf:
    """Return every base that is there once, those given first, the bundled ones last.

    Args:
        search: where to look.
        folder: that of the project, which names are relative to.
    """
    found = [_of_name(name, folder) for name in search.given]
    places: list[tuple[str, Path, Origin]] = []
    for below in search.below:
        for place in sorted(_folders(below)):
            places.append((_label(place, folder), place, "below"))
    for name, place in _cached(search.cache):
        places.append((name, place, "cache"))
    seen = {_real(entry.folder) for entry in found}
    new = []
    for name, place, origin in places:
        if _real(place) not in seen:
            seen.add(_real(place))
            new.append((name, place, origin))
    found += [_of_folder(name, place, origin) for name, place, origin in new[:MOST_FOUND]]
    if search.bundled:
        known = {entry.name for entry in found}
        found += [_of_folder(name, place, "bundled") for name, place in BUNDLED.items() if name not in known]
    return Shelf(candidates=tuple(found), more=max(0, len(new) - MOST_FOUND))


def _of_name(name: str, folder: Path) -> Candidate:
    """Return the base of a name that somebody gave: a bundled name, a folder, or a hub id."""
    if name in BUNDLED:
        return replace(_of_folder(name, BUNDLED[name], "bundled"), origin="given")
    local = (folder / Path(name).expanduser()).resolve()
    if local.is_dir():
        return _of_folder(name, local, "given")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        why = f"no such folder ({local}), not bundled, and no hub id"
        return Candidate(name=name, origin="given", folder=None, base=None, weights=False, why=why)
    place = _from_hub(name)
    if isinstance(place, str):
        return Candidate(name=name, origin="given", folder=None, base=None, weights=False, why=place)
    return _of_folder(name, place, "given")


def _from_hub(name: str) -> Path | str:
    """Return the folder of a hub id, fetching its small files only; or why there is none."""
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError:
        return "no such folder, and no hub id"
    except (LocalEntryNotFoundError, OSError):
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=_TEXT_FILES))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        return f"not in the cache here, and the hub cannot be asked ({type(error).__name__})"


def _of_folder(name: str, place: Path, origin: Origin) -> Candidate:
    """Read a folder as far as it goes: whole, else configuration and tokenizer, else not at all."""

    def made(base: Base | None, why: str, *, weights: bool) -> Candidate:
        named = None if base is None else replace(base, name=name)
        return Candidate(name=name, origin=origin, folder=place, base=named, weights=weights, why=why)

    try:
        return made(find(str(place), place), "", weights=True)
    except ModelError as error:
        why = error.found.replace(f"{place}: ", "").replace(f"{place}/", "")
    if (place / "adapter_config.json").exists():
        return made(None, "an adapter: it is no base, but belongs to one", weights=False)
    try:
        base = replace(find_config(str(place), place), kind="folder")
    except ModelError:
        return made(None, why, weights=False)
    return made(base, why, weights=False)


def _folders(top: Path, depth: int = 0) -> Iterator[Path]:
    """Yield the folders below one that hold a model's configuration; nothing hidden, no links."""
    try:
        entries = sorted(os.scandir(top), key=lambda entry: entry.name)
    except OSError:
        return
    if depth and any(entry.name == "config.json" for entry in entries):
        if any(entry.name in ("tokenizer.json", "adapter_config.json") for entry in entries) or _holds_weights(entries):
            yield top
        return
    for entry in entries if depth < _DEEPEST else []:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".") and entry.name not in _PASSED_OVER:
            yield from _folders(Path(entry.path), depth + 1)


def _holds_weights(entries: Sequence["os.DirEntry[str]"]) -> bool:
    return any(entry.name.endswith((".safetensors", ".bin")) for entry in entries)


def _cached(cache: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield (hub id, folder) of the models in a Hugging Face cache: of each the version that `main` was last."""
    for place in sorted(cache.glob("models--*--*")) if cache is not None and cache.is_dir() else []:
        main = place / "refs" / "main"
        versions = sorted((place / "snapshots").glob("*"))
        if main.is_file():
            versions = [place / "snapshots" / main.read_text(encoding="utf-8").strip()]
        for version in versions[-1:]:
            if (version / "config.json").is_file():
                yield place.name.removeprefix("models--").replace("--", "/", 1), version


def _label(place: Path, folder: Path) -> str:
    """Name a folder as metier.yaml would: relative to the project where it is below it."""
    place, folder = place.resolve(), folder.resolve()
    return f"./{place.relative_to(folder).as_posix()}" if place.is_relative_to(folder) else str(place)


def _real(place: Path | None) -> Path | None:
    return None if place is None else place.resolve()
