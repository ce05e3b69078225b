"""A rollout as the API and the command line tell it; imports no torch."""

from typing import Any

from metier.serve.rollouts.book import Rollout, Rollouts
from metier.serve.rollouts.rules import decide


def told(rollouts: Rollouts, rollout: Rollout) -> dict[str, Any]:
    """Return a rollout with what its answers were worth so far, and what follows from it."""
    counts = rollouts.counts(rollout.id)
    good, total = rollouts.agreement(rollout.id)
    next_move = decide(rollout.rules, rollout.step, counts) if rollout.kind == "canary" else None
    running = rollout.state == "running"
    return {
        "object": "rollout", "id": rollout.id, "alias": rollout.alias, "kind": rollout.kind, "stable": rollout.stable,
        "candidate": rollout.candidate, "share": rollout.share, "step": rollout.step, "state": rollout.state,
        "reason": rollout.reason, "created_at": rollout.created, "changed_at": rollout.changed,
        "signals": {
            name: {arm: {"good": count[0], "total": count[1]} for arm, count in arms.items()}
            for name, arms in counts.items()
        },
        "beside": {"same": good, "total": total} if rollout.kind == "shadow" else None,
        "next": {"move": next_move.move, "reason": next_move.reason} if next_move and running else None,
    }  # fmt: skip


def lines(facts: dict[str, Any]) -> list[str]:
    """Return what `told` returns as lines for people."""
    found = [f"{facts['alias']}: {facts['kind']} of {facts['candidate']} beside {facts['stable']}, {facts['state']}"]
    if facts["reason"]:
        found.append(f"because: {facts['reason']}")
    if facts["state"] == "running":
        found.append(f"share: {facts['share']:.0%}")
    for name, arms in facts["signals"].items():
        counts = ", ".join(f"{arm} {count['good']} of {count['total']}" for arm, count in sorted(arms.items()))
        if counts:
            found.append(f"{name}: {counts}")
    if facts["beside"]:
        found.append(f"answers beside: {facts['beside']['same']} of {facts['beside']['total']} the same")
    if facts["next"]:
        found.append(f"next: {facts['next']['move']} ({facts['next']['reason']})")
    return found
