"""Whose tokens the next pass computes, and what a pass tells about a prompt's own tokens.

Shapes: W = the last tokens of a part whose logits are asked for, V = vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch

from metier.engine import sampler
from metier.engine.mixture import Adapter
from metier.engine.run import Run
from metier.engine.way import Part


def chosen(active: Sequence[Run], held: Mapping[int, Adapter], most_read: int) -> list[tuple[Run, Part]]:
    """Return what the next pass computes: single tokens first, by slot, then prompts up to `most_read` tokens.

    Args:
        active: answers on their way.
        held: adapters in use, by the identity of their runs.
        most_read: tokens of prompts that a pass reads.
    """
    singles = sorted((run for run in active if run.left == 1 and not _scores(run)), key=lambda run: run.slot)
    reading = [run for run in active if run.left > 1 or (run.left == 1 and _scores(run))]
    spans = []
    for run in reading:
        if most_read <= 0:
            break
        count = min(run.left, most_read)
        spans.append((run, _part(run, count, held)))
        most_read -= count
    spans.sort(key=lambda pair: len(pair[1].ids) != 1)
    return [*((run, _part(run, 1, held)) for run in singles), *spans]


def tell_prompt(run: Run, part: Part, logits: torch.Tensor) -> None:
    """Note the chances of the prompt's own tokens, given logits [W, V] of the part's last positions."""
    if not _scores(run):
        return
    start = part.past + len(part.ids) - part.wanted
    logp = torch.log_softmax(logits.float(), dim=-1)
    count = run.request.chances or 0
    told = [
        sampler.chance(logp[row], run.ids[start + row + 1], count)
        for row in range(part.wanted)
        if start + row + 1 < len(run.request.ids)
    ]
    run.told(told)


def _scores(run: Run) -> bool:
    return run.request.score_from is not None and run.is_reading


def _part(run: Run, count: int, held: Mapping[int, Adapter]) -> Part:
    stop = run.computed + count
    wanted = 1 if stop == len(run.ids) else 0
    if _scores(run):
        wanted = max(wanted, min(count, stop - max(0, (run.request.score_from or 0) - 1)))
    ids = run.ids[run.computed : stop]
    return Part(slot=run.slot, past=run.computed, ids=ids, wanted=max(0, wanted), adapter=held.get(id(run)))
