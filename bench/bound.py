"""How much less arithmetic a forest needs than padded rows: the ratio of speeds where both are equally efficient.

`python -m bench.bound` prints it for every row of the speed table, from the same rows and micro-batches. Beyond
it a contender is faster only by computing at a higher rate than the other.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from statistics import mean

from bench import rows, shapes
from bench.gemm import FACTOR
from bench.shapes import Shape
from bench.train_speed import MICRO_BATCH

_STEPS = 6
_SCORE = 14
"""Operations a pair of positions and number of a head: 4 forward (scores, and the sum of values), 10 back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a step is made of: tokens through the layers, tokens through the last one's queries, pairs of positions."""

    tokens: float
    last: float
    pairs: float
    labels: int

    def operations(self, shape: Shape, method: str) -> float:
        """Count multiplications and additions of a step."""
        keys = 2 * shape.hidden * shape.key_heads * (shape.hidden // shape.heads)
        last = shape.body / shape.layers - keys
        products = shape.body * self.tokens - last * (self.tokens - self.last) + shape.head * self.labels
        return FACTOR[method] * products + _SCORE * shape.hidden * shape.layers * self.pairs


def padded(examples: Many[rows.Example], micro_batch: int) -> Work:
    """Return the work of a hand-written loop: every row as long as the longest beside it, the head at labels."""
    longest = [
        max(len(example.ids) for example in examples[start : start + micro_batch])
        for start in range(0, len(examples), micro_batch)
    ]
    tokens = micro_batch * sum(longest)
    pairs = micro_batch * sum(length**2 for length in longest)
    return Work(tokens=tokens, last=tokens, pairs=pairs, labels=_labels(examples))


def shared(examples: Many[rows.Example], begin: int) -> Work:
    """Return the work of a forest: a common beginning of `begin` tokens once, the last layer at labels."""
    own = [len(example.ids) - begin for example in examples]
    pairs = begin**2 / 2 + sum(length * begin + length**2 / 2 for length in own)
    labels = _labels(examples)
    return Work(tokens=rows.unique_tokens(examples), last=labels, pairs=pairs, labels=labels)


def _labels(examples: Many[rows.Example]) -> int:
    return sum(label != -100 for example in examples for label in example.labels)


def main() -> None:
    """Print the table."""
    print("| model | work | method | tokens | operations | head's share of ours |\n|---|---|---|--:|--:|--:|")
    for name in ("S", "M"):
        shape = shapes.SHAPES[name]
        for work, settings in rows.WORKS.items():
            steps = [rows.step(work, shape.vocabulary, number) for number in range(_STEPS)]
            begin = settings.system + 3 if settings.system else 1  # its marker, its end, and the next one's marker
            pairs = [(padded(step, MICRO_BATCH[name]), shared(step, begin)) for step in steps]
            tokens = mean(theirs.tokens / ours.tokens for theirs, ours in pairs)
            for method in FACTOR:
                counted = [[side.operations(shape, method) for side in pair] for pair in pairs]
                ratio = mean(theirs / ours for theirs, ours in counted)
                heads = [FACTOR[method] * shape.head * ours.labels for _, ours in pairs]
                head = mean(part / ours for part, (_, ours) in zip(heads, counted, strict=True))
                print(f"| {name} | {work} | {method} | {tokens:.2f}× | {ratio:.2f}× | {head:.0%} |")


if __name__ == "__main__":
    main()
