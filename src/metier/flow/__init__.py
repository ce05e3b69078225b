"""The life of a fine-tune as ordinary functions, one file a stage: the only place where two verb rooms meet.

Each stage takes a project and leaves files; one that is done and unchanged is not done again, and says why. Rooms that
need torch are imported where they are called, so that a command which does not train starts at once.
"""

from metier.flow.choosing import bases, bases_anywhere
from metier.flow.data import Shown, page_of_data, prepare, show, write_data_page
from metier.flow.exporting import Exported, export
from metier.flow.found import Run, Stage, is_trained, locate, named
from metier.flow.judging import advise, compare, evaluate
from metier.flow.life import Outcome, run
from metier.flow.promoting import Promoted, promote, rollback
from metier.flow.proving import prove
from metier.flow.scaling import frontier, rescale
from metier.flow.telling import page_of_run, report
from metier.flow.training import plan, sweep, train, verify

__all__ = [
    "Exported",
    "Outcome",
    "Promoted",
    "Run",
    "Shown",
    "Stage",
    "advise",
    "bases",
    "bases_anywhere",
    "compare",
    "evaluate",
    "export",
    "frontier",
    "is_trained",
    "locate",
    "named",
    "page_of_data",
    "page_of_run",
    "plan",
    "prepare",
    "promote",
    "prove",
    "report",
    "rescale",
    "rollback",
    "run",
    "show",
    "sweep",
    "train",
    "verify",
    "write_data_page",
]
