"""A rollout of an alias of the registry moves the alias itself, once, and never against somebody's will."""

from pathlib import Path

import pytest

from metier.core.aliases import Aliases
from metier.core.errors import InputError, SignatureError
from metier.promote.registry import make
from metier.serve.audit import Audit
from metier.serve.database import connect
from metier.serve.rollouts.book import Rollout, Rollouts, wanted_of
from metier.serve.rollouts.overseer import Overseer
from metier.serve.rollouts.rules import CANDIDATE, STABLE
from metier.serve.settings import RolloutSettings
from tests.promote.registry.workshop import make_run, promote
from tests.serve.test_rollouts import judged

ALIAS = "support@production"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three versions, of which the first is in production."""
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    store = tmp_path / ".metier"
    for number in range(1, 4):
        promote(store, make_run(store, f"run-{number}", weights=b"%d" % number))
    for _ in range(2):
        make.back("support", "production", store)
    return store


def begun(store: Path, stable: str = "support@1", candidate: str = "support@2") -> tuple[Rollouts, Rollout]:
    rollouts = Rollouts(connect(store), store)
    settings = RolloutSettings(steps=(0.5,), least=20, margin=0.2)
    return rollouts, rollouts.start(wanted_of(settings, ALIAS, (stable, candidate)))


def look(store: Path) -> Rollout:
    rollouts = Rollouts(connect(store), store)
    Overseer(rollouts, Audit(connect(store), store), lambda name: True).look()
    found = rollouts.of(ALIAS)
    assert found is not None
    return found


def means(store: Path) -> int:
    with Aliases(store) as aliases:
        move = aliases.current("support", "production")
    assert move is not None
    return move.number


def win(store: Path, rollout: Rollout) -> None:
    judged(store, rollout.id, STABLE, good=400, bad=40)
    judged(store, rollout.id, CANDIDATE, good=400, bad=30)


def test_who_wins_is_what_the_alias_means(store: Path) -> None:
    _, rollout = begun(store)
    assert (look(store).state, means(store)) == ("running", 1)
    win(store, rollout)
    assert (look(store).state, means(store)) == ("promoted", 2)
    with Aliases(store) as aliases:
        assert aliases.history("support")[-1].reason.startswith(f"{rollout.id}: feedback")
    make.back("support", "production", store)
    assert (look(store).state, means(store)) == ("promoted", 1)  # the rollout does not move it again


def test_who_loses_leaves_it_as_it_is(store: Path) -> None:
    _, rollout = begun(store)
    judged(store, rollout.id, STABLE, good=300, bad=20)
    judged(store, rollout.id, CANDIDATE, good=30, bad=60)
    assert (look(store).state, means(store)) == ("rolled back", 1)


def test_a_move_by_hand_ends_it_and_stays(store: Path) -> None:
    rollouts, rollout = begun(store)
    win(store, rollout)
    with Aliases(store) as aliases:
        aliases.point("support", "production", 3)
    assert rollouts.end(rollout, "promoted", "asked for")
    ended = rollouts.of(ALIAS)
    assert ended is not None
    assert (ended.state, means(store)) == ("stopped", 3)
    assert "moved by somebody" in ended.reason
    begun(store, "support@3", "support@2")
    with Aliases(store) as aliases:
        aliases.point("support", "production", 1)
    assert (look(store).state, means(store)) == ("stopped", 1)


def test_a_server_that_died_before_the_alias_moved_is_made_up_for(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rollouts, rollout = begun(store)
    with monkeypatch.context() as dying:
        dying.setattr(Rollouts, "settle", lambda *given: None)
        assert rollouts.end(rollout, "promoted", "asked for")
    assert means(store) == 1
    assert (look(store).state, means(store)) == ("promoted", 2)


@pytest.mark.parametrize(
    ("stable", "candidate", "said"),
    [
        ("support@2", "support@3", "what it means now: support@1"),
        ("support@1", "support@9", "no such version"),
        ("support@1", "other@2", "two versions"),
        ("support@1", "support@production", "two versions"),
        ("old", "new", "not an alias|not the name"),
    ],
)
def test_only_what_the_alias_means_against_another_of_its_name(
    stable: str, candidate: str, said: str, store: Path
) -> None:
    with pytest.raises(InputError, match=said):
        begun(store, stable, candidate)


def test_a_candidate_that_is_not_as_it_was_signed_is_not_tried(store: Path) -> None:
    (store / "versions" / "support" / "2" / "model" / "adapter_model.safetensors").write_bytes(b"else")
    with pytest.raises(SignatureError):
        begun(store)
