"""From what a model did to its part in an evaluation."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from metier.evaluate.answer import Answered
from metier.evaluate.metrics import MARGIN, Side
from metier.text.tokenizer import Tokenizer


def side_of(
    name: str, answered: Answered, tokenizer: Tokenizer, sure: Mapping[str, np.ndarray] = MappingProxyType({})
) -> Side:
    """Return a model's answers as text, its losses, and how much likelier it finds the better of two answers.

    Args:
        name: the side's.
        answered: what the model did; with the losses of the worse answers behind those of the R rows, where there are.
        tokenizer: reads the answers back.
        sure: how sure it is of its labels, see `score.sureness`; empty: it was not asked.
    """
    count = len(answered.completions)
    nats = answered.rows[:, 0]
    return Side(
        name=name,
        outputs=tuple(None if entry is None else tokenizer.said(list(entry.ids)) for entry in answered.completions),
        ended=tuple(entry is None or entry.finish == "stop" for entry in answered.completions),
        nats=np.ascontiguousarray(nats[:count]),
        tokens=np.ascontiguousarray(answered.rows[:count, 1]),
        numbers=dict(sure) | ({MARGIN: nats[count:] - nats[:count]} if len(nats) > count else {}),
    )
