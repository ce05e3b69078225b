"""Free text against a reference: BLEU, chrF, ROUGE by kept libraries, GLEU and likeness. n = rows.

BLEU comes as columns that add up over rows, so that a resample of rows is a corpus of its own; the others are means.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from metier.core import extras

_ORDERS = 4
ROUGES = ("rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l")


def bleu_columns(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return float64 [n, 10]: right n-grams of four orders, n-grams of the answer, length of answer and reference.

    Counted by sacrebleu with its default tokens (13a).

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    metric = extras.load("sacrebleu", "judge").BLEU(effective_order=False)
    table = np.zeros((len(outputs), 2 * _ORDERS + 2))
    for row, (output, reference) in enumerate(zip(outputs, references, strict=True)):
        found = metric.corpus_score([output], [[reference]])
        table[row] = (*found.counts, *found.totals, found.sys_len, found.ref_len)
    return table


def bleu(sums: np.ndarray) -> np.ndarray:
    """Return corpus BLEU in [0, 1], [...] from sums [..., 10] (K. Papineni et al. 2002; no smoothing).

    Zero where an order has no right n-gram at all, where sacrebleu would smooth; not-a-number without any row.
    """
    right, all_of, said, wanted = sums[..., :4], sums[..., 4:8], sums[..., 8], sums[..., 9]
    share = np.divide(right, all_of, out=np.zeros_like(right), where=all_of > 0)
    with np.errstate(divide="ignore"):
        mean = np.exp(np.log(share).mean(axis=-1))
    gap = np.divide(wanted, said, out=np.full(said.shape, np.inf), where=said > 0)
    value = mean * np.exp(np.minimum(0.0, 1.0 - gap))
    return np.where(wanted > 0, value, np.nan)


def chrf(outputs: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return chrF of each row in [0, 1] (M. Popović 2015), by sacrebleu.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    metric = extras.load("sacrebleu", "judge").CHRF()
    return [
        metric.sentence_score(output, [wanted]).score / 100 for output, wanted in zip(outputs, references, strict=True)
    ]


def rouge(kind: str, outputs: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return the F-measure of each row in [0, 1] (C.-Y. Lin 2004), by rouge-score with stemming.

    ROUGE-L is its number, too, but not by its table, for which ten thousand words take minutes.

    Args:
        kind: one of `ROUGES`.
        outputs: the answers.
        references: the right answers.

    Raises:
        MissingExtraError: rouge-score is not installed.
    """
    if kind == "rouge_l":
        tokenizer = extras.load("rouge_score.tokenizers", "judge").DefaultTokenizer(use_stemmer=True)
        pairs = zip(outputs, references, strict=True)
        return [_measure(*(tokenizer.tokenize(text) for text in pair)) for pair in pairs]
    name = kind.replace("_", "")
    scorer = extras.load("rouge_score.rouge_scorer", "judge").RougeScorer([name], use_stemmer=True)
    return [scorer.score(wanted, output)[name].fmeasure for output, wanted in zip(outputs, references, strict=True)]


def gleu(output: str, reference: str) -> float:
    """Return GLEU in [0, 1] (Y. Wu et al. 2016): the lesser of precision and recall over all 1- to 4-grams."""
    said, wanted = (_grams(text.split()) for text in (output, reference))
    most = max(said.total(), wanted.total())
    return (said & wanted).total() / most if most else 1.0


def likeness(output: str, reference: str) -> float:
    """Return how alike two texts are, character by character, in [0, 1]: what they share in order, of all they have.

    The ratio of rapidfuzz, which OpenAI's `fuzzy_match` is: 2 × the longest common subsequence / both lengths.
    """
    both = len(output) + len(reference)
    return 2 * common(output, reference) / both if both else 1.0


def common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return the length of the longest common subsequence, a row of the usual table at a time as the bits of a number.

    A bit is 0 where the table rises (H. Hyyrö 2004); adding carries a rise to the next match.
    """
    places: dict[Hashable, int] = {}
    for place, symbol in enumerate(one):
        places[symbol] = places.get(symbol, 0) | 1 << place
    whole = (1 << len(one)) - 1
    row = whole
    for symbol in other:
        matches = row & places.get(symbol, 0)
        row = (row + matches | row - matches) & whole
    return len(one) - row.bit_count()


def _measure(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the F-measure of the longest common subsequence of words, as rouge-score computes it."""
    shared = common(wanted, said)
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def similarities(kind: str, outputs: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return a similarity of each row in [0, 1] by its name: chrf, rouge_…, gleu or fuzzy_match."""
    if kind in ROUGES:
        return rouge(kind, outputs, references)
    if kind == "chrf":
        return chrf(outputs, references)
    single: Callable[[str, str], float] = {"gleu": gleu, "fuzzy_match": likeness}[kind]
    return [single(output, wanted) for output, wanted in zip(outputs, references, strict=True)]


def _grams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(words[start : start + order]) for order in range(1, 5) for start in range(len(words) - order + 1)
    )
