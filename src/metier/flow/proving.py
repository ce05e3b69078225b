"""From a trained model to the proof that what is served is what was trained."""

from time import perf_counter

from metier.core import extras, ledger
from metier.flow.found import Run, Stage, key_of, require_trained, skip
from metier.project import Place
from metier.promote.registry.settings import RegistrySettings


def prove(place: Place, run: Run) -> Stage:
    """Prove that what was saved, reloaded and merged is what was trained.

    Raises:
        ParityError: a hop changed the model; names it.
        InputError: the run is not trained yet.
    """
    require_trained(place, run)
    settings = place.project.promote.towards(place.project.serve.target)
    key = key_of(run, promote=settings.model_copy(update={"registry": RegistrySettings()}))  # it proves nothing
    target = run.path / "parity"
    if ledger.is_done(run.path, "prove", key, target) and ledger.is_intact(run.path / "model"):
        return skip(place, "prove", target, "this model was proven with these limits before")
    extras.require("train")
    from metier.promote.parity import prove as certify

    started = perf_counter()
    place.progress.say("prove: trained = saved = reloaded = merged?")
    path = certify(run.path, run.base, settings=settings, progress=place.progress)
    ledger.remember(run.path, "prove", key, path)
    return Stage(name="prove", path=path, seconds=perf_counter() - started)
