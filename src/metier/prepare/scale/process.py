"""A process that works on pieces until its connection closes: `python -m metier.prepare.scale.process DESCRIPTOR`."""

import sys
from multiprocessing.connection import Connection

from metier.core.errors import MetierError
from metier.prepare.reading.pieces import Piece
from metier.prepare.scale.work import Outcome, Worker


def serve(connection: Connection) -> None:
    """Take a job and then pieces; answer each with its outcome or with the error that working on it raised."""
    try:
        worker = Worker(connection.recv())
        while True:
            connection.send(_answer(worker, connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(worker: Worker, piece: Piece) -> Outcome | MetierError:
    try:
        return worker(piece)
    except MetierError as error:
        return error


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
