"""Torch's huge pages; apart from `core.memory`, for the command line starts with this and needs no library."""

import os

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Torch's switch for huge pages: tensors of 2 MiB and more begin at multiples of a page. The process then keeps up to a
third less memory, because what lies between tensors grows together again when they go (docs/log.md)."""


def use_huge_pages() -> None:
    """Let torch take huge pages, unless the user has said otherwise; call before torch is imported."""
    os.environ.setdefault(HUGE_PAGES, "1")
