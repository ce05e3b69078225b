"""Whose turn it is: owners take turns, each one's requests in the order they came; imports no torch."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Waiting requests. An owner who asks for a hundred things waits behind one who asks for one."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Item]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(len(line) for line in self._lines.values())

    def __iter__(self) -> Iterator[Item]:
        """Yield everything that waits, owner by owner."""
        for line in self._lines.values():
            yield from line

    def put(self, owner: str, item: Item) -> None:
        """Let an item wait at the end of its owner's line."""
        self._lines.setdefault(owner, deque()).append(item)

    def take(self, ready: Callable[[Item], bool]) -> Item | None:
        """Take the next item that is ready, and move its owner to the end; None: no item is ready."""
        for owner, line in self._lines.items():
            found = next((item for item in line if ready(item)), None)
            if found is None:
                continue
            line.remove(found)
            self._lines.move_to_end(owner)
            self._forget(owner)
            return found
        return None

    def drop(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Take out everything that is unwanted, and return it."""
        gone = [item for item in self if unwanted(item)]
        for owner in list(self._lines) if gone else ():
            self._lines[owner] = deque(item for item in self._lines[owner] if not unwanted(item))
            self._forget(owner)
        return gone

    def _forget(self, owner: str) -> None:
        if not self._lines[owner]:
            del self._lines[owner]
