"""Before a project begins: which base to take for it."""

from pathlib import Path
from typing import Any

from metier.advise.bases.candidates import Search, candidates, hub_cache
from metier.advise.settings import AdviseSettings
from metier.core import artefact, extras
from metier.core.errors import MetierError
from metier.core.progress import Progress
from metier.flow.data import prepare
from metier.model.find import Base
from metier.project import BaseFromConfig, Place, text_settings, train_settings
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.train import views
from metier.train.plan import TrainingPlan


def bases(place: Place, names: tuple[str, ...]) -> tuple[Path, dict[str, Any]]:
    """Look at the bases there are with the project's rows; returns where the result stands, and the result.

    Args:
        place: a project.
        names: bases to look at alone. None given: the project's, `advise.bases`, those below its folder, in the
            Hugging Face cache, and bundled ones.

    Raises:
        DataError: the project's rows cannot be read.
    """
    extras.require("train")
    from metier.advise.bases.judge import Cost
    from metier.advise.bases.run import Rows, look, publish

    prepared = prepare(place)
    text, rows = text_settings(place), load_split(prepared.path, "train")
    plan = TrainingPlan(text=text, model=place.project.model, train=train_settings(place), seed=place.project.seed)
    named = f"{artefact.read(prepared.path, 'snapshot').digest}/train"

    def price(base: Base) -> tuple[Cost, ...] | str:
        from metier.train.planning.methods import methods

        place.progress.say(f"bases: plan with {base.name}")
        try:
            seen = views.view(plan.train.objective, rows, open_renderer(base.folder, text))
            rendered = views.render(
                seen, rows, store=place.store, digest=named, progress=place.progress, prove=False
            )  # fmt: skip
            found = methods(base, plan, rendered, seen)
        except MetierError as error:
            return str(error)
        return tuple(
            Cost(method=way.name, memory=way.planned.simulation.memory.total, fits=way.planned.fits,
                 seconds=way.seconds)
            for way in found
        )  # fmt: skip

    where = Rows(
        snapshot=prepared.path, text=text, folder=place.folder, store=place.store, seed=place.project.seed
    )  # fmt: skip
    settings = place.project.advise
    shelf = candidates(_search(names, settings, place.folder, _named(place)), place.folder)
    facts = look(shelf, where, settings, price, place.progress)
    return publish(facts, place.store), facts


def bases_anywhere(folder: Path, names: tuple[str, ...], progress: Progress) -> dict[str, Any]:
    """Look at bases where there is no project: what they are and may, but neither what they take nor what they score.

    Args:
        folder: what names are relative to, and below which bases are looked for.
        names: bases to look at alone.
        progress: who listens.
    """
    extras.require("train")
    from metier.advise.bases.run import NO_ROWS, look

    settings = AdviseSettings()
    shelf = candidates(_search(names, settings, folder, ()), folder)
    return look(shelf, None, settings, lambda base: NO_ROWS, progress)


def _named(place: Place) -> tuple[str, ...]:
    """Return the bases that a project names."""
    base = place.project.base
    own = () if isinstance(base, BaseFromConfig) else (base,)
    return tuple(dict.fromkeys((*own, *place.project.advise.bases)))


def _search(names: tuple[str, ...], settings: AdviseSettings, folder: Path, own: tuple[str, ...]) -> Search:
    """Say where to look: for the names alone, or for everything there is."""
    if names:
        return Search(given=names, bundled=False)
    choosing = settings.choosing
    below = tuple((folder / Path(name).expanduser()).resolve() for name in choosing.below)
    return Search(given=own, below=below, cache=hub_cache() if choosing.cache else None)
