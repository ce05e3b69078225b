"""From a run to a version that is served: the gate, parity and licences are asked; back again in one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.core import extras, registry
from metier.core.aliases import Move
from metier.core.errors import InputError
from metier.core.registry import Version
from metier.evaluate import against, stored
from metier.evaluate.gate import decide as gate
from metier.flow.data import prepare
from metier.flow.found import locate
from metier.model.find import Base, find
from metier.project import FILE, Place, find_run, name_of, text_settings
from metier.promote.registry import licences, make
from metier.promote.registry.decision import Condition, Decision, decide, require_current
from metier.promote.registry.settings import RegistrySettings
from metier.resolved import base_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """A version, the move that let an alias mean it, and why it was allowed."""

    version: Version
    move: Move
    decision: Decision


def promote(place: Place, name: str | None, *, alias: str, despite: str | None = None) -> Promoted:
    """Make a version of a run, or take one that is there, and let an alias mean it.

    Args:
        place: the project.
        name: of a run or a version; None: the run of these settings.
        alias: what shall mean it, `production`.
        despite: why it is promoted even if gate, parity or licences say no; kept with the version.

    Raises:
        GateError: the gate, parity or a licence says no, and no reason was given to do it all the same.
        InputError: the run is not trained, evaluated and proven.
    """
    registry.require_alias(alias)
    path = find_run(place, name) if name is not None else locate(place, prepare(place).path).path
    settings = place.project.promote.registry
    evaluation = stored.read(path).facts
    require_current(path, evaluation)
    base = _base(place, path)
    asks = licences.join(
        base=settings.base_licence or licences.of_base(base.folder), data=settings.data_licence or "unknown",
        model=settings.licence, use=settings.use,
    )  # fmt: skip
    held = [
        Condition(name=condition.name, holds=condition.holds, told=condition.told)
        for condition in gate.conditions(evaluation, place.project.gate, against.read(path))
    ]
    decision = decide(path, held, asks, despite)
    if name is not None and "@" in name:
        version = registry.find(place.store, name)
    else:
        asked = make.Asked(
            name=name_of(place.project, place.folder), run=path, base=base, project=place.folder / FILE,
            decision=decision, licences=asks, evaluation=evaluation, signing_key=_key(place, settings),
            calibrate=lambda: _calibration(place, path, base, evaluation),
        )  # fmt: skip
        version = make.make(asked, place.store, place.progress)
        registry.checked(version, place.store)
    move = make.point(version, alias, place.store, reason=decision.despite)
    return Promoted(version=version, move=move, decision=decision)


def rollback(place: Place, alias: str, *, reason: str = "") -> Move:
    """Let an alias mean again the version that it meant before its last promotion.

    Args:
        place: the project.
        alias: `production`, or `NAME@production` of another name.
        reason: kept in the history.

    Raises:
        InputError: there is none before.
        SignatureError: what is there is not what was signed; nothing was moved.
    """
    name, _, which = alias.rpartition("@")
    name = name or name_of(place.project, place.folder)
    return make.back(name, registry.require_alias(which), place.store, reason=reason)


def _base(place: Place, run: Path) -> Base:
    """Return the base that a run was trained on, wherever the project points now."""
    named = stored.read(run).facts["conditions"]["base"]
    base = base_of(place)
    if base.digest != named["digest"]:
        base = find(named["name"], place.folder)
    if base.digest != named["digest"]:
        raise InputError(f"base {base.name}: changed since {run.name} was trained on it", "the same base")
    return base


def _calibration(place: Place, run: Path, base: Base, evaluation: Mapping[str, Any]) -> make.Calibrated:
    """Return how sure a run should be of its decisions, where it makes any, and why; what was chosen is told."""
    wanted = place.project.promote.registry.calibrate
    if wanted is False or (wanted is None and extras.missing("train")):
        return None, "as set" if wanted is False else extras.install_line("train")
    from metier.engine.adapters import why_unmixable
    from metier.serve.calibrate import for_version
    from metier.serve.catalogue import Catalogue

    models = Catalogue(
        place.folder, place.store, base, text=text_settings(place), mixable=lambda folder: not why_unmixable(folder)
    )
    found, choice = for_version(
        models.find(run.name), place.store, place.progress, wanted=wanted,
        judged_by=evaluation["conditions"]["split"],
    )  # fmt: skip
    place.progress.chose(choice)
    return found, choice.reason


def _key(place: Place, settings: RegistrySettings) -> Path | None:
    return None if settings.signing_key is None else place.folder / Path(settings.signing_key).expanduser()
