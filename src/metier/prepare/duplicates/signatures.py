"""MinHash signatures of many rows at once: two rows agree in as many places as their windows of text do.

A window is the eight bytes from the beginning of a word and two of the next word. Each is hashed into one of the places
of the signature and the lowest hash of a place stays; places that are still empty are filled by hashing once more (fast
similarity sketching: Dahlgaard, Knudsen and Thorup, 2017), so a window is hashed about once in a long text and not once
for every place.
"""

import numpy as np

from metier.prepare.duplicates.words import mixed

ROWS_PER_BAND = 4
BANDS = 40
PLACES = BANDS * ROWS_PER_BAND
"""Rows that share 54 % of their windows (one word in seven changed) meet in a band with a probability of 97 %."""

EMPTY = np.uint32(0xFFFFFFFF)
_ROUNDS = 4
_ROUND_BITS = 28
_VALUE = np.uint32((1 << _ROUND_BITS) - 1)
_ODD = 0x9E3779B97F4A7C15
_BORROWED = 8


def signatures(windows: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the signatures of some rows.

    Args:
        windows: uint64 [W], eight bytes each.
        rows: int64 [W], the row of each, ascending.
        count: of rows.

    Returns:
        uint32 [count, PLACES]; EMPTY all along where a row has no window.
    """
    hashes, firsts = mixed(windows), rows * PLACES
    found = np.full(count * PLACES, EMPTY, np.uint32)
    for turn in range(_ROUNDS):
        _lower(found, hashes, firsts, turn)
    table = found.reshape(-1, PLACES)
    _borrow(table)
    return table


def _lower(found: np.ndarray, hashes: np.ndarray, firsts: np.ndarray, turn: int) -> None:
    """Let every hash take its place where it is the lowest; those of later turns never beat earlier ones.

    All hashes take part in all turns: to ask which rows have an empty place left costs more than it spares.
    """
    drawn = hashes * np.uint64(pow(_ODD, 2 * turn + 1, 1 << 64))
    values = drawn.astype(np.uint32)
    values &= _VALUE
    values |= np.uint32(turn << _ROUND_BITS)
    drawn >>= np.uint64(32)
    drawn *= np.uint64(PLACES)
    drawn >>= np.uint64(32)
    spots = drawn.view(np.int64)
    spots += firsts
    np.minimum.at(found, spots, values)


def _borrow(table: np.ndarray) -> None:
    """Fill what is still empty (in very short rows) from other places of the same row, the same ones for all rows."""
    poor = np.flatnonzero((table == EMPTY).any(1) & (table != EMPTY).any(1))
    own = table[poor]
    part, places = own.copy(), np.arange(PLACES, dtype=np.uint64)
    spots = np.flatnonzero(part.ravel() == EMPTY)
    for attempt in range(_BORROWED):
        shifts = (mixed(places + np.uint64(attempt << 20)) % np.uint64(PLACES)).astype(np.int64) - np.arange(PLACES)
        found = own.ravel()[spots + shifts[spots % PLACES]]
        part.ravel()[spots] = found
        spots = spots[found == EMPTY]
    part.ravel()[spots] = own.min(1)[spots // PLACES]
    table[poor] = part
