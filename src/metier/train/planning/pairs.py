"""Planning for preferences: rows of which the base has not been asked yet, and how long asking it will take."""

from dataclasses import replace

import numpy as np

from metier.forest.arrange import arrange
from metier.forest.read import AT_ONCE, READ_TOKENS
from metier.text.rendered import Rendered
from metier.train.planning.pace import Pace

_MOST_GROUPS = 16


def unasked(rendered: Rendered) -> Rendered:
    """Return pairs as a run has them, with zeros for what the base gives their answers: sizes do not depend on it."""
    return replace(rendered, targets=np.zeros((len(rendered), 1), np.float32))


def seconds(rendered: Rendered, pace: Pace) -> float:
    """Return how long the base takes to read every answer once."""
    return pace.reading * read_tokens(rendered) / pace.tokens


def read_tokens(rendered: Rendered) -> int:
    """Return the tokens of that reading, from a sample of the groups that are read together, evenly spread."""
    starts = range(0, len(rendered), AT_ONCE)
    count = min(len(starts), _MOST_GROUPS)
    chosen = [starts[place * len(starts) // count] for place in range(count)]
    computed = given = 0
    for start in chosen:
        group = [rendered.sequence(number) for number in range(start, min(start + AT_ONCE, len(rendered)))]
        computed += arrange(group, READ_TOKENS).computed
        given += sum(map(len, group))
    return round(computed * len(rendered.ids) / given)
