"""A process that works on pieces until its connection closes: `python -m metier.prepare.scale.process DESCRIPTOR`."""

import gc
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from metier.core.errors import MetierError
from metier.prepare.memory import keep_freed

_OBJECTS = 50_000
"""So many more objects than were let go are looked through for circles; a piece makes some ten thousand."""


def serve(connection: Connection) -> None:
    """Take a job and then pieces; answer each with its outcome or with the error that working on it raised."""
    keep_freed()
    try:
        work = connection.recv().opened()
        gc.set_threshold(_OBJECTS)
        while True:
            connection.send(_answer(work, connection.recv()))
            if not gc.get_freeze_count():  # the first piece has loaded what stays until the end: lists, models
                gc.freeze()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(work: Callable[[Any], Any], piece: Any) -> Any:
    try:
        return work(piece)
    except MetierError as error:
        return error


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
