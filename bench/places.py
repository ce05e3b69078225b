"""Where the benchmark keeps what it makes: models, environments and logs, all outside the repository."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def cache() -> Path:
    """Return the folder that `METIER_BENCH` names, by default ~/.cache/metier-bench; made when absent."""
    folder = Path(os.environ.get("METIER_BENCH") or Path.home() / ".cache" / "metier-bench")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def shared() -> Path:
    """Return the folder with data and weights from elsewhere: `METIER_SHARED`, by default beside the checkout."""
    folder = Path(os.environ.get("METIER_SHARED") or REPOSITORY.parent / "shared")
    return folder.resolve()
