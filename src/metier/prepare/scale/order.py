"""Deals pieces out to workers of any kind and hands the answers on in the order of the pieces."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from metier.core.errors import MetierError

AHEAD = 4
"""So many answers for each worker may wait for an earlier one; so memory stays flat when one piece takes long."""

Piece = TypeVar("Piece")
Outcome = TypeVar("Outcome")
Worker = TypeVar("Worker")
Handle = TypeVar("Handle")


def in_order(
    pieces: Iterable[Piece],
    workers: Sequence[Worker],
    *,
    give: Callable[[Worker, Piece], Handle],
    ready: Callable[[Collection[Handle], bool], Iterable[Handle]],
    take: Callable[[Handle], Outcome | MetierError],
) -> Iterator[Outcome]:
    """Yield what becomes of every piece, in order. A worker has one piece at a time.

    Args:
        pieces: to work on; few are read ahead.
        workers: who works.
        give: hands a piece to a worker that has none; returns what its answer is known by.
        ready: returns which answers are there, after waiting for one when the second argument says so.
        take: returns an answer.

    Raises:
        MetierError: what working on a piece raised, when it is that piece's turn; or what `give` and `take` raise.
    """
    numbered, turn = enumerate(pieces), 0
    free, asked, answers = list(workers), dict[Handle, tuple[int, Worker]](), dict[int, Outcome | MetierError]()
    following = next(numbered, None)
    while following is not None or asked or answers:
        while following is not None and free and following[0] < turn + AHEAD * len(workers):
            worker = free.pop()
            asked[give(worker, following[1])] = (following[0], worker)
            following = next(numbered, None)
        if turn in answers:
            answer = answers.pop(turn)
            if isinstance(answer, MetierError):
                raise answer
            turn += 1
            yield answer
        for handle in ready(list(asked), turn not in answers) if asked else ():
            number, worker = asked.pop(handle)
            answers[number] = take(handle)
            free.append(worker)
