"""Choose micro-batches and checkpointing so that a run fits, and refuse one that cannot, before weights are loaded."""

from dataclasses import dataclass
from functools import partial

from metier.core.errors import SettingsError
from metier.core.types import Reasoned
from metier.report.cells import size
from metier.text.rendered import Rendered
from metier.train.batches import Ordered
from metier.train.planning.predict import Configuration, Setting, Simulation, simulate
from metier.train.planning.tokens import Usage, usage

_PREFERRED_ON_CPU = {"lora": 1024, "full": 1024, "layers": 4096}
"""Fastest micro-batches by method: measured on the 15M shape, full on the 135M shape too, one core."""
_PREFERRED_NARROW = {"full": 2048}
_NARROW, _MOSTLY = 384, 0.6
"""Up to this width, where more than this share of a step's tokens repeats others, more tokens are faster: each further
micro-batch has to meet the long beginning again. Of other rows they only take memory (docs/log.md)."""
UNPLANNED_TOKENS = 1024
"""Tokens computed at once where nothing was planned: in a proof, a trial of a sweep, a way unknown to the planner."""
_PREFERRED_ELSEWHERE = 16_384
_LEAST = 256
_USABLE = 0.9
"""Share of the memory there is that a plan may fill; the rest is for what else happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The chosen configuration, gone through; what an epoch consists of; the bytes there are."""

    simulation: Simulation
    usage: Usage
    room: int

    @property
    def fits(self) -> bool:
        """Tell whether it fits."""
        return self.simulation.memory.total <= _USABLE * self.room

    def choices(self, model_asked: bool | None, tokens_asked: int | None) -> list[Reasoned]:
        """Return what was chosen, with its reason."""
        chosen = self.simulation.configuration
        fits = f"fits {size(self.simulation.memory.total)} of {size(self.room)}"
        needed = "does not fit without" if chosen.checkpointing else "not needed"
        return [
            Reasoned(
                name="train.micro_batch_tokens", value=chosen.micro_batch_tokens,
                reason=fits if tokens_asked is None else f"as set; {fits}",
            ),
            Reasoned(
                name="model.gradient_checkpointing", value=chosen.checkpointing,
                reason=needed if model_asked is None else "as set",
            ),
        ]  # fmt: skip

    def line(self) -> str:
        """Say it in one line."""
        epoch = self.usage
        return (
            f"plan: {epoch.shared:,} tokens computed in an epoch ({epoch.padded:,} padded, {epoch.packed:,} packed: "
            f"{epoch.speed_up:.1f}× fewer than padded), "
            f"{100 * epoch.label_share:.0f} % of all are learnt; about {size(self.simulation.memory.total)} of memory"
        )


def choose(
    setting: Setting,
    method: str,
    *,
    rendered: Rendered,
    order: Ordered,
    asked: tuple[int | None, bool | None],
    room: int,
) -> Planned:
    """Take the preferred micro-batch, and where it does not fit smaller ones, then checkpointing.

    Args:
        setting: base, adapters, what the process holds.
        method: resolved.
        rendered: the training rows.
        order: in which they are drawn in an epoch.
        asked: `train.micro_batch_tokens` and `model.gradient_checkpointing` as set.
        room: bytes there are.

    Returns:
        The first that fits, or the last tried.
    """
    tokens, checkpointing = asked
    if tokens is None:
        counted = usage(rendered, order, partial(setting.arrange, budget=UNPLANNED_TOKENS, method=method))
        most = fastest_tokens(method, setting.device, setting.width, counted.repeated)
        budgets = [most >> half for half in range(8) if most >> half >= _LEAST]
    else:
        budgets = [tokens]
    planned = None
    for recompute in [checkpointing] if checkpointing is not None else [False, True]:
        for budget in budgets:
            counted = usage(rendered, order, partial(setting.arrange, budget=budget, method=method))
            configuration = Configuration(
                method=method, checkpointing=recompute, micro_batch_tokens=budget, quantise=setting.model.quantise
            )
            simulation = simulate(setting, configuration, setting.arrange(counted.heaviest, budget, method))
            planned = Planned(simulation=simulation, usage=counted, room=room)
            if planned.fits:
                return planned
    assert planned is not None
    return planned


def fastest_tokens(method: str, device: str, width: int, repeated: float) -> int:
    """Return the micro-batch in tokens that trains fastest where memory is no question.

    Args:
        method: resolved.
        device: its type.
        width: hidden size of the base.
        repeated: share of a step's tokens that are not computed again.
    """
    if device != "cpu":
        return _PREFERRED_ELSEWHERE
    if width <= _NARROW and repeated > _MOSTLY and method in _PREFERRED_NARROW:
        return _PREFERRED_NARROW[method]
    return _PREFERRED_ON_CPU.get(method, UNPLANNED_TOKENS)


def require_fit(planned: Planned, smaller: str) -> None:
    """Refuse a run that cannot fit.

    Raises:
        SettingsError: with what it needs, what there is and what would fit.
    """
    if not planned.fits:
        memory, chosen = planned.simulation.memory, planned.simulation.configuration
        raise SettingsError(
            f"{chosen.name} with micro-batches of {chosen.micro_batch_tokens:,} tokens needs {size(memory.total)} "
            f"(weights {size(memory.weights)}, optimiser and gradients {size(memory.optimiser + memory.gradients)}, "
            f"activations {size(memory.activations)})",
            f"at most {size(_USABLE * planned.room)}, nine tenths of the memory here",
            smaller,
        )
