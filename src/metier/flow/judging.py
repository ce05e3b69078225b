"""From a model to a judgement: what pays before anybody trains, and whether the tuned model is better than its base."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from metier.core import artefact, digest, extras, ledger
from metier.core.errors import DataError, InputError
from metier.core.progress import OnlyBars
from metier.core.report import Report
from metier.evaluate import stored
from metier.evaluate.opponents.ground import PROMPT, Ground, is_opponent
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.stored import Evaluation
from metier.flow.data import prepare
from metier.flow.found import Run, Stage, key_of, locate, require_trained, skip
from metier.model.find import Base, find
from metier.project import FILE, Place, find_run, read_file


def advise(place: Place) -> Stage:
    """Measure on validation rows what the task scores without training, and after quick trainings; advise.

    Raises:
        DataError: there are no validation rows, or none with a question and an answer.
    """
    settings, started = place.project.advise, perf_counter()
    prepared = prepare(place)
    extras.require("train")
    from metier.advise.run import Where
    from metier.advise.run import advise as measure
    from metier.train.quick import quickly
    from metier.train.run import train as fit

    found = locate(place, prepared.path)

    def teach(snapshot: Path, base: Base, run: Path, steps: int) -> Path:
        quick = quickly(found.plan, steps)
        return fit(snapshot, base, run=run, settings=quick, progress=OnlyBars(place.progress)) / "model"

    where = Where(
        snapshot=prepared.path, bases=(found.base, *(find(name, place.folder) for name in settings.bases)),
        folder=place.folder, store=place.store, text=found.plan.text, values=read_file(place.folder / FILE),
        taught=digest.of_value(quickly(found.plan, 1).as_dict()), seed=place.project.seed,
    )  # fmt: skip
    path = measure(where, settings, teach, place.progress)
    return Stage(name="advise", path=path, seconds=perf_counter() - started)


def evaluate(place: Place, run: Run) -> Stage:
    """Compare base and tuned model on the same held-out rows, and with everybody whom `evaluate.against` names.

    Raises:
        InputError: the run is not trained yet, or an opponent is not there.
        DataError: an opponent did not answer.
    """
    require_trained(place, run)
    stage = _against_base(place, run)
    _against_others(place, run)
    return stage


def _against_base(place: Place, run: Run) -> Stage:
    settings = _with_rewards(place.project.evaluate, run).model_copy(update={"against": ()})  # others change nothing
    key = key_of(run, evaluate=settings, text=run.plan.text)
    target = run.path / "evaluation"
    if ledger.is_done(run.path, "evaluate", key, target):
        return skip(place, "evaluate", target, "this model was evaluated with these settings before")
    extras.require("train")
    from metier.evaluate.run import evaluate as measure

    started = perf_counter()
    place.progress.say(f"evaluate: {run.base.name} against {run.id}, on the {settings.split} split")
    path = measure(run.snapshot, run.base, run.path, text=run.plan.text, settings=settings, progress=place.progress)
    ledger.remember(run.path, "evaluate", key, path)
    return Stage(name="evaluate", path=path, seconds=perf_counter() - started)


def _with_rewards(settings: EvaluateSettings, run: Run) -> EvaluateSettings:
    """Let a model that learnt from rewards be judged by what gave them, unless the project names graders itself."""
    learnt = run.plan.train.objective.reinforce
    if learnt.grader is None or settings.graders:
        return settings
    most = settings.max_new_tokens or learnt.max_new_tokens
    judge = settings.judge if settings.judge.url is not None else learnt.judge
    return settings.model_copy(update={"graders": (learnt.grader,), "judge": judge, "max_new_tokens": most})


def _against_others(place: Place, run: Run) -> None:
    """Hold an evaluated run against others; what is concluded stands beside its evaluation."""
    names = place.project.evaluate.against
    if not names:
        return
    from metier.evaluate import against
    from metier.evaluate.compare import conclude

    ground = _ground(place, run.path)
    evaluation = artefact.read(run.path / stored.FOLDER, stored.KIND).digest
    key = digest.of_value([evaluation, [_identity(place, name) for name in names]])
    target = run.path / against.FOLDER
    if ledger.is_done(run.path, "against", key, target):
        return
    found = []
    for name in names:
        place.progress.say(f"evaluate: against {name}")
        told = conclude(_opponent(place, name, ground, run.path), run.path)
        found.append(against.entry(name, told))
    ledger.remember(run.path, "against", key, against.write(run.path, found))


def _identity(place: Place, name: str) -> list[str | None]:
    """Return what the answers of an opponent are a function of."""
    from metier.evaluate.opponents import prompted

    if name.startswith(PROMPT):
        return [name, prompted.read((place.folder / Path(name.removeprefix(PROMPT)).expanduser()).resolve()).digest]
    if is_opponent(name):
        return [name, place.project.evaluate.judge.url]
    return [name, artefact.read(find_run(place, name) / "model", "model").digest]


def _opponent(place: Place, name: str, ground: Ground, run: Path) -> Path | Evaluation:
    """Return the evaluation of a run or a version if it was asked these rows, else ask: it, a prompt, an endpoint."""
    from metier.evaluate import conditions
    from metier.evaluate.opponents.stand import stand

    if is_opponent(name):
        return stand(name, ground)
    path = find_run(place, name)
    if artefact.exists(path / stored.FOLDER, stored.KIND):
        asked = (stored.read(each).facts["conditions"] for each in (path, run))
        if not conditions.unpairable(*asked):
            return path
    return stand(name, replace(ground, model=path / "model"))


def compare(place: Place, first: str, *others: str) -> Report:
    """Compare the first with others: `base`, a run, `prompt:FILE`, `remote:MODEL`, `classifier:WAY`.

    The same thing twice is identical. The last three, and a base that stands against them, are asked: the rows, limits
    and settings of the run that they are compared with, or the project's where there is none.

    Raises:
        DataError: a run was not evaluated, or on other rows; a row was not answered.
        InputError: there is no such run or file.
    """
    from metier.evaluate.compare import compare as judge
    from metier.evaluate.several import several

    names = (first, *others)
    if len(names) > 2 and len(set(names)) < len(names):
        raise InputError(f"compare {' '.join(names)}: one of them stands there twice", "each model once")
    sides = _sides(place, names)
    return judge(*sides) if len(sides) == 2 else several(*sides)


def _sides(place: Place, names: tuple[str, ...]) -> list[Path | Evaluation | None]:
    """Find who is compared; ask those who have to be asked."""
    if not any(is_opponent(name) for name in names):
        return [None if name == "base" else find_run(place, name) for name in names]
    extras.require("train")
    from metier.evaluate.opponents.stand import stand

    runs = [find_run(place, name) for name in names if name != "base" and not is_opponent(name)]
    ground = _ground(place, runs[0] if runs else None)
    known = [None if name == "base" or is_opponent(name) else find_run(place, name) for name in names]
    return [run if run is not None else stand(name, ground) for name, run in zip(names, known, strict=True)]


def _ground(place: Place, run: Path | None) -> Ground:
    """Return what opponents are asked: what the run was asked, else what the project's settings say."""
    from metier.advise.classifier import classify

    prepared = prepare(place)
    found = locate(place, prepared.path)
    settings, limit, only, questions = place.project.evaluate, None, None, None
    if run is not None:
        evaluation = stored.read(run)
        asked = evaluation.facts["conditions"]
        if any(question.headed for question in evaluation.questions):
            questions = evaluation.questions
        if asked["snapshot"] != artefact.read(prepared.path, "snapshot").digest:
            raise DataError(
                f"run {run.name}: evaluated on other data than the project's now", "the same held-out rows",
                "`metier evaluate` again, then compare",
            )  # fmt: skip
        judge = settings.judge
        settings = EvaluateSettings.model_validate(asked["settings"]).model_copy(update={"judge": judge})
        limit = asked["decoding"].get("max_new_tokens")
        only = frozenset(question.row_id for question in evaluation.questions)
    return Ground(
        snapshot=prepared.path, base=found.base, text=found.plan.text, settings=settings, folder=place.folder,
        store=place.store, progress=place.progress, limit=limit, only=only, questions=questions, classify=classify,
    )  # fmt: skip
