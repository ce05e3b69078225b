"""When in a run something is due: checks, answers at checks, ends of epochs, checkpoints. Settings alone decide."""

from dataclasses import dataclass

from metier.train.batches import Ordered
from metier.train.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Calendar:
    """What falls after how many steps of an order of rows, under the settings of a run."""

    order: Ordered
    settings: TrainSettings

    @property
    def checks(self) -> int:
        """Number of checks of the whole run, those at the ends of epochs that are kept left out."""
        return self._checks_after(0)

    def is_check(self, done: int) -> bool:
        """Tell whether a check falls after `done` steps."""
        if self._checks_after(done) < self._checks_after(done - 1):
            return True
        return self.settings.check.steps is None and self.ends_epoch(done)

    def ends_epoch(self, done: int) -> bool:
        """Tell whether an epoch ends within the last of `done` steps, and models of epochs are kept."""
        before = self.order.epoch(done - 2) if done > 1 else 0.0
        return self.settings.check.keep_epochs > 0 and int(self.order.epoch(done - 1)) > int(before)

    def is_answered(self, done: int) -> bool:
        """Tell whether rows are answered at the check after `done` steps: every so many, counted from the last."""
        return self._checks_after(done) % self.settings.check.every == 0

    def _checks_after(self, done: int) -> int:
        """Return how many checks are still to come after `done` steps, the last of them at the end."""
        steps, every = self.order.steps, self.settings.check.steps
        if every is not None:
            return max(0, (steps - 1) // every - done // every + (done < steps))
        checks = min(self.settings.checks, steps)
        return checks - done * checks // steps

    def is_published(self, done: int) -> bool:
        """Tell whether a checkpoint is published after `done` steps."""
        every = self.settings.checkpoint_every
        return self.ends_epoch(done) or self.is_check(done) or (every is not None and done % every == 0)
