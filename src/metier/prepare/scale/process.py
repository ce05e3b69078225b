"""A process that works on pieces until its connection closes: `python -m metier.prepare.scale.process DESCRIPTOR`."""

import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from metier.core.errors import MetierError


def serve(connection: Connection) -> None:
    """Take a job and then pieces; answer each with its outcome or with the error that working on it raised."""
    try:
        work = connection.recv().opened()
        while True:
            connection.send(_answer(work, connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(work: Callable[[Any], Any], piece: Any) -> Any:
    try:
        return work(piece)
    except MetierError as error:
        return error


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
