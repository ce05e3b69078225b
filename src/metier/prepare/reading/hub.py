"""Data sets of the Hugging Face hub by name: only data files are fetched, no code of theirs runs."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from metier.core.errors import DataError
from metier.core.table import nearest
from metier.prepare.reading.sniff import SUFFIXES, suffix_of

PREFIX = "hub:"
_CONVERTED = "refs/convert/parquet"
"""Where the hub keeps every public data set as Parquet, whatever its authors wrote it as."""


def fetch(name: str) -> list[Path]:
    """Download the files of a data set, or find them in the hub's cache.

    Args:
        name: `hub:org/name`, with `/configuration` behind it when there are several, and `#split` (else train).

    Raises:
        DataError: there is no such data set, configuration or split, or the hub cannot be reached.
    """
    plain, _, split = name.removeprefix(PREFIX).partition("#")
    pieces = plain.strip("/").split("/")
    if len(pieces) not in (2, 3):
        raise DataError(f"{name}: no data set's name", "hub:org/name, hub:org/name/configuration#split")
    repository, configuration = "/".join(pieces[:2]), pieces[2] if len(pieces) == 3 else None
    try:
        revision, files = _listed(repository)
        chosen = chosen_files(files, configuration, split or "train", name)
        found = (hf_hub_download(repository, file, repo_type="dataset", revision=revision) for file in chosen)
        return [Path(path) for path in found]
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise DataError(
            f"{name}: not on the hub, or private", "a public data set", "a token in HF_TOKEN opens a private one"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, HTTPError, OSError) as error:
        off = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else " (offline?)"
        raise DataError(
            f"{name}: the hub cannot be reached{off}", "a data set that can be downloaded",
            f"on a machine with a network: hf download {repository} --repo-type dataset --local-dir data; "
            "then data.train: data",
        ) from error  # fmt: skip


def _listed(repository: str) -> tuple[str, list[str]]:
    """Return the revision to read and its files: the converted one, or what the authors wrote."""
    hub = HfApi()
    try:
        converted = hub.list_repo_files(repository, repo_type="dataset", revision=_CONVERTED)
        if any(file.endswith(".parquet") for file in converted):
            return _CONVERTED, converted
    except RevisionNotFoundError:
        pass
    return "main", hub.list_repo_files(repository, repo_type="dataset")


def chosen_files(files: Sequence[str], configuration: str | None, split: str, name: str) -> list[str]:
    """Choose the data files of one split of one configuration; they stand in `configuration/split/…`, or say so.

    Raises:
        DataError: there is none, or several configurations and none is named.
    """
    data = sorted(file for file in files if suffix_of(file) in SUFFIXES and not file.lower().endswith((".md", ".txt")))
    folders = sorted({PurePosixPath(file).parts[0] for file in data if len(PurePosixPath(file).parts) > 2})
    if configuration is None and len(folders) > 1:
        configuration = "default" if "default" in folders else None
        if configuration is None:
            raise DataError(f"{name}: {len(folders)} configurations: {', '.join(folders[:12])}", "one",
                            f"say which: {name.partition('#')[0]}/{folders[0]}")  # fmt: skip
    if configuration is not None:
        if configuration not in folders:
            close = nearest(configuration, folders)
            raise DataError(
                f"{name}: no configuration {configuration!r}",
                f"one of {', '.join(folders[:12]) or 'none'}",
                f"did you mean '{close}'?" if close else "",
            )
        data = [file for file in data if file.startswith(configuration + "/")]
    chosen = [file for file in data if split in _words(file)]
    if not chosen:
        splits = sorted({word for file in data for word in _words(file)} & {"train", "validation", "test", "dev"})
        raise DataError(
            f"{name}: no split {split!r}", f"one of {', '.join(splits) or 'the files ' + ', '.join(data[:5])}"
        )
    return chosen


def _words(file: str) -> set[str]:
    """Return the words in a path: its folders, and its name without numbers."""
    path = PurePosixPath(file)
    stem = path.name.partition(".")[0]
    return {*path.parts[:-1], *stem.replace("_", "-").split("-"), stem}
