"""Rollouts of the registry's aliases, such as support@production: who wins there is what the alias means from then on.

While one runs, the alias goes on meaning what serves now; somebody who moves it by hand ends the rollout. No torch.
"""

from dataclasses import dataclass
from pathlib import Path

from metier.core import registry
from metier.core.aliases import Aliases
from metier.core.errors import InputError


def is_registered(alias: str) -> bool:
    """Tell whether a name is an alias of the registry, and not one that only this server knows."""
    return "@" in alias


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """An alias of the registry with two versions of its name: what it means, and what is tried."""

    name: str
    alias: str
    stable: int
    candidate: int


def contest(alias: str, stable: str, candidate: str) -> Contest:
    """Read `support@production`, `support@7` and `support@8`.

    Raises:
        InputError: they are not an alias and two numbers of one name.
    """
    name, which = registry.parse(alias)
    (first, before), (second, after) = registry.parse(stable), registry.parse(candidate)
    if isinstance(which, int):
        raise InputError(f"rollout {alias}: a version", f"an alias of it, such as {name}@production")
    if not (isinstance(before, int) and isinstance(after, int) and first == second == name):
        raise InputError(f"rollout {alias}: between {stable} and {candidate}", f"two versions such as {name}@7")
    return Contest(name=name, alias=which, stable=before, candidate=after)


def require_meant(store: Path, wanted: Contest) -> None:
    """Check that an alias means what a rollout says that it does, and that the candidate is there and signed.

    Raises:
        InputError: it means another version, or none.
        SignatureError: the candidate is not what was signed.
    """
    reference = f"{wanted.name}@{wanted.alias}"
    means = registry.find(store, reference)
    if means.number != wanted.stable:
        raise InputError(
            f"rollout {reference}: between {wanted.name}@{wanted.stable} and another",
            f"what it means now: {means.reference}",
        )
    registry.open_version(store, f"{wanted.name}@{wanted.candidate}")


def means(store: Path, asked: Contest) -> int | None:
    """Return which version an alias means now; None: none."""
    return registry.meant(store).get((asked.name, asked.alias))


def promote(store: Path, asked: Contest, *, rollout: str, reason: str) -> None:
    """Let an alias mean the candidate, if it still means what served before and this rollout never moved it."""
    with Aliases(store) as aliases:
        now = aliases.current(asked.name, asked.alias)
        if now is None or now.number != asked.stable:
            return
        history = aliases.history(asked.name)
        if not any(move.alias == asked.alias and move.reason.startswith(rollout) for move in history):
            aliases.point(asked.name, asked.alias, asked.candidate, reason=f"{rollout}: {reason}")
