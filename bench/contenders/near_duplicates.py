"""Clusters by datasketch or text-dedup, in their own environment: prints `[CPU seconds, first row of each cluster]`.

Both with runs of five words, 128 permutations and a threshold of 0.5, and both left with what they hold to be
duplicates: neither verifies a pair. text-dedup is run by its own functions, without its progress bars and data set.
"""

import importlib
import json
import re
import sys
import time

_SEED, _PERMUTATIONS, _THRESHOLD, _RUN = 42, 128, 0.5, 5
_WORDS = re.compile(r"\W", re.UNICODE)


def texts(path: str) -> list[str]:
    """Read the file."""
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line)["text"] for line in stream]


def by_datasketch(path: str) -> list[int]:
    """Union every row with the rows that the index finds for it."""
    from datasketch import MinHash, MinHashLSH

    index, parents = MinHashLSH(threshold=_THRESHOLD, num_perm=_PERMUTATIONS), []
    for row, text in enumerate(texts(path)):
        words = [word for word in _WORDS.split(text.lower()) if word]
        runs = {" ".join(words[start : start + _RUN]).encode() for start in range(max(1, len(words) - _RUN + 1))}
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch(list(runs))
        parents.append(row)
        for other in index.query(sketch):
            _join(parents, row, other)
        index.insert(row, sketch)
    return [_root(parents, row) for row in range(len(parents))]


def by_text_dedup(path: str) -> list[int]:
    """Hash with text-dedup's own function, and join what shares a band as it does."""
    import numpy as np
    from text_dedup.minhash import embed_func
    from text_dedup.utils import optimal_param, xxh3_32hash

    bands, length = optimal_param(_THRESHOLD, _PERMUTATIONS, 0.5, 0.5)
    ranges = [(band * length, (band + 1) * length) for band in range(bands)]
    random, prime = np.random.RandomState(_SEED), np.uint32((1 << 32) - 5)
    permutations = (
        random.randint(1, prime, size=(_PERMUTATIONS,), dtype=np.uint32),
        random.randint(0, prime, size=(_PERMUTATIONS,), dtype=np.uint32),
    )
    tables: list[dict[bytes, int]] = [{} for _ in range(bands)]
    parents: list[int] = []
    for row, text in enumerate(texts(path)):
        found = embed_func(
            text, row, num_perm=_PERMUTATIONS, ngram_size=_RUN, min_length=0, hashranges=ranges,
            permutations=permutations, hash_func=xxh3_32hash, dtype=np.uint32, max_hash=np.uint32((1 << 32) - 1),
            modulo_prime=prime,
        )  # fmt: skip
        parents.append(row)
        for table, key in zip(tables, found["__signatures__"], strict=True):
            _join(parents, row, table.setdefault(key, row))
    return [_root(parents, row) for row in range(len(parents))]


def _join(parents: list[int], one: int, other: int) -> None:
    first, second = _root(parents, one), _root(parents, other)
    parents[max(first, second)] = min(first, second)


def _root(parents: list[int], row: int) -> int:
    while parents[row] != row:
        parents[row] = row = parents[parents[row]]
    return row


def main() -> None:
    """Run the one that is named; what it imports is imported before the clock starts, as for metier."""
    work = {"datasketch": by_datasketch, "text-dedup": by_text_dedup}[sys.argv[1]]
    for name in {"datasketch": ("datasketch",), "text-dedup": ("numpy", "text_dedup.minhash")}[sys.argv[1]]:
        importlib.import_module(name)
    started = time.process_time()
    found = work(sys.argv[2])
    print(json.dumps([time.process_time() - started, found]))


if __name__ == "__main__":
    main()
