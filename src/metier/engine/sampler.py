"""From logits to tokens: each row by its own rules and its own numbers, whoever stands beside it.

Shapes: B = rows, V = vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from metier.core import seeds
from metier.core.errors import DataError
from metier.engine.request import Chance, Constraint, Sampling

_BELOW_ONE = 1 - 1e-12
"""So that a number that rounds to one still falls on a token that has a share."""


@dataclass(slots=True, kw_only=True)
class Draw:
    """What the next token of one answer depends on beside its logits."""

    sampling: Sampling
    constraint: Constraint | None = None
    chances: int | None = None
    written: dict[int, int] = field(default_factory=dict)
    place: int = 0


def table(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return rows [V] as one table [B, V]; not copied where they lie behind one another, as those of one pass do."""
    first, step = rows[0], rows[0].nbytes
    start, storage = first.data_ptr(), first.untyped_storage().data_ptr()
    for place, row in enumerate(rows):
        apart = row.data_ptr() != start + place * step or row.untyped_storage().data_ptr() != storage
        if apart or not row.is_contiguous() or row.nbytes != step:
            return torch.stack(list(rows))
    return first.as_strided((len(rows), len(first)), (len(first), 1))


def sample(
    logits: torch.Tensor, draws: Sequence[Draw], likeliest: torch.Tensor | None = None
) -> tuple[list[int], list[Chance | None]]:
    """Return a token for each row of logits float [B, V], and its chance where that is asked for.

    Chances are those of the model before any rule of the request changes them. Draws are by inverse cumulative
    probability with one number a token, a function of the request's seed and the token's place.

    Args:
        logits: as the model wrote them; left as they are.
        draws: what each row's token depends on.
        likeliest: int64 [B], the likeliest token of each row, where that is known already.
    """
    raw = logits.float()
    wanted = [row for row, draw in enumerate(draws) if draw.chances is not None]
    shaped, tokens = raw, likeliest
    if any(_is_changed(draw) for draw in draws):
        shaped, tokens = raw.clone(), None
        for row, draw in enumerate(draws):
            _change(shaped[row], draw)
    tokens = shaped.argmax(dim=-1) if tokens is None else tokens.clone()
    warm = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0]
    if warm:
        tokens[warm] = _drawn(shaped[warm], [draws[row] for row in warm])
    chosen = tokens.tolist()
    found: list[Chance | None] = [None] * len(draws)
    if wanted:
        logp = torch.log_softmax(raw[wanted], dim=-1)
        for place, row in enumerate(wanted):
            found[row] = chance(logp[place], chosen[row], draws[row].chances or 0)
    return chosen, found


def sample_each(
    logits: torch.Tensor, draws: Sequence[Draw], likeliest: torch.Tensor | None = None
) -> list[tuple[int, Chance | None] | DataError]:
    """Return what `sample` returns, row by row of logits [B, V]; for a row whose rules cannot be kept, the error."""
    try:
        return [*zip(*sample(logits, draws, likeliest), strict=True)]
    except DataError as error:
        if len(draws) == 1:
            return [error]
    return [found for row, draw in enumerate(draws) for found in sample_each(logits[row : row + 1], [draw])]


def chance(logp: torch.Tensor, token: int, count: int) -> Chance:
    """Return the chance of a token, given log-probabilities [V], with the `count` likeliest."""
    best = torch.topk(logp, count) if count else None
    top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)) if best is not None else ()
    return Chance(token=token, logprob=float(logp[token]), top=top)


def _is_changed(draw: Draw) -> bool:
    rules = draw.sampling
    penalised = bool(draw.written) and (rules.presence != 0 or rules.frequency != 0)
    return bool(rules.bias) or penalised or draw.constraint is not None


def _change(row: torch.Tensor, draw: Draw) -> None:
    """Apply bias, penalties and constraint to one row [V], in place."""
    rules = draw.sampling
    if rules.bias:
        ids = torch.tensor(list(rules.bias), device=row.device)
        row[ids] += torch.tensor(list(rules.bias.values()), device=row.device)
    if draw.written and (rules.presence or rules.frequency):
        ids = torch.tensor(list(draw.written), device=row.device)
        counts = torch.tensor(list(draw.written.values()), device=row.device, dtype=row.dtype)
        row[ids] -= rules.presence + rules.frequency * counts
    if draw.constraint is not None:
        allowed = np.zeros(len(row), dtype=bool)
        given = draw.constraint.allowed()[: len(row)]
        allowed[: len(given)] = given
        row.masked_fill_(~torch.from_numpy(allowed).to(row.device), -torch.inf)


def _drawn(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Return int64 [B] tokens of rows [B, V] whose temperature is above 0."""
    heat = torch.tensor([draw.sampling.temperature for draw in draws], device=logits.device)
    shares = torch.softmax((logits / heat[:, None]).double(), dim=-1)
    cut = [row for row, draw in enumerate(draws) if draw.sampling.top_k or draw.sampling.top_p < 1]
    if cut:
        shares[cut] = _cut(shares[cut], [draws[row].sampling for row in cut])
    total = shares.cumsum(dim=-1)
    numbers = [seeds.unit("sample", draw.sampling.seed, draw.sampling.stream, draw.place) for draw in draws]
    points = torch.tensor(numbers, dtype=torch.float64, device=logits.device)[:, None] * total[:, -1:] * _BELOW_ONE
    found = torch.searchsorted(total, points, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return found


def _cut(shares: torch.Tensor, rules: Sequence[Sampling]) -> torch.Tensor:
    """Keep of each row [V] the k likeliest, and of these the fewest whose shares reach p (Holtzman et al. 2020)."""
    ordered, order = shares.sort(dim=-1, descending=True, stable=True)
    size = shares.shape[-1]
    most = torch.tensor([rule.top_k or size for rule in rules], device=shares.device)
    ordered[torch.arange(size, device=shares.device)[None] >= most[:, None]] = 0
    ordered /= ordered.sum(dim=-1, keepdim=True)
    reach = torch.tensor([rule.top_p for rule in rules], dtype=torch.float64, device=shares.device)
    ordered[ordered.cumsum(dim=-1) - ordered >= reach[:, None]] = 0
    return torch.zeros_like(shares).scatter_(1, order, ordered)
