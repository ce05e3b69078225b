"""How fast rows become tokens: metier against a plain loop over the chat template and the tokenizer of transformers.

    python -m bench.render --texts FILE.csv [--rows 100000] [--peer-rows 100000] FOLDER...

Each FOLDER is a base (tokenizer.json, tokenizer_config.json). Rows are chat turns made of the bitext texts named by
--texts: one system text for all (about 200 tokens), a question (about 60) and an answer (about 30). The peer renders
each row twice with `apply_chat_template`, prompt and whole, which is how label masks are made without a `generation`
block. Ids and label weights of all rows that the peer renders are compared. Single thread; user CPU and wall seconds.
"""

import argparse
import csv
import os
import random
import resource
import time
from pathlib import Path

os.environ |= {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import transformers

from metier.core.progress import Silent
from metier.core.types import ChatRow, Message
from metier.text.render import open_renderer
from metier.text.rendered import Rendered, render_rows
from metier.text.settings import TextSettings
from metier.text.template import plain_source

SYSTEM_CHARACTERS, USER_CHARACTERS, ANSWER_CHARACTERS = 1000, 220, 140


def rows_of(path: Path, count: int) -> list[ChatRow]:
    """Make rows; every one of them is different."""
    with path.open(encoding="utf-8") as stream:
        texts = list(csv.DictReader(stream))
    chosen = random.Random(0)
    system = " ".join(entry["response"] for entry in texts[100:110])[:SYSTEM_CHARACTERS]
    rows = []
    for number in range(count):
        first, second = chosen.choice(texts), chosen.choice(texts)
        asked = f"{first['instruction']} {second['response'][:USER_CHARACTERS]} ({number})"
        turns = (("system", system), ("user", asked), ("assistant", first["response"][:ANSWER_CHARACTERS].strip()))
        messages = tuple(Message(role=role, content=content) for role, content in turns)
        rows.append(ChatRow(id=str(number), source=f"rows:{number}", messages=messages))
    return rows


def peer(tokenizer: transformers.PreTrainedTokenizerBase, rows: list[ChatRow]) -> list[tuple[list[int], int]]:
    """Return, for each row, its ids and where the answer begins."""
    results = []
    for row in rows:
        turns = [{"role": message.role, "content": message.content} for message in row.messages]
        prompt = tokenizer.apply_chat_template(turns[:-1], add_generation_prompt=True, tokenize=True, return_dict=False)
        whole = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
        results.append((whole, len(prompt)))
    return results


def timed(work, *arguments):
    """Return a result, and the user CPU (of children, too) and wall seconds that it took."""

    def cpu() -> float:
        return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

    before, started = cpu(), time.perf_counter()
    result = work(*arguments)
    return result, cpu() - before, time.perf_counter() - started


def compare(ours: Rendered, theirs: list[tuple[list[int], int]], stops: tuple[int, ...]) -> None:
    """Hold ids and weights against the peer's; what follows the last stop token is left out here."""
    assert not ours.dropped
    assert len(ours) >= len(theirs)
    for number, (ids, start) in enumerate(theirs):
        sequence = ours.sequence(number)
        end = max(place for place in range(len(ids)) if ids[place] in stops) + 1
        weights = np.zeros(end, np.float32)
        weights[start:end] = 1
        assert sequence.ids.tolist() == ids[:end], number
        assert np.array_equal(sequence.weights, weights), number


def ours(folder: Path, rows: list[ChatRow]) -> Rendered:
    """Open the base and render, as `metier train` does."""
    renderer = open_renderer(folder, TextSettings())
    rendered = render_rows(rows, renderer, Silent())
    renderer.template.close()
    return rendered


def main() -> None:
    """Print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("folders", nargs="+", type=Path)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--peer-rows", type=int, default=None, help="fewer rows for the peer, scaled up")
    arguments.add_argument("--texts", type=Path, required=True, help="CSV with the columns instruction and response")
    chosen = arguments.parse_args()
    rows = rows_of(chosen.texts, chosen.rows)
    count = chosen.peer_rows or len(rows)
    print(
        "| base | tokens/row | peer µs/row CPU (wall) | metier µs/row CPU (wall) | CPU | wall |\n"
        "|---|---|---|---|---|---|"
    )
    for folder in chosen.folders:
        mine, my_cpu, my_wall = timed(ours, folder, rows)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = tokenizer.chat_template or plain_source()
        theirs, cpu, wall = timed(peer, tokenizer, rows[:count])
        renderer = open_renderer(folder, TextSettings())
        compare(mine, theirs, renderer.tokenizer.stop_ids)
        us = [
            1e6 * each / size for each, size in ((cpu, count), (wall, count), (my_cpu, len(rows)), (my_wall, len(rows)))
        ]
        print(
            f"| {folder.name} | {len(mine.ids) / len(mine):.0f} | {us[0]:.0f} ({us[1]:.0f}) "
            f"| {us[2]:.1f} ({us[3]:.1f}) | {us[0] / us[2]:.1f}× | {us[1] / us[3]:.1f}× |",
            flush=True,
        )


if __name__ == "__main__":
    main()
