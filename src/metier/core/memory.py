"""How much memory this process may use: the machine's, or less where a container is given less."""

from pathlib import Path

import psutil

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_limit(limits: tuple[Path, ...] = CGROUP_LIMITS) -> int:
    """Return the bytes of memory that may be used: the machine's, or less where a container is given less."""
    total = psutil.virtual_memory().total
    for path in limits:
        text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
        if text.isdigit():
            return min(total, int(text))
    return total


def room() -> int:
    """Return the bytes that this process may hold in all: what it holds already and what is free."""
    return min(memory_limit(), resident() + psutil.virtual_memory().available)


def resident() -> int:
    """Return the bytes that this process holds in memory now."""
    return psutil.Process().memory_info().rss
