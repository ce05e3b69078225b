"""General rows among the project's own: a fixed number in each step, as a function of (seed, step) alone."""

from dataclasses import replace

from metier.core import seeds
from metier.core.errors import DataError, SettingsError
from metier.core.progress import Progress
from metier.core.types import Sequence
from metier.text.render import Renderer
from metier.text.rendered import Rendered, render_rows
from metier.train.batches import Order
from metier.train.general import path_of, read
from metier.train.settings import RegulariseSettings


def count_per_step(settings: RegulariseSettings, rows_per_step: int) -> int:
    """Return how many of a step's rows are general ones.

    Raises:
        SettingsError: the step has no room for them, or none would be left for the project's own.
    """
    if not settings.replay:
        return 0
    count = max(1, round(settings.replay * rows_per_step))
    if count >= rows_per_step:
        raise SettingsError(
            f"train.regularise.replay {settings.replay} of {rows_per_step} rows a step",
            "room for at least one row of each kind",
            "raise train.rows_per_step",
        )
    return count


def render_general(settings: RegulariseSettings, renderer: Renderer, progress: Progress) -> Rendered:
    """Read and render the general rows, without the task's system turn.

    Raises:
        DataError: the file is missing, broken or holds nothing that can be learnt.
    """
    path = path_of(settings)
    plain = replace(renderer, settings=renderer.settings.model_copy(update={"system": None}))
    rendered = render_rows(read(path), plain, progress)
    if not len(rendered):
        raise DataError(
            f"{path}: no row that can be learnt", "general rows", "name another train.regularise.replay_file"
        )
    return rendered


class Mixed:
    """The sequences of the project with the general ones behind them, numbered through."""

    def __init__(self, own: Rendered, general: Rendered) -> None:
        self._own = own
        self._general = general

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self._own) + len(self._general)

    def sequence(self, number: int) -> Sequence:
        """Return one sequence."""
        own = len(self._own)
        return self._own.sequence(number) if number < own else self._general.sequence(number - own)


class MixedOrder:
    """Which rows a step trains on: the project's own as without replay, only fewer a step, then general ones.

    Args:
        own: of the project's rows; its steps and epochs are those of the run.
        general: number of general rows.
        per_step: general rows in every step.
        seed: of the permutations.
    """

    def __init__(self, own: Order, general: int, per_step: int, seed: int) -> None:
        self._own = own
        self._general = Order(general, per_step, own.steps * per_step, seeds.key("replay", seed))

    @property
    def steps(self) -> int:
        """Number of steps in the run."""
        return self._own.steps

    def step(self, step: int) -> list[int]:
        """Return the row indices of a step; those from `own.rows` on are general."""
        return [*self._own.step(step), *(self._own.rows + index for index in self._general.step(step))]

    def epoch(self, step: int) -> float:
        """Return how many epochs of the project's own rows lie behind us after a step."""
        return self._own.epoch(step)
