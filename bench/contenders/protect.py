"""metier's detectors as a contender: JSON lists of texts in, a line each; spans and CPU seconds out."""

import json
import sys
import time

from metier.prepare.protect.detect import detector
from metier.prepare.protect.settings import DEFAULT_ENTITIES
from metier.prepare.protect.spans import ENTITIES


def main() -> None:
    """Answer batches until stdin ends; `all` looks for URLs and dates too."""
    find = detector(ENTITIES if "all" in sys.argv[1:] else DEFAULT_ENTITIES, ("US", "GB"))
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
