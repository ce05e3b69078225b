"""MinHash signatures of many rows at once: two rows agree in as many places as their windows of text do.

Each window is hashed into one of the places of the signature and the lowest hash of a place stays; places that are
still empty are filled by hashing once more (fast similarity sketching: Dahlgaard, Knudsen and Thorup, 2017), so a
window is hashed about once in a long text and not once for every place.
"""

import numpy as np

from metier.prepare.duplicates.words import PADDING, mixed

ROWS_PER_BAND = 4
BANDS = 40
PLACES = BANDS * ROWS_PER_BAND
"""Rows that share 54 % of their windows (one word in seven changed) meet in a band with a probability of 97 %."""

EMPTY = np.uint32(0xFFFFFFFF)
_ROUNDS = 8
_ROUND_BITS = np.uint64(28)
_BORROWED = 64


def signatures(buffer: np.ndarray, begins: np.ndarray, outside: np.ndarray | None = None) -> np.ndarray:
    """Return the signatures of the rows in a buffer.

    Args:
        buffer: uint8 [B], rows with their padding.
        begins: int64 [rows], where each begins.
        outside: bool [B], bytes at which no window may begin; None: there are none.

    Returns:
        uint32 [rows, PLACES]; EMPTY all along where a row has no window.
    """
    hashes, rows = _windows(buffer, begins, outside)
    found = np.full(len(begins) * PLACES, EMPTY, np.uint32)
    for turn in range(_ROUNDS):
        _lower(found, hashes, rows, turn)
        open_rows = (found.reshape(-1, PLACES) == EMPTY).any(1)
        still = open_rows[rows]
        if not still.any():
            break
        hashes, rows = mixed(hashes[still] + np.uint64(0x9E3779B97F4A7C15)), rows[still]
    table = found.reshape(-1, PLACES)
    _borrow(table)
    return table


def _windows(buffer: np.ndarray, begins: np.ndarray, outside: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Hash the eight bytes from every place: uint64 [windows], and the row of each, int64 [windows]."""
    count = len(buffer) - PADDING
    windows = np.ndarray((max(count, 0),), "<u8", buffer=buffer.data, strides=(1,))
    lengths = np.diff(np.append(begins, len(buffer)))
    rows = np.repeat(np.arange(len(begins)), lengths)[: len(windows)]
    usable = np.ones(len(windows), bool)
    for step in range(1, PADDING + 1):
        usable[begins[1:] - step] = False
    if outside is not None:
        usable &= ~outside[: len(windows)]
    return mixed(windows[usable]), rows[usable]


def _lower(found: np.ndarray, hashes: np.ndarray, rows: np.ndarray, turn: int) -> None:
    """Let every hash take its place where it is the lowest; those of later turns never beat earlier ones."""
    places = ((hashes >> np.uint64(32)) * np.uint64(PLACES)) >> np.uint64(32)
    values = (hashes & np.uint64((1 << 28) - 1)) | (np.uint64(turn) << _ROUND_BITS)
    np.minimum.at(found, rows * PLACES + places.astype(np.int64), values.astype(np.uint32))


def _borrow(table: np.ndarray) -> None:
    """Fill what is still empty (in very short rows) from other places of the same row, the same ones for all rows."""
    poor = np.flatnonzero((table == EMPTY).any(1) & (table != EMPTY).any(1))
    part, places = table[poor], np.arange(PLACES, dtype=np.uint64)
    own = part.copy()
    for attempt in range(1, _BORROWED):
        empty = part == EMPTY
        if not empty.any():
            break
        source = mixed(places + np.uint64(attempt << 20)) % np.uint64(PLACES)
        part = np.where(empty, own[:, source.astype(np.int64)], part)
    table[poor] = np.where(part == EMPTY, own.min(1, keepdims=True), part)
