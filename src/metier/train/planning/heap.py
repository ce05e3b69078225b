"""How much memory a process keeps for tensors that come and go: more than they hold, because a heap has holes.

The C library (glibc) maps large blocks one by one and gives them back at once; smaller ones lie in a heap, each in the
smallest hole that it fits into, and only the heap's end is ever given back. This goes through the same motions.
"""

from bisect import bisect_left, insort

_MAPPED = 32 << 20
"""From this size on blocks are mapped one by one: glibc's DEFAULT_MMAP_THRESHOLD_MAX, which its threshold soon grows to
when tensors of some megabytes are freed."""
_TRIMMED = 2 * _MAPPED
"""Free bytes at the heap's end from which they are given back: twice the threshold, as glibc sets it."""
_HUGE = 2 << 20
"""Blocks of this size and more are taken to begin at multiples of it. They do not (torch lets them begin at multiples
of a page when it asks for huge ones), but the larger holes that this asks for stand for what small objects cost that
come to lie between them: fitted on the 15M shape, then compared on others (docs/results/2026-11-21-plan.md)."""
_ALIGNED = 64
"""What all others begin at multiples of."""
_HEADER = 16
"""Bytes in front of a block."""


class Heap:
    """Blocks by address; `resident` bytes are what the process keeps, `peak` the most it ever kept."""

    def __init__(self) -> None:
        self.peak = 0
        self._end = 0
        self._mapped = 0
        self._sizes: dict[int, int] = {}
        self._holes: dict[int, int] = {}  # address -> size
        self._hole_ends: dict[int, int] = {}  # address behind a hole -> its address
        self._by_size: list[tuple[int, int]] = []  # (size, address), sorted
        self._next_mapped = -1

    @property
    def resident(self) -> int:
        """Bytes that the process keeps."""
        return self._end + self._mapped

    def allocate(self, size: int) -> int:
        """Place a block of `size` bytes; return its address."""
        alignment = _HUGE if size >= _HUGE else _ALIGNED
        size = -(-(size + _HEADER) // _ALIGNED) * _ALIGNED
        if size >= _MAPPED:
            address, self._next_mapped = self._next_mapped, self._next_mapped - 1
            self._mapped += size
        else:
            address = self._place(size, alignment)
        self._sizes[address] = size
        self.peak = max(self.peak, self.resident)
        return address

    def free(self, address: int) -> None:
        """Let a block go."""
        size = self._sizes.pop(address)
        if address < 0:
            self._mapped -= size
            return
        self._give_back(address, address + size)

    def _place(self, size: int, alignment: int) -> int:
        """Cut a block out of the smallest hole that would hold it wherever the hole begins; of the end if none does."""
        start, end = self._hole(size + alignment)
        address = -(-start // alignment) * alignment
        if address > start:
            self._give_back(start, address)
        if end > address + size:
            self._give_back(address + size, end)
        return address

    def _hole(self, size: int) -> tuple[int, int]:
        at = bisect_left(self._by_size, (size, -1))
        for found, address in self._by_size[at : at + 2]:
            if address + found != self._end:  # the end of the heap is taken last
                return address, address + self._remove(address)
        start = self._hole_ends.get(self._end, self._end)
        if start != self._end:
            self._remove(start)
        self._end = max(self._end, start + size)
        return start, self._end

    def _give_back(self, start: int, end: int) -> None:
        if start in self._hole_ends:
            start = self._hole_ends[start]
            self._remove(start)
        if end in self._holes:
            end += self._remove(end)
        if end == self._end and end - start > _TRIMMED:
            self._end = start
        else:
            self._add(start, end - start)

    def _add(self, address: int, size: int) -> None:
        self._holes[address] = size
        self._hole_ends[address + size] = address
        insort(self._by_size, (size, address))

    def _remove(self, address: int) -> int:
        size = self._holes.pop(address)
        del self._hole_ends[address + size]
        del self._by_size[bisect_left(self._by_size, (size, address))]
        return size
