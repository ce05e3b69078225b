"""What every hop of a certificate is judged by."""

from dataclasses import dataclass
from pathlib import Path

from metier.model.find import Base
from metier.promote import wording
from metier.promote.distance import Distance
from metier.promote.hops import Limits
from metier.promote.reference import Reference
from metier.promote.settings import PromoteSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run, its base, the trained model's answers and the limits.

    `limits_merged`: of the merged model. `from_base`: how far the trained model is from its base, None if that cannot
    be measured.
    """

    run: Path
    base: Base
    known: Reference
    settings: PromoteSettings
    limits: Limits
    limits_merged: Limits
    from_base: Distance | None

    def words(self) -> wording.Wording:
        """Return how the reference rows were rendered for training."""
        return wording.read(self.run, self.base.folder, self.known)

    def differently_worded(self, folder: Path) -> str:
        """Say what a model folder renders otherwise than training did, or ""."""
        return wording.difference(folder, self.words(), self.known)
