"""Freed memory is kept for the next array: to ask the system for it anew takes longer than what is computed in it."""

import numpy as np

KEPT = 1 << 24
"""Arrays of up to so many bytes come out of memory that was used before, and twice as many bytes stay when all go."""


def keep_freed() -> None:
    """Let this process keep some of the memory that it frees, where the C library is glibc; elsewhere nothing happens.

    glibc gives arrays of more than 128 KiB back at once, and of the others what lies at the end, so that the same pages
    are asked for, cleared and given back for every batch: some 1 to 3 µs for 4 KiB, up to an eighth of the time. How
    much it keeps follows the largest block that was ever freed (`mallopt`, M_MMAP_THRESHOLD): here one that nobody
    wrote to, so it costs neither memory nor time.
    """
    np.empty(KEPT, np.uint8)
