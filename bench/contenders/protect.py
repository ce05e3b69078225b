"""metier's detectors as a contender: JSON lists of texts in, a line each; spans and CPU seconds out."""

import json
import sys
import time

from metier.prepare.protect.detect import detector
from metier.prepare.protect.settings import DEFAULT_ENTITIES, Entity
from metier.prepare.protect.spans import ENTITIES

KINDS: dict[str, tuple[Entity, ...]] = {
    "default": DEFAULT_ENTITIES,
    "all": ENTITIES,
    "patterns": tuple(kind for kind in ENTITIES if kind not in ("person", "address")),
}
"""What is looked for, by the word on the command line; `patterns`: what the peer's recognisers look for."""


def main() -> None:
    """Answer batches until stdin ends."""
    find = detector(KINDS[sys.argv[1]], ("US", "GB"))
    find.many(["My name is Maria, 4111 1111 1111 1111, +49 170 1234567, key AKIA"])
    print(json.dumps({"recognisers": list(ENTITIES)}), flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        start = time.process_time()
        found = find.many(texts)
        seconds = time.process_time() - start
        print(json.dumps({"seconds": seconds, "spans": found}), flush=True)


if __name__ == "__main__":
    main()
